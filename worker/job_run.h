/*
 * job_run.h - a unit of work on a lane, and its life: one batch, or a group of rows or dead letters of one migration.
 *
 *   TAKEN ─▶ (MARKING) ─▶ (HOLDING) ─▶ RUNNING ─▶ JUDGING ─▶ ACKING ─▶ DONE
 *                                        ▲           │
 *                      UNBLOCKING ─▶ WAITING ◀───────┤ again: outage, stale plan, claim locked, amended
 *                                                    ├─▶ PROBING, NOTING ─▶ JUDGING     know more, then judge
 *                                                    ├─▶ SPLITTING ─▶ ACKING            (groups are divided in memory: DONE)
 *                                                    ├─▶ BURYING ─▶ (BREAKING) ─▶ ACKING
 *                                                    ├─▶ RETRYING ─▶ ACKING or DELAYING
 *                                                    ├─▶ DELAYING
 *                                                    └─▶ PAUSING ─▶ RELEASING
 *
 * A job whose start is marked passes UNMARKING before DELAYING, RELEASING and the division of a group: this start was survived.
 *
 * It may be suspended in every state but TAKEN, JUDGING and DONE. Which moves are legal is a table in job_states.c; job_move() is
 * the only writer of `state`. PostgreSQL commits before Redis hears of it: ACKING is reached only from a commit, or from a claim that says that
 * somebody else's commit was before ours.
 */
#ifndef DROVER_WORKER_JOB_RUN_H
#define DROVER_WORKER_JOB_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "job/policy.h"
#include "worker/entry.h"
#include "worker/ports.h"

struct mig;

enum job_state {
	JOB_TAKEN,
	JOB_MARKING,
	JOB_UNMARKING,
	JOB_HOLDING,
	JOB_RUNNING,
	JOB_JUDGING,
	JOB_PROBING,
	JOB_NOTING,
	JOB_WAITING,
	JOB_UNBLOCKING,
	JOB_SPLITTING,
	JOB_BURYING,
	JOB_BREAKING,
	JOB_RETRYING,
	JOB_PAUSING,
	JOB_ACKING,
	JOB_DELAYING,
	JOB_RELEASING,
	JOB_DONE,
	JOB_STATES,
	JOB_STAY = JOB_STATES, /* of an enter function: suspended, an answer will come */
};

#define JOB_SIDE_TRIES 5      /* tries of a transaction beside the work (a note, a split ...) before the job is put off */
#define JOB_RETRY_LINK_MS 200 /* between looks whether a lost link is back */
#define JOB_RELOAD_MS 500
#define JOB_YIELD UINT64_MAX
#define JOB_DESCENT_REST_MS 2000 /* the longest rest for which a part does without an entry in Redis */

struct job_run {
	struct ports *ports;    /* set when it gets a lane */
	struct mig *mig;        /* borrowed */
	enum job_kind kind;     /* of all its entries */
	struct entry **entries; /* owned array; the entries are the migration's */
	size_t n;
	struct job_run *prev, *next; /* in the queue of the migration */
	struct policy_limits limits;
	bool over;        /* the migration is complete: only replays run */
	bool breaker_off; /* nobody counts dead letters */

	enum job_state state; /* written by job_move() alone */
	enum job_state then;  /* WAITING, HOLDING: what comes next */
	enum job_state leave; /* UNMARKING: the same */
	uint64_t wait_ms;
	bool resting;            /* WAITING only since the migration is to go easy: may end sooner */
	enum tx_kind tx;         /* under way or last */
	enum settle_kind settle; /* what ACKING says */
	struct policy_verdict verdict;
	enum policy_note note; /* what NOTING counts */
	bool note_due;         /* a row's own error, noted by the transaction that splits or buries */
	uint64_t serial;       /* set by the owner: among the runs of this worker */
	bool marked;           /* its start is marked */
	bool mark_left;        /* the ledger may have that mark: it was sent, and not taken back yet */
	bool alone;            /* nothing else runs on this worker meanwhile */
	bool want_mark;        /* taken over: mark it before it runs */
	bool blind;            /* the predicate itself raises: split and bury without it */
	bool draining;         /* the worker ends: do not wait */
	bool stopping;         /* interrupt() was asked for */
	unsigned side_tries;
	unsigned probe_timeouts;
	unsigned again;
	unsigned losses;     /* of a group of rows, which has no row in the ledger; inherited by its parts */
	unsigned conflicts;  /* the same */
	bool others_commit;  /* set by the owner: other jobs committed since it started */
	uint64_t slice_rows; /* set by the owner, of a batch: the most that the next transaction does of it; 0: all */
	unsigned pieces;     /* ... of that many rows, with a pause before each of so many parts of them; 0: none */
	unsigned turn;       /* of a batch that is done by turns */
	enum policy_probe probe;

	/* what the failure was that is being judged */
	struct policy_facts facts;
	char sqlstate[6];
	char *message, *statement, *error; /* copies of the answer's; NULL: none */

	/* what a transaction brought */
	uint64_t delay_ms;
	int64_t changed;
	int64_t failed_id;
	struct tx_part parts[TX_PARTS_MAX];
	unsigned nparts;
	struct tx_part descent; /* the part that this run goes on with; number 0: none */
	bool loose;             /* it did: the job it runs now has no entry in Redis */
	bool settled_work;      /* something of ours was committed: for the counts */
};

/* Takes the entries (an array made by malloc). NULL: out of memory, the array is still the caller's. */
struct job_run *job_run_new(struct mig *mig, enum job_kind kind, struct entry **entries, size_t n);
void job_run_free(struct job_run *r); /* the entries themselves stay */

/* Begin. Ends in ports->done(), never before it returns... unless nothing at all could be asked of the ports. */
void job_run_start(struct job_run *r, struct ports *ports);

/* Answers of the ports. */
void job_run_on_tx(struct job_run *r, const struct tx_answer *a);
void job_run_on_settled(struct job_run *r, int status);
void job_run_on_time(struct job_run *r);

/* The worker is ending: whatever waits is given back; what runs goes on. Answers nothing; the run may be done when it returns. */
void job_run_drain(struct job_run *r);

/* The migration was cancelled: what runs is interrupted, what waits is given back. */
void job_run_stop(struct job_run *r);

const char *job_state_name(enum job_state s);
bool job_state_may(enum job_state from, enum job_state to);

#endif
