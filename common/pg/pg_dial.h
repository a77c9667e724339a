/*
 * pg_dial.h - begins a connection without blocking the loop: host names are looked up in libuv's pool first, then libpq is given
 * addresses. The list of hosts stays libpq's to try, in order, as does target_session_attrs.
 *
 * A host of several addresses becomes as many entries of the list; one whose name is unknown is left out while others are known.
 * What a service file says of hosts is not seen here: such a name is looked up by libpq, which blocks.
 */
#ifndef DROVER_PG_PG_DIAL_H
#define DROVER_PG_PG_DIAL_H

#include <libpq-fe.h>
#include <uv.h>

#include "core/util.h"
#include "pg/pg_url.h"

struct pg_dial;

/* @conn is the callee's, started but not connected (or broken: ask PQstatus); NULL: @why it could not be begun. Runs once, never before pg_dial_new() returns. */
typedef void (*pg_dial_fn)(void *arg, PGconn *conn, const char *why);

/* @url must outlive it. NULL: out of memory. After the answer it has freed itself. */
struct pg_dial *pg_dial_new(uv_loop_t *loop, const struct pg_url *url, pg_dial_fn fn, void *arg);
void pg_dial_free(struct pg_dial *d); /* before the answer: forgets it. NULL is fine */

#endif
