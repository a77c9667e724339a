/*
 * pg_sync.h - PostgreSQL for code that may block: the console, the producer, a worker's steward thread.
 *
 * One connection, used by one thread at a time. Every call has a deadline and ends early when the stop flag is set: a signal
 * handler that sets it is noticed at once. What was running on the server is cancelled then, and the connection is closed. A call that hears
 * nothing for 5 s asks on a second connection whether the server is at work for it, and is lost (ST_DISCONNECTED) if twice it is not.
 *
 * Statements are unnamed, parameters text, client_encoding UTF8: it works through a pooler in transaction mode. A connection that broke
 * stays broken (every call: ST_DISCONNECTED) until pg_sync_reopen().
 */
#ifndef DROVER_PG_PG_SYNC_H
#define DROVER_PG_PG_SYNC_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "core/err.h"
#include "core/util.h"

struct outage;
struct pg_sync;

#define PG_SYNC_CONNECT_MS 10000  /* longest for one attempt, unless the URL says connect_timeout */
#define PG_SYNC_DEADLINE_MS 60000 /* longest for a call, unless set otherwise */

/* ------------------------------------------------------------ connecting */

/**
 * Connect, once. @url: see pg_url.h. @each_ms: longest for each host, unless the URL says connect_timeout; 0: PG_SYNC_CONNECT_MS.
 * @stop NULL: cannot be stopped; otherwise it must outlive the connection.
 *
 * ST_DISCONNECTED the server is away; ST_SQL it refused us (password, database, rights); ST_INPUT the URL or libpq's own set-up is wrong;
 * ST_TIMEOUT, ST_INTERRUPTED, ST_NOMEM.
 */
MUST_CHECK int pg_sync_try_open(struct pg_sync **ret, const char *url, const char *application_name, uint64_t each_ms,
				const volatile sig_atomic_t *stop, struct err *err);

/* Connect, waiting with back-off as long as the server is away, said by @outage (NULL: logged). What waiting cannot mend is an error, as above. */
MUST_CHECK int pg_sync_open(struct pg_sync **ret, const char *url, const char *application_name, const volatile sig_atomic_t *stop,
			    struct outage *outage, struct err *err);

/* Connect anew with the same parameters, waiting as above; @outage NULL: logged. Whatever transaction was open is gone. */
MUST_CHECK int pg_sync_reopen(struct pg_sync *c, struct outage *outage, struct err *err);

/* The same, once: ST_DISCONNECTED if the server is still away; other errors as pg_sync_try_open(). */
MUST_CHECK int pg_sync_try_reopen(struct pg_sync *c, struct err *err);

/* Closes; NULL is fine. */
void pg_sync_free(struct pg_sync *c);

bool pg_sync_lost(const struct pg_sync *c);
PGconn *pg_sync_conn(struct pg_sync *c); /* for PQescapeIdentifier and the like: send nothing on it. NULL when lost */

/* Deadline of the calls from now on; 0: PG_SYNC_DEADLINE_MS. Returns the one before. */
uint64_t pg_sync_set_deadline_ms(struct pg_sync *c, uint64_t ms);

/* The stop flag of the calls from now on, NULL: none: for the last words after a stop. Returns the one before. */
const volatile sig_atomic_t *pg_sync_set_stop(struct pg_sync *c, const volatile sig_atomic_t *stop);

/* ------------------------------------------------------------ statements */

/**
 * Run one statement. @params: text, NULL is NULL; may be NULL if @n is 0.
 *
 * Outside a transaction of the caller's it is one of its own, read committed and writing, with search_path pg_catalog, DateStyle ISO and
 * time-outs of ours: whatever another client left on a pooled connection does not matter. Name things with their schemas.
 *
 * 0: *@ret is the result, the caller's to PQclear(); @ret may be NULL if nobody wants it.
 * ST_SQL with err->sqlstate: the connection is fine (a transaction block has failed); pg_sync_failed() has all fields.
 * ST_DISCONNECTED, ST_TIMEOUT, ST_INTERRUPTED: the connection is lost, and whether a COMMIT among it took place is unknown;
 * err->sqlstate if the server said why.
 */
MUST_CHECK int pg_exec(struct pg_sync *c, const char *sql, int n, const char *const *params, PGresult **ret, struct err *err);

/* Several statements in one string, without parameters (simple protocol: one transaction unless it has its own BEGIN). Results are dropped. */
MUST_CHECK int pg_exec_script(struct pg_sync *c, const char *sql, struct err *err);

struct pg_call {
	const char *sql;
	int n;
	const char *const *params;
};

/**
 * Several statements in one round trip (pipeline mode); what follows a failed one is not run. Unless the first is BEGIN, or a transaction is
 * open, they are one transaction together, as above. @ret: array of @n results, all the caller's; on failure none is.
 * @ret_failed (may be NULL): index of the statement that failed. After an ST_SQL within a transaction block, pg_rollback().
 */
MUST_CHECK int pg_exec_calls(struct pg_sync *c, const struct pg_call *calls, int n, PGresult **ret, int *ret_failed, struct err *err);

/* Leave a transaction block whatever state it is in. A failure means that the connection is lost, which the next call says. */
void pg_rollback(struct pg_sync *c);

/* The failed result of the last call that returned ST_SQL, until the next call; otherwise NULL. Borrowed. */
const PGresult *pg_sync_failed(const struct pg_sync *c);

/* ------------------------------------------------------------ results */

/* By column name; one that is not there is a bug and aborts. NULL reads as "", 0, false. Strings are borrowed from the result. */
const char *pg_str(const PGresult *res, int row, const char *column);
const char *pg_opt(const PGresult *res, int row, const char *column); /* NULL for NULL */
bool pg_null(const PGresult *res, int row, const char *column);
int64_t pg_i64(const PGresult *res, int row, const char *column);
double pg_f64(const PGresult *res, int row, const char *column);
bool pg_bool(const PGresult *res, int row, const char *column);

/* For CLEANUP(pg_result_freep). */
static inline void pg_result_freep(PGresult **res)
{
	PQclear(*res);
}

#endif
