/*
 * outage.h - how long to wait while a server is away, and when to say so.
 *
 * An outage is no failure: whoever meets one waits with growing, jittered pauses and goes on. It is said once when it begins, once when
 * its reason changes, once a minute while it lasts, and once when it is over; so an outage of an hour is some sixty lines.
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

/* @line is one sentence without a full stop: "PostgreSQL is away: connection refused; waiting". */
typedef void (*outage_say_fn)(void *arg, const char *line);

struct outage {
	const char *what;  /* "PostgreSQL"; borrowed */
	outage_say_fn say; /* NULL: a log line, outage.begin and outage.end */
	void *arg;
	bool away;
	unsigned tries;    /* failed in a row */
	uint64_t since_ms; /* clock_now_ms of the first of them */
	uint64_t said_ms;
	char why[256]; /* as it was said last */
	struct rng rng;
};

void outage_init(struct outage *o, const char *what, outage_say_fn say, void *arg);

/* An attempt failed because of @why. Says so when it is time to. Returns the milliseconds to wait before the next attempt. */
uint64_t outage_failed(struct outage *o, uint64_t now_ms, const char *why);

/* It is back. Says so if it was away. */
void outage_over(struct outage *o, uint64_t now_ms);

#endif
