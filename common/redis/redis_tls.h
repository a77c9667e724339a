/*
 * redis_tls.h - TLS on a connection to Redis: hiredis brings it, but it neither tests whether the certificate is for this host nor says what is
 * wrong with it. Both are here.
 *
 * Files are read at each connection: certificates that are renewed in place are taken up by themselves.
 */
#ifndef DROVER_REDIS_REDIS_TLS_H
#define DROVER_REDIS_REDIS_TLS_H

#include <hiredis/hiredis.h>

#include "core/err.h"
#include "core/util.h"
#include "redis/redis_url.h"

/* What was found wrong with a server's certificate. Must outlive its connection. */
struct redis_tls_note {
	char why[192]; /* "": nothing so far */
};

/* Could a connection be made with this URL's files? ST_CONFIG: no, or hiredis has no TLS; ST_NOMEM. */
MUST_CHECK int redis_tls_check(const struct redis_url *u, struct err *err);

/**
 * Begin TLS on a connection just made (blocking: the handshake is over when it returns). @host: whom the certificate must be for, unless
 * the URL has a server_name. ST_CONFIG as above; ST_DISCONNECTED: the handshake failed.
 */
MUST_CHECK int redis_tls_start(redisContext *c, const struct redis_url *u, const char *host, struct redis_tls_note *note, struct err *err);

/* Why a connection broke: the note, or else OpenSSL's last word, or else hiredis's. Never NULL. */
const char *redis_tls_reason(const struct redis_tls_note *note, const char *errstr);

/* To be called before hiredis reads or writes: it takes what others (libpq) left in OpenSSL's list of this thread's errors for its own. */
void redis_tls_forget(void);

#endif
