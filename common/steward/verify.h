/*
 * verify.h - the proof: walks the table itself and counts the rows that are still pending. Blocking; memory is one window.
 *
 * Bounded statements, each in a transaction of its own under the migration's settings, so that no snapshot is held for long. A window in which
 * the predicate raises is halved until the row is alone; a row that raises counts as pending. Nothing is written.
 */
#ifndef DROVER_STEWARD_VERIFY_H
#define DROVER_STEWARD_VERIFY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"

struct pg_sync;

struct verify_result {
	bool ledger_only;   /* nothing can be proved by looking: the counts are the ledger's, "covered by the ledger" */
	uint64_t scanned;   /* rows looked at */
	uint64_t pending;   /* of these still to be done: the three below and those that nobody accounts for */
	uint64_t dead;      /* with a dead letter, or waiting for a replay or retry */
	uint64_t ignored;   /* forgotten by an operator (tombstones) */
	uint64_t raised;    /* pending because the predicate raises on them */
	uint64_t waiting;   /* of the pending, those in a batch that has not been done yet; ledger-only: rows of such batches */
	bool limited;       /* --limit: the table was not meant to be done whole */
	bool scan_done;     /* false: the producer has not been through the table yet */
	char key_name[256]; /* the key columns, "tenant, id" */
};

/* Clean: nothing pending but what an operator chose to ignore. */
static inline bool verify_clean(const struct verify_result *r)
{
	return r->pending == r->ignored && (!r->ledger_only || (r->waiting == 0 && r->dead == 0 && r->scan_done));
}

/* A row that is left: its key as a JSON array of texts (["7","a"]). Other than 0 ends the walk with it. */
typedef int (*verify_key_fn)(void *arg, const char *key_json, struct err *err);

/* Now and then: rows looked at so far, and the estimate of all. */
typedef void (*verify_progress_fn)(void *arg, uint64_t scanned, uint64_t estimated);

struct verify_options {
	unsigned max_keys;           /* keys to hand out at most; 0: none */
	verify_key_fn key;           /* may be NULL */
	verify_progress_fn progress; /* may be NULL */
	void *arg;
	const volatile sig_atomic_t *stop; /* may be NULL */
};

/**
 * Walk. ST_SQL (with the predicate's own message when the migration is wrong as a whole, or when a row policy hides rows), ST_NOT_FOUND,
 * ST_DISCONNECTED, ST_TIMEOUT, ST_INTERRUPTED. *@ret is what was counted until then, on failure too.
 */
MUST_CHECK int verify_walk(struct pg_sync *pg, int migration_id, const struct verify_options *options, struct verify_result *ret,
			   struct err *err);

#endif
