/*
 * counts.h - what a worker counts for /metrics: jobs and rows by migration and outcome, errors by SQLSTATE, and the like.
 *
 * Bounded whatever comes: COUNTS_MIGRATIONS migrations, further ones are counted together; COUNTS_SQLSTATES codes of errors, since a migration's SQL may
 * raise any. A migration that this worker does not know any more is kept for COUNTS_KEEP_MS, so that the last of it is scraped.
 */
#ifndef DROVER_WORKER_COUNTS_H
#define DROVER_WORKER_COUNTS_H

#include <stddef.h>
#include <stdint.h>

#include "metrics/metrics.h"
#include "worker/throttle.h"

#define COUNTS_MIGRATIONS 200
#define COUNTS_SQLSTATES 64
#define COUNTS_KEEP_MS (15 * 60000)
#define COUNTS_OTHERS "(others)"

enum counts_outcome {
	COUNTS_DONE,
	COUNTS_DEAD,
	COUNTS_RETRIED,
	COUNTS_SPLIT,
	COUNTS_DELAYED,
	COUNTS_RELEASED,
	COUNTS_SETTLED,
	COUNTS_DROPPED,
	COUNTS_OUTCOMES,
	COUNTS_UNDECIDED = COUNTS_OUTCOMES,
};

struct counts_mig {
	char name[104];
	unsigned users; /* migrations of the worker that count here; 0: gone since ... */
	uint64_t gone_ms;
	uint64_t jobs[COUNTS_OUTCOMES];
	uint64_t rows_changed, rows_dead;
	uint64_t throttled_ms[THROTTLE_SIGNALS + 1]; /* that this worker saw it held, by signal; the last: by what another one saw */
	struct counts_mig *prev, *next;
};

struct counts_code {
	char sqlstate[8];
	uint64_t n;
};

struct counts {
	struct counts_mig *migs;
	unsigned nmigs;
	struct counts_code retries[COUNTS_SQLSTATES + 1], errors[COUNTS_SQLSTATES + 1]; /* the last one: all others */
	struct metrics_histogram duration;
	uint64_t lease_lost, taken_over, foreign;
};

void counts_close(struct counts *c);

/* Where a migration of this name is counted, until counts_leave(). NULL: out of memory. */
struct counts_mig *counts_enter(struct counts *c, const char *name, uint64_t now_ms);
void counts_leave(struct counts_mig *m, uint64_t now_ms); /* NULL is fine */

/* Count one of @sqlstate; "": the connection was lost. */
void counts_code(struct counts_code codes[COUNTS_SQLSTATES + 1], const char *sqlstate);

/* Add all of it. Migrations that are gone for long are forgotten before. */
void counts_add(struct counts *c, struct metrics_text *t, uint64_t now_ms);

#endif
