/*
 * figures.h - the fleet's figures, from PostgreSQL and Redis, as metrics: how each migration stands, its backlog, its dead letters, who works.
 *
 * struct figures reads them, blocking, once per call. struct figures_watch keeps them fresh on a loop, with the reading done in a thread of the pool:
 * what it has is never older than a few rounds, and there is nothing while PostgreSQL is away.
 */
#ifndef DROVER_FIGURES_FIGURES_H
#define DROVER_FIGURES_FIGURES_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "core/err.h"
#include "core/util.h"
#include "metrics/metrics.h"

#define FIGURES_EVERY_MS 10000
#define FIGURES_FRESH_MS 60000 /* older ones are not shown */
#define FIGURES_MIGRATIONS 500 /* the newest */
#define FIGURES_OVER_S 86400   /* so long after its end a migration without dead letters is still shown */

/* ------------------------------------------------------------ reading, blocking */

struct figures;

struct figures_servers {
	bool postgres, redis; /* it answered; without a Redis URL, redis is false and why_redis empty */
	char why_postgres[256], why_redis[256];
};

/* @redis_url NULL: PostgreSQL alone. @stop ends what is under way early; it must outlive the object. ST_INPUT for a wrong URL, ST_NOMEM. */
MUST_CHECK int figures_new(struct figures **ret, const char *database_url, const char *redis_url, const char *application_name,
			   const volatile sig_atomic_t *stop, struct err *err);
void figures_free(struct figures *f); /* NULL is fine */

/* Connections are made when they are needed, once per call. What could be read is added to @t; @ret says who answered. */
void figures_look(struct figures *f, struct metrics_text *t, struct figures_servers *ret);

/* Close the connections until the next look. */
void figures_rest(struct figures *f);

/* ------------------------------------------------------------ on a loop */

struct figures_watch;

/* Takes @f. Looks once it is wanted; @looked (may be NULL) is called after each look. NULL: out of memory, @f is still the caller's. */
struct figures_watch *figures_watch_new(uv_loop_t *loop, struct figures *f, void (*looked)(void *arg), void *arg);

/* Not while a look is under way: run the loop until it is over (with the stop flag set: soon). NULL is fine. */
void figures_watch_free(struct figures_watch *w);
bool figures_watch_busy(const struct figures_watch *w);

/* false: no more looks, and the connections are closed, until it is true again. */
void figures_watch_want(struct figures_watch *w, bool wanted);

/* Append what is known, with its age; nothing if it is too old or not wanted. */
void figures_watch_add(const struct figures_watch *w, struct metrics_text *t);

/* Of the last look; NULL: none yet. */
const struct figures_servers *figures_watch_servers(const struct figures_watch *w);

#endif
