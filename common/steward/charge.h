/*
 * charge.h - one migration in a steward's charge: its statements, the leases, where it stands. Blocking.
 *
 * The producer and the workers' stewards work through this. Whatever they change in the ledger is fenced by the producer's epoch (and the
 * auditor's name): who lost its lease changes nothing any more, and is told so with ST_LEASE_LOST.
 */
#ifndef DROVER_STEWARD_CHARGE_H
#define DROVER_STEWARD_CHARGE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "ledger/settings.h"
#include "pg/pg_sync.h"
#include "queue/queue.h"

#define CHARGE_LEASE_MS 15000 /* of a producer, renewed by every step and at least every third of it */
#define CHARGE_AUDIT_LEASE_MS 45000
#define CHARGE_WHO_MAX 160

enum charge_statement {
	CHARGE_SCAN,
	CHARGE_SCAN_BLIND, /* without the predicate, for windows in which it raises */
	CHARGE_SCAN_KEYS,  /* by the keys alone, where nearly every row is pending; ledger-only ones and row jobs have none */
	CHARGE_SWEEP,
	CHARGE_SWEEP_BLIND,
	CHARGE_GATHER,   /* the whole table at once, where few rows are pending or none */
	CHARGE_GATHERED, /* what that found, as batches */
	CHARGE_CLOSE,
	CHARGE_MISSING,
	CHARGE_VERIFY,
	CHARGE_VERIFY_BLIND,
	CHARGE_STATEMENTS,
};

/* As charge_look() found it. */
struct charge_state {
	char state[16];
	char reason[512]; /* why it is paused or cancelled, and who did it */
	char by[128];
	int64_t row_limit; /* 0: none */
	bool scan_done;
	int64_t rows_scanned, rows_found, estimated_rows;
	int64_t sweep, sweep_found, sweep_last, sweep_stuck; /* sweep_last: -1 if none is through */
	bool sweep_done;                                     /* no sweep is under way */
	double sweep_done_s;                                 /* seconds since */
	bool sweep_waits;                                    /* transactions of the time of the last one are still open */
	int64_t audit_floor, push_seq;
	bool has_failed;
	int64_t batch_size;
	int64_t rung;      /* how far the fleet gives way to others; -1: nobody watches */
	int64_t recovered; /* the server's last crash, and its start as a whole, as it tells; only to compare */
	int64_t booted;
	struct settings settings;
};

struct charge {
	struct pg_sync *pg;       /* borrowed */
	struct redis_sync *redis; /* borrowed; NULL: nothing that needs it is called (verify) */
	const volatile sig_atomic_t *stop;
	char who[CHARGE_WHO_MAX];
	int id;
	/* private: loaded once per revision */
	int revision;
	char *name;
	char *table_name;
	char *key_name;
	char *settings_json; /* of the session, as it was registered */
	bool row_mode, ledger_only;
	bool turns_pay;   /* ranges are to be so large that they are done by turns */
	unsigned columns; /* of the key */
	char *statements[CHARGE_STATEMENTS];
	struct queue queue;
	bool loaded;
	/* of the lease */
	int64_t epoch; /* -1: none held */
	bool producer;
	uint64_t renewed_ms;       /* clock_now_ms of the last renewal */
	uint64_t careful_until_ms; /* clock_now_ms: while nobody watches, others are taken to be at work */
	/* where it stands */
	struct charge_state at;
	char *scan_cursor;  /* array literal; NULL: the beginning */
	char *sweep_cursor; /* the same */
	/* a connection that was lost without a word in a statement of the migration's */
	bool is_lost; /* and the next look tells whether the server crashed */
	enum charge_statement lost;
	unsigned crashes; /* in a row, under that statement */
};

void charge_init(struct charge *c, struct pg_sync *pg, struct redis_sync *redis, const char *who, int id,
		 const volatile sig_atomic_t *stop);
void charge_close(struct charge *c);

/* Load what is registered. ST_NOT_FOUND, and whatever pg_exec() returns. */
MUST_CHECK int charge_load(struct charge *c, struct err *err);

/**
 * See where it stands; loads it first, or anew when its revision changed. Pauses it when its statements crashed the server three times in a
 * row, and when its settings cannot be read.
 */
MUST_CHECK int charge_look(struct charge *c, struct err *err);

/* Pause it: more tries change nothing until an operator did. */
MUST_CHECK int charge_pause(struct charge *c, const char *reason, struct err *err);

static inline bool charge_runs(const struct charge *c)
{
	return c->at.state[0] == 'r';
}

/* Does the fleet give way to others now? */
bool charge_gives_way(const struct charge *c);

/* ------------------------------------------------------------ leases */

/**
 * Become the producer. ST_BUSY while another is: @ret_holder (of CHARGE_WHO_MAX bytes) says who, *@ret_left_ms for how long still.
 * @dead: a holder that is known to be no more, whose lease need not run out; NULL: none.
 */
MUST_CHECK int charge_take(struct charge *c, const char *dead, char *ret_holder, int64_t *ret_left_ms, struct err *err);

/* Stay the producer; does nothing if a third of the lease has not passed. ST_LEASE_LOST. */
MUST_CHECK int charge_renew(struct charge *c, struct err *err);

/* Become, or stay, the auditor of a migration without a producer. ST_BUSY. */
MUST_CHECK int charge_take_audit(struct charge *c, struct err *err);

/* Give the producer's lease back, best effort. */
void charge_drop(struct charge *c);

/* ------------------------------------------------------------ statements under the migration's settings */

/**
 * Run one statement of the plan in a transaction of its own that is left open: the caller adds to it, then charge_commit() or
 * pg_rollback(). @read_only: for the proof. On failure nothing is open.
 */
MUST_CHECK int charge_run(struct charge *c, enum charge_statement which, bool read_only, int n, const char *const *params, PGresult **ret,
			  struct err *err);

/* Another statement of the plan in the transaction that charge_run() left open, which is not about rows of the table. On failure nothing is open. */
MUST_CHECK int charge_run_on(struct charge *c, enum charge_statement which, int n, const char *const *params, PGresult **ret,
			     struct err *err);
MUST_CHECK int charge_commit(struct charge *c, struct err *err);

/* Was it the rows (or code of the user's that looks at them) that made a statement of the plan raise? */
bool charge_raised(const struct err *err);

/* Did it take too long, so that a smaller window may do? */
bool charge_too_long(const struct err *err);

/**
 * Something raised that may be the migration itself (class 42): try the statement over no rows. Returns true if it raises even so,
 * with the reason in @err: it is wrong whatever the rows are.
 */
bool charge_is_wrong(struct charge *c, enum charge_statement which, struct err *err);

/* Count that an audit found rows of an open window nowhere: *@ret_times so far, 0 if it is not open any more. */
MUST_CHECK int charge_window_lost(struct charge *c, int64_t number, int64_t *ret_times, struct err *err);

/* Make an open window a batch (sql/queries/window_to_batch.sql): 1 and whether its keys are listed, 0 if it was not open. */
MUST_CHECK int charge_window_to_batch(struct charge *c, int64_t number, bool *ret_listed, struct err *err);

#endif
