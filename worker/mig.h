/*
 * mig.h - a migration as this worker sees it: its plan, its settings, and the jobs of it that the worker holds.
 */
#ifndef DROVER_WORKER_MIG_H
#define DROVER_WORKER_MIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "job/keys.h"
#include "ledger/settings.h"
#include "worker/entry.h"
#include "worker/job_run.h"
#include "worker/pace.h"
#include "worker/plan.h"
#include "worker/throttle.h"

struct counts_mig;

enum mig_state { MIG_RUNNING, MIG_PAUSED, MIG_CANCELLED, MIG_OVER /* complete or limited */ };

#define MIG_RUN_LEAST 16                 /* rows that follow one another, for them to be one range */
#define MIG_GROUP_BYTES_MAX (256 * 1024) /* payloads of the rows of one transaction */

struct mig {
	int32_t id;
	char id_text[12];
	char name[104]; /* as long as it may be */
	int32_t revision;
	char revision_text[12];
	int32_t revision_wanted; /* as the last poll said */
	int32_t broken_revision; /* whose plan cannot be read ... */
	char why_broken[200];    /* ... and why; of the settings, if those are what is wrong */
	uint64_t state_ms;       /* when the state was last seen to change */
	bool row_mode;
	bool ledger_only;
	enum mig_state state;
	bool seen;     /* in the poll that is being read */
	bool stale;    /* the plan is to be loaded: nothing runs meanwhile */
	bool produced; /* a producer holds its lease */
	struct job_keys keys;
	uint64_t default_batch_size; /* of drover.migrations, unless a setting says otherwise */
	uint64_t alive,
		rank; /* workers that can work for it, this one included, and how many come before this one; alive 0: not asked yet */
	struct settings settings;
	char *settings_text; /* as it was applied, or refused */
	bool configured;     /* the settings are those that were asked for: nothing runs by the defaults instead */
	struct plan *plan;   /* NULL: not loaded */
	struct pace pace;    /* how long its rows take */
	uint64_t pause_us;   /* between pieces, of late */

	/* how far the fleet gives way to others, see throttle.h */
	unsigned rung;             /* as the last poll said, or as this worker found itself */
	bool watchable;            /* nobody else watches it */
	bool watched, was_watched; /* this worker does; did until a moment ago */
	bool tell;                 /* what was found is to be written */
	struct throttle throttle;
	struct throttle_told told;
	struct throttle_reading seen_table; /* of its table, and of WAL */
	char unseen[600];                   /* what could not be seen; "": nothing */
	uint64_t committed_ms;              /* this worker's last transaction */

	/* set_config() of everything that was captured at registration, and our own */
	char *set_sql;
	json_t *set_root;        /* owns the names and values */
	const char **set_params; /* name, value, name, value ...; application_name's value is the last one, a lane's */
	unsigned set_n;
	char lock_timeout[24], query_timeout[24];

	/* jobs held */
	struct entry *held;                    /* all, by held_prev/held_next */
	struct entry *batches, *rows, *failed; /* waiting, by prev/next */
	size_t nheld, nbatches, nrows, nfailed;
	struct job_run *runs;                   /* waiting: halves, and what was taken over */
	unsigned busy;                          /* lanes at work for it */
	uint64_t commits;                       /* transactions of this worker, to see whether others commit */
	uint64_t deadlocks, deadlock_ms;        /* 40P01 lately, and when the first of them was */
	uint64_t one_lane_until_ms;             /* our own lanes deadlock with each other */
	char cursor[ENTRY_ID_MAX];              /* of the take-over */
	bool more_to_take;                      /* the last take-over brought something */
	bool taking, promoting;                 /* answers awaited: a server that stands still is not asked on and on */
	uint64_t taken_over;                    /* jobs, not said yet */
	uint64_t delayed_left;                  /* jobs in the delayed set, as of the last look; UINT64_MAX: not known */
	bool found_empty;                       /* the last read of the stream brought nothing */
	uint64_t consumers_ms;                  /* of the last look for consumers that are gone */
	uint64_t foreign, foreign_said_ms;      /* entries that were no jobs of ours */
	bool newer_said;                        /* jobs of a later version were met, and it was said */
	uint64_t newer_rest_ms, newer_until_ms; /* its stream is not read until then; how long that rest is */
	struct entry_id *left;                  /* acknowledged, but perhaps still in the stream, behind what is pending; see settle.c */
	size_t nleft;
	uint64_t unsettled, unsettled_said_ms; /* what Redis did not take about jobs that were settled */
	uint64_t said_second, said, unsaid;    /* failed jobs are logged at a bounded rate */
	struct counts_mig *counts;             /* where it is counted; the worker's. NULL: nowhere */

	struct mig *prev, *next;
};

struct mig *mig_new(int32_t id, const char *name, const char *installation);
void mig_free(struct mig *m); /* with everything it holds */

/* The plan and the captured session settings (a JSON object of texts). ST_INPUT: they cannot be read. */
MUST_CHECK int mig_load(struct mig *m, int32_t revision, bool ledger_only, const char *plan, const char *settings, struct err *err);

/* Run-time settings over @defaults. What is wrong is in @err, and the ones before stay. */
MUST_CHECK int mig_configure(struct mig *m, const struct settings *defaults, const char *text, struct err *err);

/* Take in an entry that was just read. */
void mig_hold(struct mig *m, struct entry *e);
void mig_queue(struct mig *m, struct entry *e);  /* into the queue of its kind */
void mig_unhold(struct mig *m, struct entry *e); /* settled: frees it; it must not wait in a queue any more */

const struct throttle_response *mig_response(const struct mig *m); /* to what the fleet gives way to */
uint64_t mig_batch_size(const struct mig *m);                      /* as it was set or registered */
uint64_t mig_group_rows(const struct mig *m); /* the most row jobs or dead letters that one transaction should do now */
/* The most rows that one transaction should do of a batch now; 0: however many it has. *@pieces: with a pause before each of so many parts of them, or 0. */
uint64_t mig_slice_rows(const struct mig *m, enum job_kind kind, unsigned *pieces);

/* A transaction of so many pieces (0: none) paused for @us before them. Without pieces what is known fades: it may have been too long for any. */
void mig_note_pauses(struct mig *m, unsigned pieces, uint64_t us);
bool mig_has_work(const struct mig *m);

/* Are these row jobs of one window that follow one another, and enough of them to be done as a range of keys? */
bool mig_is_run(struct entry *const *entries, size_t n);

/* The next unit of work, or NULL: a waiting run, one batch, or a group of dead letters or rows. *@ret_jobs: entries in it. */
struct job_run *mig_take(struct mig *m);

/* All that waits, as one run per kind: to be given back. NULL when nothing is left. */
struct job_run *mig_take_any(struct mig *m);

/* Make waiting runs of what was taken over from others: batches one by one, rows in groups that shrink with the number of deliveries. */
MUST_CHECK int mig_queue_taken_over(struct mig *m, struct entry **entries, size_t n);

/* Divide a group among new runs, which take its entries; they wait before everything else. Entries that found no memory are left to their leases. */
void mig_divide(struct mig *m, struct job_run *r);

#endif
