/*
 * redis_sentinel.h - who is the master? The Sentinels know, and one that answers is enough.
 *
 * They are asked one after another, each with a short deadline. Whether the server they name is a master indeed is seen when it is asked for
 * INFO: in the middle of a failover it may not be one yet, or no more.
 */
#ifndef DROVER_REDIS_REDIS_SENTINEL_H
#define DROVER_REDIS_REDIS_SENTINEL_H

#include <signal.h>

#include <uv.h>

#include "core/err.h"
#include "core/util.h"
#include "redis/redis_url.h"

#define REDIS_SENTINEL_MS 1000 /* longest to connect to one, and for each of its answers */

struct redis_master {
	char host[256]; /* a name or an address */
	int port;
};

/**
 * Ask, blocking. *@at: the Sentinel to begin with; afterwards the one that answered. @stop (may be NULL) ends it before the next one is asked.
 *
 * ST_DISCONNECTED with one line: none answers, or none knows such a master; it may be different later. ST_CONFIG: TLS cannot be had;
 * ST_INTERRUPTED.
 */
MUST_CHECK int redis_sentinel_find(const struct redis_url *u, unsigned *at, const volatile sig_atomic_t *stop, struct redis_master *ret,
				   struct err *err);

struct redis_sentinel_ask;

/* @master NULL: @why. @at as above. */
typedef void (*redis_sentinel_fn)(void *arg, const struct redis_master *master, unsigned at, const struct err *why);

/**
 * Ask in a thread of libuv's pool. Never answers before it returns. NULL: out of memory.
 * redis_sentinel_ask_free() before the answer forgets it; after the answer it has freed itself.
 */
struct redis_sentinel_ask *redis_sentinel_ask_new(uv_loop_t *loop, const struct redis_url *u, unsigned at, redis_sentinel_fn fn, void *arg);
void redis_sentinel_ask_free(struct redis_sentinel_ask *a); /* NULL is fine */

#endif
