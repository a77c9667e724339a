/*
 * bound.h - what is the limit of a run: PostgreSQL, the workers, the scan, or something that was set.
 *
 * The server is asked what Drover's lanes wait for in it, and whether a query of some ten milliseconds of CPU gets a CPU (docs/decisions/0018).
 * bound_of() is pure.
 */
#ifndef DROVER_PRODUCER_BOUND_H
#define DROVER_PRODUCER_BOUND_H

#include <signal.h>
#include <stdbool.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

struct pg_sync;
struct standing;

enum bound {
	BOUND_NONE,     /* nothing runs, or it is held up altogether */
	BOUND_THROTTLE, /* it gives way to others */
	BOUND_RATE,     /* max_rows_per_s */
	BOUND_LANES,    /* max_lanes */
	BOUND_PAUSES,   /* processing_interval_ms */
	BOUND_SCAN,     /* the workers wait for jobs */
	BOUND_POSTGRES,
	BOUND_WORKERS,
	BOUND_NR,
};

/* What was seen of the server; all zeros: nothing. Older looks count less and less. */
struct bound_server {
	double looks;                   /* at the lanes */
	double at_work, server, sleeps; /* of them */
	double probes, cpu_lost;        /* share of the time that a query waited for a CPU, 0 to 1, times probes */
	char event[64];                 /* what most wait for */
	bool hidden;                    /* this role does not see what the lanes wait for */
};

/* Look @samples times, some 20 ms apart; @probe: ask for CPU as well. */
MUST_CHECK int bound_look(struct pg_sync *pg, struct bound_server *b, unsigned samples, bool probe, const volatile sig_atomic_t *stop,
			  struct err *err);

enum bound bound_of(const struct standing *s, const struct bound_server *b);
const char *bound_name(enum bound b); /* as JSON has it; NULL for BOUND_NONE */

/* One sentence, with what would help; nothing for BOUND_NONE. */
void bound_say(enum bound bound, const struct standing *s, const struct bound_server *b, struct buf *out);

#endif
