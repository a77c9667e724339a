/*
 * ports.h - everything a job's life has an effect through: PostgreSQL, Redis, time, the rest of the worker.
 *
 * job_run.c knows nothing else. lane.c is the real thing; tests/sim plays any order of answers, losses and crashes.
 *
 * Each request is answered exactly once, never before it returns, by the job_run_on_...() named beside it; one request at a time per run.
 */
#ifndef DROVER_WORKER_PORTS_H
#define DROVER_WORKER_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util.h"
#include "job/policy.h"

struct job_run;

/* The transactions of a job's life. Each is one pipeline. */
enum tx_kind {
	TX_WORK,    /* claim, transform, finish */
	TX_PROBE,   /* the transform over no rows, rolled back */
	TX_MARK,    /* mark a start */
	TX_UNMARK,  /* it was survived: take the mark back */
	TX_NOTE,    /* count a failure (run->note), ask how many there were */
	TX_UNBLOCK, /* end the backend of a dead lane that holds the claim */
	TX_SPLIT,   /* a batch becomes its parts */
	TX_BURY,    /* a lone row becomes a dead letter */
	TX_RETRY,   /* a lone row waits for its next attempt (run->delay_ms) in failed_jobs */
	TX_BREAKER, /* count the dead letter (run->failed_id) against the circuit breaker */
	TX_PAUSE,   /* pause the migration */
	TX_NR,
};

#define TX_PARTS_MAX 8

struct tx_part { /* of a split batch */
	int64_t number;
	bool listed;
};

struct tx_answer {
	int status; /* 0; ST_SQL: `class`, `phase` and the text say what; ST_DISCONNECTED: lost on the way; ST_CLOSING */
	/* of an error */
	enum pg_class class;
	enum policy_phase phase;
	bool silent, server_lived, ours, interrupted, finished; /* as in struct policy_facts */
	char sqlstate[6];
	const char *message;             /* one line for people; borrowed. NULL: none */
	const char *statement;           /* the beginning of it, where the migration itself is wrong; borrowed. NULL: none */
	const char *error;               /* all of it, a JSON object for drover.put_failed(); borrowed. NULL: none */
	unsigned claimed_rows, failures; /* WORK: of the batch, as its claim said, also after success; 0 rows: it did not */
	/* of success, each only of its kind */
	int64_t changed;                            /* WORK: rows */
	unsigned did;                               /* WORK: of a slice or a turn: its rows, changed or skipped */
	uint64_t worked_us;                         /* WORK: of a slice: of the server's time; 0: it does not say */
	uint64_t paused_us;                         /* WORK: the same, of pieces: before each, for others */
	bool more;                                  /* WORK: of run->slice_rows; the rest of the batch is queued still */
	bool settled;                               /* NOTE, MARK: it is not queued any more */
	unsigned rows, attempts, conflicts, losses; /* NOTE; rows: MARK too */
	unsigned crashes;                           /* NOTE of a crash that the server as a whole survived: under the whole migration */
	double conflict_s;                          /* NOTE */
	bool crowded;                               /* NOTE of a time-out */
	unsigned starts;                            /* MARK: of which nobody has heard that they ended, this one included */
	struct tx_part parts[TX_PARTS_MAX];         /* SPLIT */
	unsigned nparts;
	int64_t failed_id; /* BURY, RETRY: the dead letter; 0: there was nothing to bury */
	bool paused;       /* PAUSE, BREAKER: it was this that paused the migration */
};

/* What is said to Redis once PostgreSQL has settled the job, or instead of it. */
enum settle_kind {
	SETTLE_ACK,   /* done: acknowledge and delete all entries of the run */
	SETTLE_PARTS, /* the same, and push run->parts */
	SETTLE_RETRY, /* the same, and put the dead letter run->failed_id into the delayed set */
	SETTLE_DELAY, /* fenced: the entries move to the delayed set as they are */
	SETTLE_BACK,  /* fenced: the entries go back to the stream's end */
	SETTLE_NR,
};

struct ports {
	/* 0: job_run_on_tx() will come. ST_DISCONNECTED: the link is down, nothing was sent. */
	int (*transact)(struct ports *p, struct job_run *run, enum tx_kind kind);
	void (*interrupt)(struct ports *p, struct job_run *run); /* cancel what runs; job_run_on_tx() comes as it would have */
	/* 0: job_run_on_settled() will come. ST_DISCONNECTED. */
	int (*settle)(struct ports *p, struct job_run *run, enum settle_kind kind);
	void (*wait)(struct ports *p, struct job_run *run, uint64_t ms); /* job_run_on_time() */
	/* Of what is done in several transactions: ms until the next one; JOB_YIELD: give it back, for others shall go on. */
	uint64_t (*rest)(struct ports *p, struct job_run *run);
	void (*hold)(struct ports *p, struct job_run *run);   /* job_run_on_time() when no other run of this worker is busy */
	void (*divide)(struct ports *p, struct job_run *run); /* rows: make runs of the parts, which take the entries over */
	uint64_t (*backoff)(struct ports *p, struct job_run *run, unsigned attempt); /* ms, with jitter */
	void (*reload)(struct ports *p, struct job_run *run);                        /* the copy of the migration is out of date */
	void (*done)(struct ports *p, struct job_run *run); /* the last call: the run and its entries may be freed */
	/* for the log and the counters; @a may be NULL */
	void (*say)(struct ports *p, struct job_run *run, const char *event, const char *why, const struct tx_answer *a);
};

#endif
