/*
 * redis_link.h - one Redis connection on the loop: it connects by itself, again and again with back-off, and pipelines commands.
 *
 * hiredis speaks the protocol, asynchronously; the adapter to libuv, the deadlines and the looking-up of names are ours. A command whose deadline
 * passes takes the connection with it: whatever comes later could not be told apart. So does an answer that says that this
 * server may not be written to (READONLY, LOADING, MASTERDOWN): behind the same name there may be another one.
 *
 * Callbacks run on the loop's thread and never before the call returns; a command that was sent gets its callback exactly once.
 */
#ifndef DROVER_REDIS_REDIS_LINK_H
#define DROVER_REDIS_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>
#include <uv.h>

#include "core/err.h"
#include "core/failpoint.h"
#include "core/util.h"
#include "redis/redis_sync.h"

#define REDIS_LINK_CONNECT_MS 5000  /* longest for one attempt, authentication and INFO included */
#define REDIS_LINK_DEADLINE_MS 6000 /* what most commands want */

struct redis_link;

/* @up false: lost or could not be made, @why (ST_REFUSED: too old a server or a cluster; ST_REDIS: it refused us; ST_CONFIG; ST_DISCONNECTED). */
typedef void (*redis_link_state_fn)(void *arg, struct redis_link *link, bool up, const struct err *why);

/**
 * @status  0 with the answer; ST_REDIS: the answer is an error, in reply->str; ST_DISCONNECTED, ST_TIMEOUT, ST_CLOSING: @reply is NULL and
 *          nobody knows whether the command was done.
 * @reply   borrowed until it returns.
 */
typedef void (*redis_reply_fn)(void *arg, int status, const redisReply *reply);

/* For what may be lost: does nothing. */
void redis_reply_ignore(void *arg, int status, const redisReply *reply);

/* Begins to connect. ST_INPUT for a wrong URL, ST_CONFIG for rediss:// without TLS in hiredis, ST_NOMEM. */
MUST_CHECK int redis_link_new(struct redis_link **ret, uv_loop_t *loop, const char *url, redis_link_state_fn fn, void *arg,
			      struct err *err);

/* Commands under way get ST_CLOSING, at once. NULL is fine. Not from within a callback of this link. */
void redis_link_free(struct redis_link *l);

bool redis_link_up(const struct redis_link *l);
const char *redis_link_masked_url(const struct redis_link *l);
const struct redis_server *redis_link_server(const struct redis_link *l); /* as it said when the link came up last */

/**
 * Send a command. The arguments are borrowed until it returns; @lens NULL: they are NUL-terminated.
 * ST_DISCONNECTED if the link is not up, ST_NOMEM; @cb never runs then.
 */
MUST_CHECK int redis_link_send(struct redis_link *l, size_t argc, const char *const *argv, const size_t *lens, uint64_t deadline_ms,
			       redis_reply_fn cb, void *arg);

/* Pass a fail point when all that was sent so far is on the wire. */
#ifdef DROVER_FAILPOINTS
void redis_link_pass(struct redis_link *l, enum failpoint p);
#else
#define redis_link_pass(l, p) ((void)(l), (void)(p))
#endif

#endif
