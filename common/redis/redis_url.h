/*
 * redis_url.h - REDIS_URL, read once, never shown with its secrets.
 *
 *   redis://[user:password@]host[:port][/db]     redis://:password@host works too; IPv6 in brackets
 *   rediss://...                                 the same over TLS, where hiredis has it
 *   unix://[user:password@]/path[?db=N]
 *
 * Parts may be percent-encoded.
 */
#ifndef DROVER_REDIS_REDIS_URL_H
#define DROVER_REDIS_REDIS_URL_H

#include <stdbool.h>

#include "core/err.h"
#include "core/util.h"

#define REDIS_DEFAULT_PORT 6379

struct redis_url {
	char *host; /* NULL: a Unix socket */
	int port;
	char *path; /* of the socket; NULL: TCP */
	bool tls;
	char *user;       /* NULL: none */
	char *password;   /* NULL: none */
	int db;           /* 0: no SELECT needed */
	char masked[512]; /* for messages: "redis://cache.example:6379/2" */
};

/* ST_INPUT with one line that says what is wrong and what was expected, without the password; ST_NOMEM. On failure there is nothing to free. */
MUST_CHECK int redis_url_parse(struct redis_url *u, const char *text, struct err *err);

/* Wipes the password. Fine on a zeroed struct. */
void redis_url_free(struct redis_url *u);

#endif
