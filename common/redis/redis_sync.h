/*
 * redis_sync.h - Redis for code that may block: the console, the producer, a worker's steward thread.
 *
 * One connection, used by one thread at a time. Every call has a deadline and ends early when the stop flag is set. A connection
 * that broke stays broken (every call: ST_DISCONNECTED) until redis_sync_try_reopen(). Replies are freed with freeReplyObject().
 */
#ifndef DROVER_REDIS_REDIS_SYNC_H
#define DROVER_REDIS_REDIS_SYNC_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

struct redis_sync;

#define REDIS_SYNC_CONNECT_MS 5000
#define REDIS_SYNC_DEADLINE_MS 10000 /* for a call */
#define REDIS_VERSION_NEEDED 70005u  /* 7.0.5: XAUTOCLAIM of older ones trips over deleted entries */

/* What INFO says of the server at the other end, asked at each (re)connect. */
struct redis_server {
	unsigned version; /* 70015 is 7.0.15 */
	char version_text[24];
	char run_id[48]; /* changes when the server starts anew */
	char replid[48]; /* master_replid: changes when a failover made another history */
	char policy[24]; /* maxmemory-policy */
	bool cluster;    /* redis_mode */
	bool replica;    /* it refuses writes */
	bool loading;    /* its data set, from disk */
};

/* ------------------------------------------------------------ connecting */

/**
 * Connect, authenticate, select the database, and ask who it is. @stop as in pg_sync.h.
 *
 * ST_DISCONNECTED the server is away or loading; ST_REDIS it refused us; ST_REFUSED it is older than 7.0.5, or a cluster;
 * ST_INPUT the URL is wrong; ST_CONFIG rediss:// with a hiredis that has no TLS; ST_TIMEOUT, ST_INTERRUPTED, ST_NOMEM.
 */
MUST_CHECK int redis_sync_try_open(struct redis_sync **ret, const char *url, const volatile sig_atomic_t *stop, struct err *err);

/* The same for what is not worth a wait: connecting, and each call afterwards, may take @ms (0: as usual). */
MUST_CHECK int redis_sync_try_open_within(struct redis_sync **ret, const char *url, uint64_t ms, const volatile sig_atomic_t *stop,
					  struct err *err);

/* Connect anew with the same URL: errors as above. */
MUST_CHECK int redis_sync_try_reopen(struct redis_sync *r, struct err *err);

void redis_sync_free(struct redis_sync *r); /* NULL is fine */

bool redis_sync_lost(const struct redis_sync *r);
const struct redis_server *redis_sync_server(const struct redis_sync *r);

/* Ask INFO again. */
MUST_CHECK int redis_sync_ask_server(struct redis_sync *r, struct err *err);

/* ------------------------------------------------------------ commands */

/**
 * One command, as with redisCommand(): %s, %b, %lld ... become one argument each.
 *
 * ST_REDIS the server answered with an error, which is in err->msg; ST_DISCONNECTED, ST_TIMEOUT, ST_INTERRUPTED the connection is lost.
 * *@ret is untouched on failure; @ret may be NULL.
 */
MUST_CHECK int redis_cmd(struct redis_sync *r, redisReply **ret, struct err *err, const char *fmt, ...);

/* Pipelining: append any number, then take exactly as many replies, in order. Nothing is sent before the first redis_take(). */
MUST_CHECK int redis_append_argv(struct redis_sync *r, struct err *err, int argc, const char **argv, const size_t *lens);
MUST_CHECK int redis_take(struct redis_sync *r, redisReply **ret, struct err *err);

/* The same for @commands commands that are in Redis's protocol already. */
MUST_CHECK int redis_append_text(struct redis_sync *r, struct err *err, const char *text, size_t len, unsigned commands);

/* Take what is still awaited, and drop it: after an error among several, or their answers are taken for those to come. */
void redis_discard(struct redis_sync *r);

/* ------------------------------------------------------------ judging a server */

/* INFO's text -> struct redis_server. Pure; what is missing stays empty. */
void redis_server_parse(struct redis_server *ret, const char *info);

/* ST_REFUSED if it is too old or a cluster member, saying what is needed. */
MUST_CHECK int redis_server_check(const struct redis_server *s, struct err *err);

/* Append why this server may drop jobs when its memory is full; appends nothing if it is set up well. True if there is something to warn of. */
bool redis_server_warning(const struct redis_server *s, struct buf *out);

#endif
