/*
 * tx.h - the pipelines of a job's life: which statements, with which parameters, and what their answers mean (tx_read.c).
 *
 * A pipeline begins with BEGIN and the settings, then the claim, then its own statements; the number of the statement that failed tells the phase.
 */
#ifndef DROVER_WORKER_TX_H
#define DROVER_WORKER_TX_H

#include <stdint.h>

#include "core/buf.h"
#include "core/util.h"
#include "pg/pg_link.h"
#include "worker/job_run.h"
#include "worker/mig.h"
#include "worker/plan.h"

#define TX_STEPS_MAX (PLAN_STATEMENTS_MAX + 10)
_Static_assert(TX_STEPS_MAX <= PG_STEPS_MAX, "a script fits into an operation");

#define TX_PARAMS_MAX 160
#define TX_CLAIM_KEPT 3 /* where a claim's result is kept; what other steps keep comes before */

struct tx {
	struct pg_step steps[TX_STEPS_MAX];
	unsigned char phase[TX_STEPS_MAX]; /* enum policy_phase */
	unsigned n;
	enum tx_kind kind;
	struct plan *plan; /* whose statements these are */
	uint64_t deadline_ms;
	uint64_t query_timeout_ms;         /* an answer later than this is a time-out of ours */
	const char *params[TX_PARAMS_MAX]; /* of the settings and of our own statements */
	unsigned nparams;
	char number[24], count[24], ways[8], slice[24], piece_rows[24], turn[12], delay[24], percent[12], window[12], lease[24];
	char mark[224];                                 /* names the run, among all that ever were */
	struct buf windows, claims, column, item, json; /* parameters, and what they are made of */
	struct buf error, message, statement;           /* of an answer */
};

struct tx_who {
	const char *worker;      /* its name */
	const char *token;       /* tells this process from another of the same name */
	const char *lane;        /* "name/1" */
	const char *application; /* "drover name/1" */
	uint64_t lease_ms;
};

void tx_init(struct tx *t);
void tx_close(struct tx *t);

/* Make the pipeline. 0, or ST_NOMEM. The texts it points to are the run's, the migration's and @t's. */
MUST_CHECK int tx_build(struct tx *t, enum tx_kind kind, const struct job_run *r, const struct tx_who *who);

/* What the answer means. Texts in @ret are @t's, until its next use. */
void tx_read(struct tx *t, const struct job_run *r, const struct pg_op *op, struct tx_answer *ret);

#endif
