#include "redis/redis_url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/secret.h"
#include "core/text.h"

#define EXPECTED \
	"expected redis://[user:password@]host[:port][/db], rediss://..., unix:///path[?db=N] or redis+sentinel://host:port,.../MASTER[/db]"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A percent-encoded part as a string of its own; NULL if it is broken. */
static char *decode(const char *s, size_t n)
{
	char *out = malloc(n + 1);
	size_t len = 0;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '%') {
			if (i + 2 >= n || hex(s[i + 1]) < 0 || hex(s[i + 2]) < 0 || (hex(s[i + 1]) == 0 && hex(s[i + 2]) == 0)) {
				free(out);
				return NULL;
			}
			c = (char)(hex(s[i + 1]) * 16 + hex(s[i + 2]));
			i += 2;
		}
		out[len++] = c;
	}
	out[len] = '\0';
	return out;
}

static int take(char **ret, const char *s, size_t n, const char *what, struct err *err)
{
	*ret = decode(s, n);
	if (*ret == NULL)
		return err_set(err, ST_INPUT, "the Redis URL has a broken %%-escape in its %s; " EXPECTED, what);
	return 0;
}

/* "user:password@" or ":password@" or "user@" in front of @rest. The last @ ends it: a password may hold one unescaped. */
static int read_userinfo(struct redis_url *u, const char **rest, const char *end, struct err *err)
{
	const char *at = memrchr(*rest, '@', (size_t)(end - *rest));
	const char *s = *rest, *colon;
	int rc = 0;

	if (at == NULL)
		return 0;
	*rest = at + 1;
	colon = memchr(s, ':', (size_t)(at - s));
	if (colon == NULL)
		return take(&u->user, s, (size_t)(at - s), "user", err);
	if (colon > s)
		rc = take(&u->user, s, (size_t)(colon - s), "user", err);
	if (rc == 0)
		rc = take(&u->password, colon + 1, (size_t)(at - colon - 1), "password", err);
	return rc;
}

static int read_db(struct redis_url *u, const char *s, size_t n, struct err *err)
{
	char text[16];
	uint64_t db;

	snprintf(text, sizeof(text), "%.*s", (int)(n < sizeof(text) ? n : sizeof(text) - 1), s);
	if (text_parse_u64(text, 0, 1000000, &db, NULL) != 0)
		return err_set(err, ST_INPUT, "the Redis URL's database '%s' is not a number; " EXPECTED, text);
	u->db = (int)db;
	return 0;
}

/* "host", "host:port" or "[v6]:port". */
static int read_host(char **ret_host, int *ret_port, int port_otherwise, const char *s, const char *end, struct err *err)
{
	const char *host_end, *port = NULL;
	char text[8];
	uint64_t n;

	if (s < end && *s == '[') {
		host_end = memchr(s, ']', (size_t)(end - s));
		if (host_end == NULL)
			return err_set(err, ST_INPUT, "the Redis URL has '[' without ']' around its IPv6 address");
		s++;
		if (host_end + 1 < end && host_end[1] != ':')
			return err_set(err, ST_INPUT, "the Redis URL has something after its IPv6 address; " EXPECTED);
		port = host_end + 1 < end ? host_end + 2 : NULL;
	} else {
		host_end = memchr(s, ':', (size_t)(end - s));
		port = host_end != NULL ? host_end + 1 : NULL;
		host_end = host_end != NULL ? host_end : end;
	}
	if (host_end == s)
		return err_set(err, ST_INPUT, "the Redis URL has no host; " EXPECTED);
	*ret_port = port_otherwise;
	if (port != NULL) {
		snprintf(text, sizeof(text), "%.*s", (int)(end - port < 7 ? end - port : 7), port);
		/* Not shown: what stands here may be the end of a password with a slash or colon in it. */
		if (text_parse_u64(text, 1, 65535, &n, NULL) != 0)
			return err_set(err, ST_INPUT,
				       "the Redis URL's port is not a number from 1 to 65535 (a password must be %%-encoded); " EXPECTED);
		*ret_port = (int)n;
	}
	return take(ret_host, s, (size_t)(host_end - s), "host", err);
}

/* ------------------------------------------------------------ parameters */

static char **parameter(struct redis_url *u, const char *name, size_t n)
{
	const struct {
		const char *name;
		char **value;
	} known[] = {
		{ "cacert", &u->cacert },
		{ "cert", &u->cert },
		{ "key", &u->key },
		{ "server_name", &u->server_name },
		{ "sentinel_user", &u->sentinel_user },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i].name) == n && strncmp(known[i].name, name, n) == 0)
			return known[i].value;
	return NULL;
}

/* Names are not shown: what stands behind the '?' may be the end of a password. */
static int read_parameters(struct redis_url *u, const char *s, struct err *err)
{
	int rc = 0;

	if (strchr(s, '@') != NULL)
		return err_set(err, ST_INPUT, "the Redis URL has an '@' after its '?' (a password must be %%-encoded)");
	while (rc == 0 && *s != '\0') {
		size_t n = strcspn(s, "&"), name = strcspn(s, "=&");
		char **value = name < n ? parameter(u, s, name) : NULL;

		if (value == NULL || *value != NULL || name + 1 == n)
			return err_set(err, ST_INPUT,
				       "the Redis URL has an unknown parameter, or one twice or without a value, after its '?'; expected "
				       "cacert=, cert=, key=, server_name= or sentinel_user=");
		rc = take(value, s + name + 1, n - name - 1, "parameters", err);
		s += n + (s[n] == '&');
	}
	return rc;
}

static int check_parameters(const struct redis_url *u, struct err *err)
{
	if (!u->tls && (u->cacert != NULL || u->cert != NULL || u->key != NULL || u->server_name != NULL))
		return err_set(err, ST_INPUT,
			       "the Redis URL says how TLS is to be done, but not that it is: write rediss:// or rediss+sentinel://");
	if ((u->cert == NULL) != (u->key == NULL))
		return err_set(err, ST_INPUT, "the Redis URL needs both cert= and key=, or neither");
	if (u->sentinel_user != NULL && u->master == NULL)
		return err_set(err, ST_INPUT, "the Redis URL has a sentinel_user, but it is not one of Sentinels: write redis+sentinel://");
	return 0;
}

/* ------------------------------------------------------------ the three kinds */

static int read_tcp(struct redis_url *u, const char *s, const char *end, struct err *err)
{
	const char *at = memrchr(s, '@', (size_t)(end - s));
	const char *slash = memrchr(at != NULL ? at : s, '/', (size_t)(end - (at != NULL ? at : s)));
	int rc = read_userinfo(u, &s, slash != NULL ? slash : end, err);

	if (rc == 0 && slash != NULL && slash + 1 < end)
		rc = read_db(u, slash + 1, (size_t)(end - slash - 1), err);
	if (rc == 0)
		rc = read_host(&u->host, &u->port, REDIS_DEFAULT_PORT, s, slash != NULL ? slash : end, err);
	return rc;
}

static int read_sentinels(struct redis_url *u, const char *s, const char *end, struct err *err)
{
	while (true) {
		const char *comma = memchr(s, ',', (size_t)(end - s));
		struct redis_node *node = &u->sentinels[u->nsentinels];
		int rc;

		if (u->nsentinels == REDIS_SENTINELS_MAX)
			return err_set(err, ST_INPUT, "the Redis URL names more than %d Sentinels", REDIS_SENTINELS_MAX);
		rc = read_host(&node->host, &node->port, REDIS_SENTINEL_PORT, s, comma != NULL ? comma : end, err);
		if (rc != 0)
			return rc;
		u->nsentinels++;
		if (comma == NULL)
			return 0;
		s = comma + 1;
	}
}

static int read_sentinel(struct redis_url *u, const char *s, const char *end, struct err *err)
{
	const char *at = memrchr(s, '@', (size_t)(end - s));
	const char *slash = memchr(at != NULL ? at : s, '/', (size_t)(end - (at != NULL ? at : s)));
	const char *second = slash != NULL ? memchr(slash + 1, '/', (size_t)(end - slash - 1)) : NULL;
	const char *name_end = second != NULL ? second : end;
	int rc;

	if (slash == NULL || slash + 1 == name_end)
		return err_set(err, ST_INPUT,
			       "the Redis URL does not say by which name the Sentinels know the master; expected "
			       "redis+sentinel://host:port,host:port/MASTER[/db]");
	rc = read_userinfo(u, &s, slash, err);
	if (rc == 0)
		rc = read_sentinels(u, s, slash, err);
	if (rc == 0)
		rc = take(&u->master, slash + 1, (size_t)(name_end - slash - 1), "master's name", err);
	if (rc == 0 && second != NULL && second + 1 < end)
		rc = read_db(u, second + 1, (size_t)(end - second - 1), err);
	return rc;
}

static int read_unix(struct redis_url *u, const char *s, struct err *err)
{
	const char *query = strchr(s, '?');
	const char *end = query != NULL ? query : s + strlen(s);
	const char *slash = memchr(s, '/', (size_t)(end - s));
	int rc = 0;

	if (slash == NULL || slash + 1 == end)
		return err_set(err, ST_INPUT, "the Redis URL has no path to a socket; expected unix:///path[?db=N]");
	if (slash > s) {
		rc = read_userinfo(u, &s, slash, err);
		if (rc == 0 && s != slash)
			rc = err_set(err, ST_INPUT, "the Redis URL needs three slashes before a socket's path: unix:///path");
	}
	if (rc == 0 && query != NULL) {
		if (strncmp(query, "?db=", 4) != 0)
			rc = err_set(err, ST_INPUT, "the Redis URL has an unknown parameter; expected unix:///path[?db=N]");
		else
			rc = read_db(u, query + 4, strlen(query + 4), err);
	}
	if (rc == 0)
		rc = take(&u->path, slash, (size_t)(end - slash), "path", err);
	return rc;
}

static int read_network(struct redis_url *u, const char *s, bool sentinel, struct err *err)
{
	const char *query = strchr(s, '?');
	const char *end = query != NULL ? query : s + strlen(s);
	int rc = query != NULL ? read_parameters(u, query + 1, err) : 0;

	if (rc == 0)
		rc = sentinel ? read_sentinel(u, s, end, err) : read_tcp(u, s, end, err);
	return rc == 0 ? check_parameters(u, err) : rc;
}

/* What is not in the URL. */
static int read_passwords(struct redis_url *u, struct err *err)
{
	int rc = u->password == NULL ? secret_from_env(&u->password, "REDIS_PASSWORD", err) : 0;

	if (rc == 0 && u->master != NULL)
		rc = secret_from_env(&u->sentinel_password, "REDIS_SENTINEL_PASSWORD", err);
	if (rc == 0 && u->user != NULL && u->password == NULL)
		rc = err_set(err, ST_INPUT,
			     "the Redis URL has a user but no password (write redis://:password@host for a password alone, or set "
			     "REDIS_PASSWORD or REDIS_PASSWORD_FILE)");
	if (rc == 0 && u->sentinel_user != NULL && u->sentinel_password == NULL)
		rc = err_set(err, ST_INPUT,
			     "the Redis URL has a sentinel_user but no password: set REDIS_SENTINEL_PASSWORD or "
			     "REDIS_SENTINEL_PASSWORD_FILE");
	return rc;
}

/* ------------------------------------------------------------ the whole */

static void add_node(struct buf *b, const char *host, int port)
{
	buf_printf(b, strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
}

static void mask(struct redis_url *u)
{
	struct buf b = BUF_INIT(sizeof(u->masked) - 1);

	if (u->path != NULL)
		buf_printf(&b, "unix://%s", u->path);
	else
		buf_printf(&b, "redis%s%s://", u->tls ? "s" : "", u->master != NULL ? "+sentinel" : "");
	if (u->host != NULL)
		add_node(&b, u->host, u->port);
	for (unsigned i = 0; i < u->nsentinels; i++) {
		buf_puts(&b, i > 0 ? "," : "");
		add_node(&b, u->sentinels[i].host, u->sentinels[i].port);
	}
	if (u->master != NULL)
		buf_printf(&b, "/%s", u->master);
	if (u->db != 0)
		buf_printf(&b, u->path != NULL ? "?db=%d" : "/%d", u->db);
	snprintf(u->masked, sizeof(u->masked), "%s", buf_ok(&b) ? b.data : "redis://...");
	buf_free(&b);
}

static int parse(struct redis_url *u, const char *text, struct err *err)
{
	static const struct {
		const char *scheme;
		bool tls, sentinel;
	} network[] = {
		{ "redis://", false, false },
		{ "rediss://", true, false },
		{ "redis+sentinel://", false, true },
		{ "rediss+sentinel://", true, true },
	};

	if (strncmp(text, "unix://", 7) == 0)
		return read_unix(u, text + 7, err);
	for (size_t i = 0; i < ARRAY_SIZE(network); i++) {
		size_t n = strlen(network[i].scheme);

		u->tls = network[i].tls;
		if (strncmp(text, network[i].scheme, n) == 0)
			return read_network(u, text + n, network[i].sentinel, err);
	}
	return err_set(err, ST_INPUT, "cannot read the Redis URL: " EXPECTED);
}

int redis_url_parse(struct redis_url *u, const char *text, struct err *err)
{
	int rc;

	memset(u, 0, sizeof(*u));
	u->text = strdup(text);
	rc = u->text != NULL ? parse(u, text, err) : err_set(err, ST_NOMEM, "out of memory");
	if (rc == 0)
		rc = read_passwords(u, err);
	if (rc != 0) {
		redis_url_free(u);
		return rc;
	}
	mask(u);
	return 0;
}

void redis_url_free(struct redis_url *u)
{
	char *const plain[] = { u->user, u->host, u->path, u->master, u->sentinel_user, u->cacert, u->cert, u->key, u->server_name };

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		free(plain[i]);
	for (size_t i = 0; i < ARRAY_SIZE(u->sentinels); i++)
		free(u->sentinels[i].host);
	secret_free(u->text);
	secret_free(u->password);
	secret_free(u->sentinel_password);
	memset(u, 0, sizeof(*u));
}
