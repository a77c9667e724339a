/*
 * loop.h - libuv's timers, watched sockets and signals as objects that can be dropped at any moment.
 *
 * A libuv handle must stay in memory until its close callback has run. Here the handle lives on the heap by itself: x_free() stops it, closes it and
 * lets it free itself later, so its owner may be freed at once and hears nothing any more. At the end of the program
 * loop_finish() gives the last of them their turn. x_free(NULL) is fine. All calls on the loop's thread.
 */
#ifndef DROVER_LOOP_LOOP_H
#define DROVER_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "core/util.h"

typedef void (*loop_fn)(void *arg);

/* ------------------------------------------------------------ timers */

struct loop_timer;

struct loop_timer *loop_timer_new(uv_loop_t *loop, loop_fn fn, void *arg); /* NULL: out of memory */
void loop_timer_start(struct loop_timer *t, uint64_t ms);                  /* once, @ms from now; replaces what was set */
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_pending(const struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* ------------------------------------------------------------ sockets */

struct loop_watch;

/* @readable, @writable: what happened; both on an error of the socket, which reading or writing will show. */
typedef void (*loop_watch_fn)(void *arg, bool readable, bool writable);

/* Watch a socket that stays somebody else's. Free the watch before the socket is closed. NULL: it cannot be watched. */
struct loop_watch *loop_watch_new(uv_loop_t *loop, int fd, loop_watch_fn fn, void *arg);
MUST_CHECK int loop_watch_set(struct loop_watch *w, bool readable, bool writable); /* 0 or ST_IO */
void loop_watch_free(struct loop_watch *w);

/* ------------------------------------------------------------ signals */

struct loop_signal;

typedef void (*loop_signal_fn)(void *arg, int signum);

struct loop_signal *loop_signal_new(uv_loop_t *loop, int signum, loop_signal_fn fn, void *arg); /* NULL: cannot be had */
void loop_signal_free(struct loop_signal *s);

/* ------------------------------------------------------------ names */

#define LOOP_ADDRESS_MAX 64 /* bytes of a numeric address, with the final NUL */

struct loop_lookup;

/* @addresses: numeric, in the resolver's order, without doubles; none if the name is unknown (@why says so then). */
typedef void (*loop_lookup_fn)(void *arg, const char (*addresses)[LOOP_ADDRESS_MAX], unsigned n, const char *why);

/**
 * Find the addresses of a host in a thread of libuv's pool. Never answers before it returns. NULL: out of memory.
 * loop_lookup_free() before the answer forgets it; after the answer it has freed itself.
 */
struct loop_lookup *loop_lookup_new(uv_loop_t *loop, const char *host, loop_lookup_fn fn, void *arg);
void loop_lookup_free(struct loop_lookup *l);

/* Is it a numeric address already? */
bool loop_is_address(const char *host);

/* ------------------------------------------------------------ the end */

/* Let everything that was freed close itself, then close the loop. ST_BUSY if something is still open after three seconds: a leak. */
MUST_CHECK int loop_finish(uv_loop_t *loop);

#endif
