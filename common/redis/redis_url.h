/*
 * redis_url.h - REDIS_URL, read once, never shown with its secrets.
 *
 *   redis://[user:password@]host[:port][/db]     redis://:password@host works too; IPv6 in brackets
 *   unix://[user:password@]/path[?db=N]
 *   redis+sentinel://[user:password@]host[:port],host[:port]/MASTER[/db]     the Sentinels, and the name by which they know the master
 *   rediss://... rediss+sentinel://...           the same over TLS, where hiredis has it
 *
 * Parts may be percent-encoded. A password that is not in the URL is taken from REDIS_PASSWORD, or from the file that REDIS_PASSWORD_FILE names;
 * the Sentinels' own, if they want one, from REDIS_SENTINEL_PASSWORD or REDIS_SENTINEL_PASSWORD_FILE.
 *
 * With TLS the server's certificate must be good for the host: ?cacert=FILE (otherwise the system's authorities count), cert=FILE and key=FILE
 * (what we show of ourselves), server_name=NAME (what the certificate must be for, where that is not the host), joined by '&'. Sentinels of
 * a user's name: sentinel_user=NAME.
 */
#ifndef DROVER_REDIS_REDIS_URL_H
#define DROVER_REDIS_REDIS_URL_H

#include <stdbool.h>

#include "core/err.h"
#include "core/util.h"

#define REDIS_DEFAULT_PORT 6379
#define REDIS_SENTINEL_PORT 26379
#define REDIS_SENTINELS_MAX 16

struct redis_node {
	char *host;
	int port;
};

struct redis_url {
	char *text; /* as it was given, secrets included */
	char *host; /* NULL: a Unix socket, or known to the Sentinels alone */
	int port;
	char *path; /* of the socket; NULL: TCP */
	bool tls;
	char *user;     /* NULL: none */
	char *password; /* NULL: none */
	int db;         /* 0: no SELECT needed */
	/* Sentinel */
	char *master; /* NULL: none */
	struct redis_node sentinels[REDIS_SENTINELS_MAX];
	unsigned nsentinels;
	char *sentinel_user, *sentinel_password; /* NULL: none */
	/* TLS; NULL: not given */
	char *cacert, *cert, *key, *server_name;
	char masked[512]; /* for messages: "redis://cache.example:6379/2" */
};

/**
 * ST_INPUT with one line that says what is wrong and what was expected, without the password; ST_CONFIG, ST_IO, ST_LIMIT a password's file;
 * ST_NOMEM. On failure there is nothing to free.
 */
MUST_CHECK int redis_url_parse(struct redis_url *u, const char *text, struct err *err);

/* Wipes the password. Fine on a zeroed struct. */
void redis_url_free(struct redis_url *u);

#endif
