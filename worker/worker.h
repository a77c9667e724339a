/*
 * worker.h - a member of the fleet: takes jobs from Redis, changes rows in PostgreSQL, and settles what becomes of them.
 */
#ifndef DROVER_WORKER_WORKER_H
#define DROVER_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"
#include "http/http.h"
#include "ledger/settings.h"

#define WORKER_LANES_MAX 64
#define WORKER_NAME_MAX 48 /* bytes, with the final NUL: application_name takes 63, and says the lane too */

struct worker_options {
	const char *database_url; /* NULL: PG* variables */
	const char *redis_url;
	const char *name; /* NULL: made of host and process id */
	unsigned lanes;
	const struct strvec *migrations; /* names; NULL or empty: all */
	bool once;                       /* one unit of work, then end */
	bool stop_when_empty;            /* end when nothing is ready or delayed, and nothing is held */
	uint64_t max_jobs;               /* 0: no end */
	uint64_t max_time_ms;            /* 0: no end */
	uint64_t lease_ms;
	uint64_t drain_ms;                         /* longest for what runs when it is asked to end */
	const struct http_address *metrics_listen; /* NULL: nowhere */
	struct settings defaults;                  /* run-time settings, with this worker's options in them */
};

/**
 * Work until told to end. Returns 0 after a drain; ST_REFUSED where Redis is too old or the database is a clone; ST_CONFIG, ST_INPUT
 * for what no waiting mends; ST_TIMEOUT when the drain's time was up; ST_INTERRUPTED after a second signal.
 */
MUST_CHECK int worker_run(const struct worker_options *options, struct err *err);

#endif
