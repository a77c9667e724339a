/*
 * failed.h - dead letters for the console: pages, groups, replay, forgetting. Blocking; memory stays flat however many there are.
 *
 * All functions: ST_SQL, ST_DISCONNECTED, ST_TIMEOUT, ST_INTERRUPTED as they come. PGresults are the caller's (PQclear).
 */
#ifndef DROVER_LEDGER_FAILED_H
#define DROVER_LEDGER_FAILED_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "core/err.h"
#include "core/util.h"

struct pg_sync;

struct failed_range {
	int64_t first, last; /* included */
};

/* Which ones. Fields left 0 or NULL do not restrict. */
struct failed_filter {
	int migration_id;
	const char *states;                /* "dead,ignored" */
	const char *error;                 /* SQLSTATE or its class ("23505", "23"), a constraint's name, or a part of the message */
	const char *since;                 /* timestamp or interval back from now, in PostgreSQL's spelling */
	const char *before;                /* the same: last failed earlier than this */
	const struct failed_range *ranges; /* of ids */
	size_t nranges;
};

/* A page of at most @limit, newest first, below id @before (0: from the newest). Columns: sql/queries/failed_page.sql. */
MUST_CHECK int failed_page(struct pg_sync *c, const struct failed_filter *f, int64_t before, int limit, PGresult **ret, struct err *err);

/* One row per kind of error, most frequent first. Columns: sql/queries/failed_groups.sql. */
MUST_CHECK int failed_groups(struct pg_sync *c, const struct failed_filter *f, int limit, PGresult **ret, struct err *err);

/* Everything about one. ST_NOT_FOUND. Columns: sql/queries/failed_show.sql. */
MUST_CHECK int failed_show(struct pg_sync *c, int64_t id, PGresult **ret, struct err *err);

/* How many there are up to id @newest. */
MUST_CHECK int failed_count(struct pg_sync *c, const struct failed_filter *f, int64_t newest, int64_t *ret, struct err *err);

/* The newest id there is, 0 if none: an upper bound, so that a replay does not meet what fails while it runs. */
MUST_CHECK int failed_newest(struct pg_sync *c, int64_t *ret, struct err *err);

/**
 * Take the next chunk of a replay: at most @limit above id @after and up to @newest, in one committed transaction: queued, attempts at 0.
 * Rows of a cancelled migration stay as they are. *@ret has columns id, migration_id, in the order of ids; the caller pushes them.
 * What a crash leaves unpushed is pushed by the audit.
 */
MUST_CHECK int failed_queue(struct pg_sync *c, const struct failed_filter *f, int64_t after, int64_t newest, int limit, const char *actor,
			    PGresult **ret, struct err *err);

/* Tombstones: sweeps skip the row, verify shows it. The next chunk, as above; *@ret_last is the last id, 0 when there was none left. */
MUST_CHECK int failed_ignore(struct pg_sync *c, const struct failed_filter *f, int64_t after, int64_t newest, int limit, const char *actor,
			     int *ret_n, int64_t *ret_last, struct err *err);

/* Delete the next chunk. Jobs that wait (queued, retrying) are never deleted, nor dead letters of ledger-only migrations: nothing else knows of those rows. */
MUST_CHECK int failed_delete(struct pg_sync *c, const struct failed_filter *f, int64_t after, int64_t newest, int limit, int *ret_n,
			     int64_t *ret_last, struct err *err);

#endif
