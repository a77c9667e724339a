#include "redis/redis_url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/text.h"

#define EXPECTED "expected redis://[user:password@]host[:port][/db], rediss://... or unix:///path[?db=N]"

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

/* "user:password@" or ":password@" or "password@" in front of @rest. The last @ ends it: a password may hold one unescaped. */
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
		return err_set(err, ST_INPUT,
			       "the Redis URL has a user but no password (write redis://:password@host for a password alone)");
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

static int read_host(struct redis_url *u, const char *s, const char *end, struct err *err)
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
	u->port = REDIS_DEFAULT_PORT;
	if (port != NULL) {
		snprintf(text, sizeof(text), "%.*s", (int)(end - port < 7 ? end - port : 7), port);
		/* Not shown: what stands here may be the end of a password with a slash or colon in it. */
		if (text_parse_u64(text, 1, 65535, &n, NULL) != 0)
			return err_set(err, ST_INPUT,
				       "the Redis URL's port is not a number from 1 to 65535 (a password must be %%-encoded); " EXPECTED);
		u->port = (int)n;
	}
	return take(&u->host, s, (size_t)(host_end - s), "host", err);
}

static int read_tcp(struct redis_url *u, const char *s, struct err *err)
{
	const char *query = strchr(s, '?');
	const char *end = query != NULL ? query : s + strlen(s);
	const char *at = memrchr(s, '@', (size_t)(end - s));
	const char *slash = memchr(at != NULL ? at : s, '/', (size_t)(end - (at != NULL ? at : s)));
	int rc;

	if (query != NULL)
		return err_set(err, ST_INPUT, "the Redis URL has parameters after '?', which are not supported; " EXPECTED);
	rc = read_userinfo(u, &s, slash != NULL ? slash : end, err);
	if (rc == 0 && slash != NULL && slash + 1 < end)
		rc = read_db(u, slash + 1, (size_t)(end - slash - 1), err);
	if (rc == 0)
		rc = read_host(u, s, slash != NULL ? slash : end, err);
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

static void mask(struct redis_url *u)
{
	struct buf b = BUF_INIT(sizeof(u->masked) - 1);

	if (u->path != NULL)
		buf_printf(&b, "unix://%s", u->path);
	else
		buf_printf(&b, strchr(u->host, ':') != NULL ? "%s://[%s]:%d" : "%s://%s:%d", u->tls ? "rediss" : "redis", u->host, u->port);
	if (u->db != 0)
		buf_printf(&b, u->path != NULL ? "?db=%d" : "/%d", u->db);
	snprintf(u->masked, sizeof(u->masked), "%s", buf_ok(&b) ? b.data : "redis://...");
	buf_free(&b);
}

int redis_url_parse(struct redis_url *u, const char *text, struct err *err)
{
	int rc;

	memset(u, 0, sizeof(*u));
	if (strncmp(text, "redis://", 8) == 0) {
		rc = read_tcp(u, text + 8, err);
	} else if (strncmp(text, "rediss://", 9) == 0) {
		u->tls = true;
		rc = read_tcp(u, text + 9, err);
	} else if (strncmp(text, "unix://", 7) == 0) {
		rc = read_unix(u, text + 7, err);
	} else {
		rc = err_set(err, ST_INPUT, "cannot read the Redis URL: " EXPECTED);
	}
	if (rc != 0) {
		redis_url_free(u);
		return rc;
	}
	mask(u);
	return 0;
}

void redis_url_free(struct redis_url *u)
{
	if (u->password != NULL)
		explicit_bzero(u->password, strlen(u->password));
	free(u->password);
	free(u->user);
	free(u->host);
	free(u->path);
	memset(u, 0, sizeof(*u));
}
