/*
 * outage.h - how long to wait while a server is away, and when to say so.
 *
 * An outage is no failure: whoever meets one waits with growing, jittered pauses and goes on. It is said when it begins, once a minute
 * while it lasts, and when it is over; so an outage of an hour is some sixty lines. A reason that was not said of it yet does not wait for its
 * minute, but there are only a few of those.
 *
 *   for (;;) {
 *	rc = connect(...);
 *	if (rc == 0)
 *		break;
 *	rc = clock_sleep_ms(outage_failed(&o, clock_now_ms(clock), err.msg), stop);
 *	...
 *   }
 *   outage_over(&o, clock_now_ms(clock));
 */
#ifndef DROVER_CORE_OUTAGE_H
#define DROVER_CORE_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/rng.h"
#include "core/util.h"

#define OUTAGE_FIRST_MS 100
#define OUTAGE_LONGEST_MS 5000
#define OUTAGE_SAY_MS 60000
#define OUTAGE_NEWS_MS 2000 /* between lines of different reasons */
#define OUTAGE_REASONS 4    /* that are told apart */

/* What was said of an outage. All zeros: nothing yet. */
struct outage_said {
	uint64_t ms; /* when the last was */
	unsigned n;  /* different reasons */
	char reasons[OUTAGE_REASONS][128];
};

/* Is it time to say that a server is away because of @why? Then it counts as said. */
bool outage_time_to_say(struct outage_said *s, uint64_t now_ms, const char *why);

/* @line is one sentence without a full stop: "PostgreSQL is away: connection refused; waiting". */
typedef void (*outage_say_fn)(void *arg, const char *line);

struct outage {
	const char *what;  /* "PostgreSQL"; borrowed */
	outage_say_fn say; /* NULL: a log line, outage.begin and outage.end */
	void *arg;
	bool away;
	unsigned tries;    /* failed in a row */
	uint64_t since_ms; /* clock_now_ms of the first of them */
	struct outage_said said;
	struct rng rng;
};

void outage_init(struct outage *o, const char *what, outage_say_fn say, void *arg);

/* An attempt failed because of @why. Says so when it is time to. Returns the milliseconds to wait before the next attempt. */
uint64_t outage_failed(struct outage *o, uint64_t now_ms, const char *why);

/* It is back. Says so if it was away. */
void outage_over(struct outage *o, uint64_t now_ms);

#endif
