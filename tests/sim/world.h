/*
 * world.h - a small world around the real state machine of a job (worker/job_run.c): a ledger, a stream with owners, a delayed set,
 * workers, transactions that take time, an auditor, a producer, an application, and everything that may go wrong.
 *
 * Nothing in it happens by itself. world_steps() lists what may happen next, world_do() lets it happen, and whatever is not decided by
 * that is a call of choose(). So a die may decide (test_job.c), or every answer may be tried (explore.c). A world can be copied, and
 * two that are the same for all that follows have the same key.
 *
 * Transactions that claim have two steps, for others see them open: the claim, which takes its locks, and the rest with the commit. A
 * request whose link breaks, or whose worker dies, stays behind as an orphan: it may still go on to its commit, or vanish, at any
 * later moment.
 */
#ifndef DROVER_TESTS_SIM_WORLD_H
#define DROVER_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/job_run.h"

#define ROWS_MAX 96
#define BATCH_ROWS 16 /* of a batch, a window, a group */
#define BATCHES_MAX 160
#define ENTRIES_MAX 512
#define WORKERS_MAX 2
#define SLOTS_MAX 6
#define ORPHANS_MAX 16
#define WAITING_MAX 96
#define STEPS_MAX 256
#define MARKS_MAX 6 /* more make no difference to the policy */
#define GONE 9      /* owner of what a dead worker had */

/* What may go wrong; how often is the world's `left`. */
enum fault {
	FAULT_CRASH,      /* a worker dies */
	FAULT_LINK_PG,    /* an answer of PostgreSQL is lost */
	FAULT_LINK_REDIS, /* one of Redis */
	FAULT_DOWN,       /* nothing can be asked for just now */
	FAULT_SILENT,     /* a link to PostgreSQL is lost without a word, so that the job itself may be why */
	FAULT_LEASE,      /* a worker's leases run out while it lives */
	FAULT_LOCK_WAIT,  /* a lock is waited for too long */
	FAULT_TIMEOUT,    /* a statement takes too long */
	FAULT_DRAIN,      /* a worker is told to end */
	FAULT_PAUSE,      /* the migration is paused */
	FAULT_PRODUCER,   /* the producer dies, or `drover retry` */
	FAULT_LATE_AUDIT, /* an auditor sleeps between its walk and its look at the ledger */
	FAULT_FLUSH,      /* Redis is emptied */
	FAULT_FORGET,     /* Redis loses one job */
	FAULT_SAVED,      /* Redis comes back with an old snapshot */
	FAULT_FULL,       /* Redis refuses to write */
	FAULTS,
};

/* Ways to break Drover itself, to see that it would be found. */
enum broken {
	BROKEN_ACK_FIRST = 1 << 0,        /* acknowledges before the commit */
	BROKEN_CLAIM_UNLOCKED = 1 << 1,   /* the claim looks without a lock */
	BROKEN_CLAIM_DONE = 1 << 2,       /* the claim takes what is done */
	BROKEN_LOSS_IS_DONE = 1 << 3,     /* a commit without an answer is taken for one */
	BROKEN_PREDICATE_EARLY = 1 << 4,  /* the predicate is tested before the row is locked */
	BROKEN_PRUNE_EARLY = 1 << 5,      /* receipts go while a transaction may still see their window open */
	BROKEN_SPLIT_OPEN = 1 << 6,       /* a split leaves its batch queued */
	BROKEN_BURY_UNCLAIMED = 1 << 7,   /* a dead letter is written without a claim */
	BROKEN_FLOOR = 1 << 8,            /* the audit's floor passes over what is incomplete */
	BROKEN_AUDIT_NO_REPLAYS = 1 << 9, /* the audit knows nothing of dead letters */
	BROKEN_NO_TAKE_OVER = 1 << 10,    /* what a dead worker had stays its own */
	BROKEN_STARTS_KEPT = 1 << 11,     /* a start that its worker survived counts as if it had not */
	BROKEN_BACK_KEPT = 1 << 12,       /* only one that was given back does */
	BROKEN_SLICE_KEPT = 1 << 13,      /* a slice leaves its rows in the batch */
	BROKEN_SLICE_IS_ALL = 1 << 14,    /* a slice is taken for the whole batch */
	BROKEN_COUNT_JOBS = 1 << 15,      /* a window counts the jobs that ran, not the rows that they changed */
};

enum batch_state { BATCH_QUEUED, BATCH_SPLIT, BATCH_DONE, WINDOW_OPEN, WINDOW_CLOSED };
enum failed_state { FAILED_RETRYING, FAILED_QUEUED, FAILED_DEAD, FAILED_DONE, FAILED_NOT_PENDING };

struct row {
	uint8_t changed; /* times */
	uint8_t failed;  /* its failed job; 0: none */
	uint8_t window;  /* its batch or window, as it was found; 0: not found yet */
	bool poison, suspect, locked /* by the application */, receipt;
};

struct marks {
	uint32_t runs[MARKS_MAX]; /* serials */
	uint8_t n;
	bool watched; /* it was taken over once: each run of it is marked */
};

struct batch {
	uint8_t rows[BATCH_ROWS];
	uint8_t n, state, retries, conflicts, losses, parent;
	uint8_t counted; /* of a window: rows that its runs changed */
	struct marks marks;
};

struct failed_job { /* its conflicts use up time alone, of which there is none here */
	uint8_t row, state, attempts;
	struct marks marks;
};

struct queued {      /* a job, as Redis knows it */
	uint32_t id; /* of the stream's entry */
	uint8_t kind, number, row;
	int8_t owner; /* worker, or GONE; -1: not read yet */
	bool idle;    /* its lease is over */
};

struct redis {
	struct queued stream[ENTRIES_MAX];      /* in the order of ids */
	struct queued delayed[ENTRIES_MAX / 2]; /* a set, in the order of jobs */
	unsigned nstream, ndelayed;
};

enum asked { ASKED_NOTHING, ASKED_TX, BEGUN_TX, ASKED_SETTLE, ASKED_TIME, ASKED_ALONE };

struct request {
	uint8_t asked, tx, settle;
	uint32_t claimed; /* BEGUN_TX: bit i: the run's entry i is ours to change */
};

struct world;

struct slot { /* a lane */
	struct ports ports;
	struct world *world;
	int worker;
	struct job_run *run;
	struct request req;
};

struct orphan {              /* a request that its lane waits for no more */
	struct job_run *run; /* a copy */
	struct request req;
	int worker;
	uint8_t slot;
	bool dead; /* its worker is */
};

struct setup {
	const char *name;
	bool row_mode, ledger_only;
	bool producer;                                   /* nothing is found yet; otherwise all is, and pushed */
	bool replay;                                     /* each row is a dead letter that was mended; `drover retry` */
	uint8_t workers, lanes, rows, batch_rows, tries; /* 0: 2 workers with 1 lane each, 2 rows in batches of 2, 1 try */
	bool mended;                                     /* the application mends a poison row, at any moment */
	bool slices;                                     /* a batch may be done in slices, and given back between two of them */
	uint8_t marks_most;                              /* no more of them are counted; 0: all that matter */
	uint32_t poison, suspect, locked;                /* bits: rows */
	uint8_t left[FAULTS];
	unsigned broken;
};

/* Decides. @fault: whether 1 of 2 means that something goes wrong. */
struct chooser {
	unsigned (*choose)(struct chooser *c, unsigned n, const char *what, bool fault);
};

/* Told what happens to the ledger and Redis, in words; may be NULL. */
struct listener {
	void (*tell)(struct listener *l, const char *what);
};

struct world {
	struct world *next_spare; /* once it is freed */
	struct setup setup;
	struct chooser *chooser;
	struct listener *listener;
	char violation[160]; /* a promise that was broken; empty: none */
	bool faulty;         /* something went wrong in this step */
	uint8_t left[FAULTS];
	bool paused;
	struct slot slots[SLOTS_MAX];
	unsigned nslots;
	struct job_run *waiting[WAITING_MAX]; /* parts of divided groups */
	int waiting_worker[WAITING_MAX];
	unsigned nwaiting;
	struct orphan orphans[ORPHANS_MAX];
	unsigned norphans;
	uint32_t next_id, next_serial;
	/* the producer, or `drover retry`: rows found so far; jobs from .. to are committed and not pushed yet */
	uint8_t found, push_from, push_to, push_kind;
	uint8_t floor; /* of the audit */
	uint8_t crash, crash_seen,
		crashes; /* that the server as a whole survived: the last one, the last that was counted, how many were */
	struct {         /* what a late auditor saw */
		bool walked, saved;
		uint8_t batches[BATCHES_MAX / 8], failed[ROWS_MAX / 8 + 1], rows[ROWS_MAX / 8];
	} seen;
	bool saved;
	/* the big ones last: only the part in use is copied */
	struct row rows[ROWS_MAX];
	struct failed_job failed[ROWS_MAX + 1];
	unsigned nfailed, nbatches;
	struct batch batches[BATCHES_MAX];
	struct redis redis, snapshot;
};

enum step_kind {
	STEP_START, /* a lane takes a part that waits */
	STEP_FETCH, /* ... new jobs */
	STEP_TAKE_OVER,
	STEP_CLAIM,  /* a transaction begins and claims */
	STEP_COMMIT, /* the rest of it, and its answer */
	STEP_SETTLE,
	STEP_TIME,
	STEP_ALONE,
	STEP_LOSE, /* the link breaks under a request */
	STEP_LOCK_WAIT,
	STEP_DRAIN,
	STEP_FULL,
	STEP_ORPHAN_GOES,
	STEP_ORPHAN_DIES,
	STEP_CRASH,
	STEP_LEASE,
	STEP_RENEW,
	STEP_DUE, /* a delayed job goes to the stream */
	STEP_AUDIT,
	STEP_WALK, /* a late auditor's */
	STEP_LATE_AUDIT,
	STEP_FLUSH,
	STEP_FORGET,
	STEP_SAVE,
	STEP_RESTORE,
	STEP_PAUSE,
	STEP_RESUME,
	STEP_UNLOCK, /* the application lets go of a row */
	STEP_MEND,   /* ... mends one */
	STEP_FIND,   /* the producer commits a window, `drover retry` its chunk */
	STEP_PUSH,
	STEP_PRODUCER_DIES,
	STEP_CLOSE,
	STEP_PRUNE,
	STEPS,
};

struct step {
	uint8_t kind, which; /* slot, orphan, worker, entry, row, window: as the kind has it */
};

/* world.c: life. Ended by world_free(). The chooser and the listener are borrowed. */
struct world *world_new(const struct setup *s, struct chooser *c);
struct world *world_copy(const struct world *w);
void world_free(struct world *w);

/* The state, the same for worlds that differ only in what they will never look at again, or in their workers' order. Returns its bytes. */
#define KEY_MAX 16384
size_t world_key(const struct world *w, uint8_t key[KEY_MAX]);

/* steps.c: what may happen next. */
unsigned world_steps(const struct world *w, struct step steps[STEPS_MAX]);
const char *step_name(struct step s);

/* do.c: let it happen. */
void world_do(struct world *w, struct step s);

/* All rows have met their fate, and nothing is left anywhere. What is wrong with it then is in w->violation. */
bool world_is_over(const struct world *w);
void world_check_end(struct world *w);

/* ------------------------------------------------------------ shared by the files of the world */

void violation(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void tell(struct world *w, const char *what);
unsigned choose(struct world *w, unsigned n, const char *what);
bool goes_wrong(struct world *w, enum fault f); /* if it may, and it is chosen: counted */
void spend(struct world *w, enum fault f);

/* ledger.c: transactions. false: it has to wait for a lock. */
bool ledger_may_claim(const struct world *w, const struct job_run *r, const struct request *req);
bool tx_has_claim(const struct job_run *r, enum tx_kind kind);
bool ledger_claim(struct world *w, const struct job_run *r, struct request *req, struct tx_answer *ret);
void ledger_commit(struct world *w, struct job_run *r, const struct request *req, struct tx_answer *ret);
bool marks_have(const struct marks *m, uint32_t serial);
const struct marks *ledger_marks(const struct world *w, const struct queued *job);
bool ledger_is_settled(const struct world *w, const struct queued *job);
unsigned ledger_add_batch(struct world *w, const uint8_t *rows, unsigned n, enum batch_state state);
void orphan_drop(struct world *w, unsigned i);

/* redis.c */
void redis_push(struct world *w, struct queued job);
void redis_delay(struct world *w, struct queued job);
void redis_settle(struct world *w, const struct job_run *r, const struct request *req, int owner);
bool redis_has(const struct world *w, const struct queued *job);
struct queued job_of(const struct entry *e);
bool is_held(const struct world *w, int worker, uint32_t id);

/* steps.c */
bool may_take_over(const struct world *w, const struct queued *e, int worker);
bool missing(const struct world *w, unsigned *at, struct queued *ret);

/* ports.c */
extern const struct ports fake_ports;
struct job_run *run_copy(const struct job_run *r);
void run_free(struct job_run *r);
void slot_start(struct slot *s, struct job_run *r);

#endif
