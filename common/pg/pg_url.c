#include "pg/pg_url.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "core/buf.h"
#include "core/secret.h"

/* What a connection of ours wants where the user said nothing: a dead peer is noticed within seconds, since it may hold our locks. */
static const struct {
	const char *keyword;
	const char *value;
} defaults[] = {
	{ "connect_timeout", "10" },    { "keepalives", "1" },       { "keepalives_idle", "5" },
	{ "keepalives_interval", "3" }, { "keepalives_count", "3" }, { "tcp_user_timeout", "10000" },
};

static int add(struct pg_url *u, const char *keyword, const char *value)
{
	char *copy;

	if (u->n + 1 >= PG_URL_MAX)
		return ST_LIMIT;
	copy = strdup(value);
	if (copy == NULL)
		return ST_NOMEM;
	u->keywords[u->n] = keyword;
	u->values[u->n++] = copy;
	return 0;
}

static bool has(const struct pg_url *u, const char *keyword)
{
	for (unsigned i = 0; i < u->n; i++)
		if (strcmp(u->keywords[i], keyword) == 0)
			return true;
	return false;
}

static const char *value_of(const struct pg_url *u, const char *keyword, const char *env)
{
	for (unsigned i = 0; i < u->n; i++)
		if (strcmp(u->keywords[i], keyword) == 0)
			return u->values[i];
	return env != NULL ? getenv(env) : NULL;
}

static void mask(struct pg_url *u)
{
	const char *user = value_of(u, "user", "PGUSER");
	const char *host = value_of(u, "host", "PGHOST");
	const char *port = value_of(u, "port", "PGPORT");
	const char *dbname = value_of(u, "dbname", "PGDATABASE");
	struct buf b = BUF_INIT(sizeof(u->masked) - 1);
	bool local = host == NULL || host[0] == '\0' || host[0] == '/' || host[0] == '@';

	buf_puts(&b, "postgresql://");
	if (user != NULL)
		buf_printf(&b, "%s@", user);
	if (!local)
		buf_printf(&b, "%s%s%s", host, port != NULL ? ":" : "", port != NULL ? port : "");
	buf_printf(&b, "/%s", dbname != NULL ? dbname : "");
	if (local && host != NULL && host[0] != '\0')
		buf_printf(&b, "?host=%s%s%s", host, port != NULL ? "&port=" : "", port != NULL ? port : "");
	if (user == NULL && host == NULL && dbname == NULL) {
		buf_reset(&b);
		buf_puts(&b, "libpq's default server (neither DATABASE_URL nor PGHOST says which)");
	}
	snprintf(u->masked, sizeof(u->masked), "%s", buf_ok(&b) ? b.data : "postgresql://...");
	buf_free(&b);
}

/*
 * A password that is not %-encoded ends where it has a '/' or '@', and the rest of it is taken for a port, a host or a database: such a URL
 * is refused before any of these is shown or looked up.
 */
static int check_parts(const struct pg_url *u, bool is_uri, struct err *err)
{
	const char *host = value_of(u, "host", NULL), *port = value_of(u, "port", NULL);
	const char *dbname = value_of(u, "dbname", "PGDATABASE");

	if (port != NULL && port[strspn(port, "0123456789, ")] != '\0')
		return err_set(err, ST_INPUT, "the database URL's port is not a number (a password must be %%-encoded)");
	/* A socket's folder may begin with it, and in a conninfo string have it anywhere. */
	if (host != NULL && host[0] != '\0' && (is_uri || (host[0] != '/' && host[0] != '@')) && strchr(host + 1, '@') != NULL)
		return err_set(err, ST_INPUT, "the database URL's host has an '@' (a password must be %%-encoded)");
	if (is_uri && dbname != NULL && strchr(dbname, '@') != NULL)
		return err_set(err, ST_INPUT,
			       "the database URL's database has an '@' (a password must be %%-encoded; a database of such a name "
			       "can be given as \"dbname=... host=...\")");
	if (dbname != NULL && (strstr(dbname, "://") != NULL || strstr(dbname, "password") != NULL))
		return err_set(err, ST_INPUT, "the database's name is a connection string itself: give that as the database URL");
	return 0;
}

/*
 * libpq quotes the part of the text that it did not understand, and that may be the password, with quotes of its own in it: we keep libpq's
 * words before it, and of what is quoted nothing but the '=' and ']' that it missed.
 */
static void without_secrets(struct buf *out, const char *msg)
{
	static const char *const before[] = { "missing ", "separator ", "matching " };

	for (;;) {
		size_t n = strcspn(msg, "\"\n");
		bool sign = false;

		buf_add(out, msg, n);
		if (msg[n] != '"')
			return;
		for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
			size_t len = strlen(before[i]);

			sign = sign || (n >= len && strncmp(msg + n - len, before[i], len) == 0);
		}
		if (!sign || strchr("=]", msg[n + 1]) == NULL || msg[n + 2] != '"') {
			buf_puts(out, "\"...\"");
			return;
		}
		buf_add(out, msg + n, 3);
		msg += n + 3;
	}
}

static int refuse(char *why, struct err *err)
{
	struct buf b = BUF_INIT(ERR_MSG_MAX);

	without_secrets(&b, why != NULL ? why : "out of memory");
	PQfreemem(why);
	err_set(err, ST_INPUT,
		"cannot read the database URL: %s; expected postgresql://user:password@host:port/database or \"host=... dbname=...\"",
		b.data);
	buf_free(&b);
	return ST_INPUT;
}

/* The keywords of PQconninfoOption are libpq's constants' copies: keep our own pointer to one that lives as long as the program. */
static const char *lasting(const char *keyword)
{
	static const char *const names[] = {
		"service",
		"user",
		"password",
		"passfile",
		"channel_binding",
		"connect_timeout",
		"dbname",
		"host",
		"hostaddr",
		"port",
		"client_encoding",
		"options",
		"application_name",
		"fallback_application_name",
		"keepalives",
		"keepalives_idle",
		"keepalives_interval",
		"keepalives_count",
		"tcp_user_timeout",
		"sslmode",
		"sslnegotiation",
		"sslcompression",
		"sslcert",
		"sslkey",
		"sslcertmode",
		"sslpassword",
		"sslrootcert",
		"sslcrl",
		"sslcrldir",
		"sslsni",
		"requirepeer",
		"require_auth",
		"min_protocol_version",
		"max_protocol_version",
		"ssl_min_protocol_version",
		"ssl_max_protocol_version",
		"gssencmode",
		"krbsrvname",
		"gsslib",
		"gssdelegation",
		"replication",
		"target_session_attrs",
		"load_balance_hosts",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], keyword) == 0)
			return names[i];
	return NULL;
}

static int collect(struct pg_url *u, const PQconninfoOption *options, struct err *err)
{
	bool service = getenv("PGSERVICE") != NULL;
	int rc = 0;

	for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL && rc == 0; o++) {
		if (o->val == NULL || strcmp(o->keyword, "client_encoding") == 0 || strcmp(o->keyword, "application_name") == 0)
			continue;
		if (lasting(o->keyword) == NULL)
			return err_set(err, ST_INPUT, "the database URL has a parameter that is not supported: %s", o->keyword);
		service = service || strcmp(o->keyword, "service") == 0;
		rc = add(u, lasting(o->keyword), o->val);
	}
	/* What a service file says is not known here, and must not be overruled. */
	for (size_t i = 0; i < ARRAY_SIZE(defaults) && rc == 0 && !service; i++)
		if (!has(u, defaults[i].keyword) && !(i == 0 && getenv("PGCONNECT_TIMEOUT") != NULL))
			rc = add(u, defaults[i].keyword, defaults[i].value);
	return rc == 0 ? 0 : err_set(err, rc, "the database URL has too many parameters");
}

static int add_password(struct pg_url *u, struct err *err)
{
	CLEANUP(secret_freep) char *password = NULL;
	int rc;

	if (has(u, "password"))
		return 0;
	rc = secret_from_env(&password, "DATABASE_PASSWORD", err);
	if (rc == 0 && password != NULL && add(u, "password", password) != 0)
		rc = err_set(err, ST_NOMEM, "out of memory");
	return rc;
}

int pg_url_parse(struct pg_url *u, const char *url, const char *application_name, struct err *err)
{
	bool is_uri = url != NULL && (strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0);
	PQconninfoOption *options = NULL;
	int rc;

	memset(u, 0, sizeof(*u));
	if (url != NULL && url[0] != '\0') {
		char *why = NULL;

		options = PQconninfoParse(url, &why);
		if (options == NULL)
			return refuse(why, err);
	}
	rc = collect(u, options, err);
	PQconninfoFree(options);
	if (rc == 0)
		rc = check_parts(u, is_uri, err);
	if (rc == 0)
		rc = add_password(u, err);
	if (rc == 0 && (add(u, "application_name", application_name) != 0 || add(u, "client_encoding", "UTF8") != 0))
		rc = err_set(err, ST_NOMEM, "out of memory");
	if (rc != 0) {
		pg_url_free(u);
		return rc;
	}
	mask(u);
	return 0;
}

void pg_url_free(struct pg_url *u)
{
	for (unsigned i = 0; i < u->n; i++)
		secret_free((char *)(uintptr_t)u->values[i]); /* const for libpq's sake; the memory is ours */
	memset(u, 0, sizeof(*u));
}
