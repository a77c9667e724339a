/*
 * fuzz_url.c - DATABASE_URL and REDIS_URL, as written and with a known secret for their password: it never shows, neither in the masked form
 * nor in an error, and a password that is encoded as it should be arrives unchanged.
 *
 * The first byte says how the rest is used.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "pg/pg_url.h"
#include "redis/redis_url.h"

#define SECRET "Xq7Zk9wV"
#define TEXT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Percent-encoded, every byte that is no letter or digit. */
static void add_encoded(struct buf *out, const char *s)
{
	for (; *s != '\0'; s++)
		buf_printf(out, isalnum((unsigned char)*s) ? "%c" : "%%%02x", (unsigned char)*s);
}

/* 'it\'s' of a conninfo string. */
static void add_quoted(struct buf *out, const char *s)
{
	buf_putc(out, '\'');
	for (; *s != '\0'; s++)
		buf_printf(out, *s == '\'' || *s == '\\' ? "\\%c" : "%c", *s);
	buf_putc(out, '\'');
}

static const char *password_of(const struct pg_url *u)
{
	for (unsigned i = 0; i < u->n; i++)
		if (strcmp(u->keywords[i], "password") == 0)
			return u->values[i];
	return NULL;
}

/* @password NULL: whatever comes of it, but the secret must not show. */
static void read_pg(const char *url, const char *password)
{
	struct err err = ERR_INIT;
	struct pg_url u;

	if (pg_url_parse(&u, url, "drover fuzz", &err) != 0) {
		must(password == NULL && err.msg[0] != '\0' && strstr(err.msg, SECRET) == NULL);
		return;
	}
	must(u.keywords[u.n] == NULL && strstr(u.masked, SECRET) == NULL);
	must(password == NULL || (password_of(&u) != NULL && strcmp(password_of(&u), password) == 0));
	pg_url_free(&u);
}

static void read_redis(const char *url, const char *password)
{
	struct err err = ERR_INIT;
	struct redis_url u;

	if (redis_url_parse(&u, url, &err) != 0) {
		must(password == NULL && err.msg[0] != '\0' && strstr(err.msg, SECRET) == NULL);
		return;
	}
	must(strstr(u.masked, SECRET) == NULL && (u.host != NULL) + (u.path != NULL) + (u.nsentinels > 0) == 1);
	must(u.host == NULL || (u.port >= 1 && u.port <= 65535));
	must(password == NULL || (u.password != NULL && strcmp(u.password, password) == 0));
	redis_url_free(&u);
}

/* A password that was encoded as the manual says. */
static void read_encoded(const char *password)
{
	CLEANUP(buf_free) struct buf url = BUF_INIT(TEXT_MAX);

	buf_puts(&url, "postgresql://app:");
	add_encoded(&url, password);
	buf_puts(&url, "@db.example:5432/shop");
	read_pg(url.data, password);
	buf_reset(&url);
	buf_puts(&url, "postgresql://db.example/shop?user=app&password=");
	add_encoded(&url, password);
	read_pg(url.data, password);
	buf_reset(&url);
	buf_puts(&url, "host=db.example user=app password=");
	add_quoted(&url, password);
	buf_puts(&url, " dbname=shop");
	read_pg(url.data, password);
	buf_reset(&url);
	buf_puts(&url, "redis://app:");
	add_encoded(&url, password);
	buf_puts(&url, "@cache.example:6379/2");
	read_redis(url.data, password);
	buf_reset(&url);
	buf_puts(&url, "rediss+sentinel://app:");
	add_encoded(&url, password);
	buf_puts(&url, "@s1.example,s2.example:26380/main/2?cacert=/etc/ca.pem");
	read_redis(url.data, password);
	buf_reset(&url);
	buf_puts(&url, "unix://:");
	add_encoded(&url, password);
	buf_puts(&url, "@/run/redis.sock?db=2");
	read_redis(url.data, password);
}

/* As people do it: not encoded at all. It may be refused. A '?' in it begins parameters, of which nobody knows that they are none. */
static void read_unencoded(const char *password)
{
	CLEANUP(buf_free) struct buf url = BUF_INIT(TEXT_MAX);

	buf_printf(&url, "redis://app:%s@cache.example:6379/2", password);
	read_redis(url.data, NULL);
	buf_reset(&url);
	buf_printf(&url, "redis://:%s@cache.example", password);
	read_redis(url.data, NULL);
	buf_reset(&url);
	buf_printf(&url, "redis+sentinel://:%s@s1.example,s2.example/main", password);
	read_redis(url.data, NULL);
	if (strchr(password, '?') != NULL)
		return;
	buf_reset(&url);
	buf_printf(&url, "postgresql://app:%s@db.example:5432/shop", password);
	read_pg(url.data, NULL);
	buf_reset(&url);
	buf_printf(&url, "postgresql://app:%s@db.example/shop?sslmode=disable", password);
	read_pg(url.data, NULL);
}

/* What stands in the environment of whoever runs this must not come in. */
static void clear_environment(void)
{
	static const char *const names[] = { "PGHOST",
					     "PGPORT",
					     "PGUSER",
					     "PGDATABASE",
					     "PGSERVICE",
					     "PGPASSWORD",
					     "DATABASE_PASSWORD",
					     "DATABASE_PASSWORD_FILE",
					     "REDIS_PASSWORD",
					     "REDIS_PASSWORD_FILE",
					     "REDIS_SENTINEL_PASSWORD",
					     "REDIS_SENTINEL_PASSWORD_FILE" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf password = BUF_INIT(TEXT_MAX);
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);
	size_t half;

	clear_environment();
	if (size < 2 || size > 4096)
		return 0;
	buf_add(&text, data + 1, size - 1);
	if (data[0] % 3 == 0 && strstr(text.data, SECRET) == NULL) {
		read_pg(text.data, NULL);
		read_redis(text.data, NULL);
		return 0;
	}
	half = strlen(text.data) / 2;
	buf_add(&password, text.data, half);
	buf_puts(&password, SECRET);
	buf_puts(&password, text.data + half);
	if (data[0] % 3 == 1)
		read_encoded(password.data);
	else
		read_unencoded(password.data);
	return 0;
}
