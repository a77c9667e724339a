/*
 * engine.h - the producer at work on one migration: lease, scan, push, audit, sweeps, progress. Blocking, on the console's thread.
 *
 * An outage of either server is waited out; pause and cancel are seen within half a second; whoever dies here leaves nothing that the
 * next one could not take up: the ledger says what is to be done, and the first thing a producer does is an audit.
 */
#ifndef DROVER_PRODUCER_ENGINE_H
#define DROVER_PRODUCER_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "producer/console.h"

struct engine_options {
	int migration_id;
	const char *redis_url;
	bool wait;            /* stay until it is complete, sweeps included */
	bool end_when_paused; /* rather than wait for `drover resume` */
	bool look_again;      /* a migration that is complete is swept once more */
	int64_t row_limit;    /* 0: none */
	int64_t batch_size;   /* 0: as registered */
	uint64_t max_backlog; /* jobs; 0: as the settings say */
	/* Called at least ten times a second, also while a server is away. Other than 0 ends the engine with it. May be NULL. */
	int (*tick)(void *arg, struct err *err);
	void *arg;
};

enum engine_end {
	ENGINE_SCANNED, /* everything was found and pushed; not waited for */
	ENGINE_COMPLETE,
	ENGINE_LIMITED,
	ENGINE_OLD_WRITES, /* sweep after sweep finds no less: the application still writes old rows */
	ENGINE_PAUSED,
	ENGINE_CANCELLED,
};

struct engine_result {
	enum engine_end end;
	char reason[512]; /* of a pause or cancel, and who did it */
	int64_t rows_scanned, rows_found, rows_changed, rows_skipped, dead, waiting;
	int64_t sweeps;
	int64_t jobs_pushed; /* by this run */
	int64_t refilled; /* of these, by the audit: lost in Redis, left behind by an earlier producer, or taken back by a crash of PostgreSQL */
	uint64_t elapsed_ms;
	double rate_per_s; /* rows changed by the fleet during this run; 0 unless waited for */
};

/**
 * Work until the end that @o asks for. @con has its connection to PostgreSQL; Redis is connected here.
 * ST_INTERRUPTED: stopped by a signal; run again, it goes on where it was. A migration that turns out to be wrong is paused with the reason.
 */
MUST_CHECK int engine_run(struct console *con, const struct cli_call *call, const struct engine_options *o, struct engine_result *ret,
			  struct err *err);

#endif
