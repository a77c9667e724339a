/*
 * steward.h - what must go on when no producer runs: refill Redis from the ledger, close windows, sweep, complete. Blocking.
 *
 * A steward is used by one thread at a time: a worker calls steward_tend() in a thread of the pool every STEWARD_EVERY_MS, and
 * sooner after NOGROUP or a changed run_id. It opens connections of its own when they are first needed and keeps them.
 * Who does the work for a migration is settled by leases in PostgreSQL, so every worker may call it: all but one find nothing to do.
 * A producer does the same for its migration through the parts (audit.h, finish.h, scan.h).
 */
#ifndef DROVER_STEWARD_STEWARD_H
#define DROVER_STEWARD_STEWARD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"

struct steward;

#define STEWARD_EVERY_MS 5000 /* between rounds; each third of them audits, unless there is reason to earlier */

/* What one call did, for the log and the metrics. */
struct steward_report {
	unsigned tended;     /* migrations that this steward held the lease of */
	uint64_t pushed;     /* jobs that are due by the ledger and were not in Redis */
	uint64_t swept_rows; /* looked at by sweeps */
	uint64_t found_rows; /* that turned up behind the cursor, pushed */
	unsigned completed;  /* migrations that became complete or limited */
	uint64_t foreign;    /* entries in Redis that are no jobs of ours */
	bool again;          /* there is more to do at once: call again without waiting */
};

/**
 * Nothing is connected yet. @who names the holder of the leases: the worker's name. @only: names of migrations, ending with NULL; others are
 * left alone, as they must be by a worker that was told to (--migration), for their jobs may live in another Redis. NULL or empty: all.
 * Strings are copied; @stop (may be NULL) must outlive it. ST_INPUT for a wrong URL, ST_NOMEM.
 */
MUST_CHECK int steward_new(struct steward **ret, const char *database_url, const char *redis_url, const char *who, const char *const *only,
			   const volatile sig_atomic_t *stop, struct err *err);
void steward_free(struct steward *s); /* NULL is fine; gives back no lease: see steward_retire() */

/* Called so from now on, in leases as well. Not while it tends, nor once it has a lease under another name. */
void steward_rename(struct steward *s, const char *who);

/**
 * One round over all migrations that are running and have no producer: at most about @budget_ms. The first scan of a table is the
 * producer's alone; everything after it is done here.
 *
 * Waits for nothing: ST_DISCONNECTED if a server is away (the caller tries again later), ST_SQL, ST_REDIS, ST_REFUSED, ST_INTERRUPTED.
 * What one migration's fault is does not keep the others waiting: the first error is returned at the end.
 */
MUST_CHECK int steward_tend(struct steward *s, uint64_t budget_ms, struct steward_report *ret, struct err *err);

/* Look again at once at what Redis holds, at the next steward_tend(): something was lost (NOGROUP, another run_id). From any thread. */
void steward_alarm(struct steward *s);

/* Give the leases back, so that another need not wait until they run out. Best effort. */
void steward_retire(struct steward *s);

#endif
