/*
 * pg_link.h - one PostgreSQL connection on the loop: it connects by itself, again and again with back-off, and runs one operation at a time.
 *
 * An operation is a pipeline: statements sent together, or in a few parts, one answer awaited for each. It ends in one outcome: all went well,
 * or the first error with the number of its statement, or the link was lost. After an error the link rolls back before it reports, so that
 * locks are gone by then.
 * Parameters are texts. Statements are prepared where the connection is direct (pg_prepared.h); the first operation of a connection finds that out.
 * An operation that writes has a BEGIN and a COMMIT of its own: what the link adds comes behind it.
 *
 * Callbacks run on the loop's thread and never before the call returns. An operation whose pg_link_run() returned 0 gets its callback
 * exactly once; the results are borrowed until it returns, and in it the next operation may be started.
 */
#ifndef DROVER_PG_PG_LINK_H
#define DROVER_PG_PG_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <uv.h>

#include "core/err.h"
#include "core/failpoint.h"
#include "core/util.h"
#include "pg/pg_url.h"

#define PG_STEPS_MAX 120        /* of an operation */
#define PG_UNNAMED UINT64_MAX   /* a scope: nothing is prepared */
#define PG_KEPT_MAX 3           /* results that an operation can keep */
#define PG_CONNECT_MS 15000     /* longest for one attempt to connect, all hosts together */
#define PG_CANCEL_GRACE_MS 5000 /* after a deadline and its cancel request, until the link is given up */

struct pg_step {
	const char *sql;
	int n;                     /* parameters */
	const char *const *params; /* texts, NULL for null */
	unsigned keep;             /* 1..PG_KEPT_MAX: where its result is kept; 0: rows are thrown away as they come */
	bool apart; /* sent once those before it are answered: the server waits meanwhile, and others get its processor; see apart_ms */
};

struct pg_failure {
	char sqlstate[6];                           /* "": the server said nothing */
	unsigned step;                              /* the statement it happened in */
	char *message;                              /* primary; never NULL after a failure */
	char *detail, *hint, *context, *constraint; /* NULL: none */
};

struct pg_op {
	/* set by the caller before pg_link_run() */
	void (*cb)(struct pg_op *op);
	uint64_t scope;    /* of its statements: the same text is another statement in another one. 0: under the session's own settings */
	uint64_t apart_ms; /* of an operation that old the rest is sent at once, for what it has locked is not to wait any longer */
	enum failpoint before_last, sent; /* passed when all steps but the last one, and when all are on the wire */
	/* set when cb runs */
	int status;                /* 0, ST_SQL, ST_DISCONNECTED, ST_CLOSING */
	struct pg_failure failure; /* unless 0 */
	PGresult *kept[PG_KEPT_MAX];
	uint64_t sent_ms; /* clock_now_ms: what is not answered yet was sent; kept up to date until then */
	uint64_t elapsed_ms;
	bool timed_out; /* the deadline passed; the cancel request may have come too late */
	bool cancelled; /* pg_link_cancel() was called */
};

struct pg_link;

/* @up false: lost or could not be made, @why (ST_DISCONNECTED, or ST_SQL, ST_INPUT where the server or libpq refuses us) until the next call. */
typedef void (*pg_link_state_fn)(void *arg, struct pg_link *link, bool up, const struct err *why);

/**
 * Begins to connect. @url: text for pg_url_parse(), @name the application_name that the server sees between transactions.
 * ST_INPUT for a wrong URL, ST_NOMEM.
 */
MUST_CHECK int pg_link_new(struct pg_link **ret, uv_loop_t *loop, const char *url, const char *name, pg_link_state_fn fn, void *arg,
			   struct err *err);

/* An operation under way gets ST_CLOSING, at once. NULL is fine. Not from within a callback of this link's own operation. */
void pg_link_free(struct pg_link *l);

bool pg_link_up(const struct pg_link *l);
uint64_t pg_link_up_since(const struct pg_link *l); /* clock_now_ms: when the connection that it has, or had last, was made; 0: none yet */
bool pg_link_busy(const struct pg_link *l);
const char *pg_link_masked_url(const struct pg_link *l);

/**
 * Run a pipeline. @op is borrowed until its callback has run; so are the steps if one of them is to be sent apart, else only until this returns.
 * ST_DISCONNECTED if the link is not up, ST_BUSY if an operation is under way; @op's callback never runs then.
 */
MUST_CHECK int pg_link_run(struct pg_link *l, struct pg_op *op, const struct pg_step *steps, unsigned n, uint64_t deadline_ms);

/* Ask the server to cancel what runs, from a thread of libuv's pool. The operation ends by itself, as it may. */
void pg_link_cancel(struct pg_link *l);

/* The answer to the operation under way will not come: it gets ST_DISCONNECTED, and another connection is made. */
void pg_link_give_up(struct pg_link *l);

/* Give this connection up, if it is up, and make another. @why: what pg_link_state_fn is told. Not while an operation is under way. */
void pg_link_renew(struct pg_link *l, const char *why);

#endif
