/*
 * A job's life on fake ports: whole fleets run in one process, and a seeded die decides what happens next: which answer comes, whether a
 * link is lost before or after the commit, who crashes, whose lease runs out, what Redis forgets.
 *
 * The world is small and strict: a ledger of batches and of failed jobs, rows that count how often they were changed, a stream with owners,
 * a delayed set. After every step: no row changed twice, nothing acknowledged that is not settled in the ledger. At the end of
 * a round, once the faults have ceased: every good row changed once, every poison row dead, nothing left in Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "worker/job_run.h"

#define ROWS 96
#define WINDOWS 2 /* the last rows are row jobs, in windows; the rest lie in batches */
#define WINDOW_ROWS 16
#define BATCHED (ROWS - WINDOWS * WINDOW_ROWS)
#define BATCH_ROWS 16
#define BATCHES_MAX 4096
#define ENTRIES_MAX 8192
#define LANES 6 /* two workers with three each */
#define ROUNDS 400
#define STEPS 1500 /* with faults; then without, until all is quiet */

enum fate { PENDING, CHANGED, DEAD };

struct row {
	unsigned changed;
	bool poison, sticky; /* sticky: locked by the application until `locked_until` */
	unsigned locked_until;
	enum fate fate;
	int failed; /* its failed job; 0: none */
};

struct batch {
	unsigned char rows[BATCH_ROWS]; /* numbers */
	unsigned n, retries, losses, starts;
	bool queued;
};

struct failed_job {
	unsigned row, attempts;
	bool waiting, dead;
};

struct fake_entry { /* of the stream or the delayed set */
	bool there, delayed;
	int owner; /* worker; -1: not read yet */
	unsigned deliveries;
	enum job_kind kind;
	int64_t number;
	unsigned row;
};

struct world;

struct slot { /* a lane */
	struct ports ports;
	struct world *world;
	int worker;
	struct job_run *run;
	enum { IDLE, ASKED_TX, ASKED_SETTLE, ASKED_TIME, HOLDS } pending;
	enum tx_kind tx;
	enum settle_kind settle;
	bool applied; /* the request had its effect, but its answer is not given yet */
	struct tx_answer answer;
};

struct world {
	struct rng rng;
	unsigned now;
	bool faults, paused;
	struct row rows[ROWS];
	struct batch batches[BATCHES_MAX];
	int nbatches;
	struct failed_job failed[ROWS + 1];
	int nfailed;
	struct fake_entry entries[ENTRIES_MAX];
	int nentries;
	struct slot slots[LANES];
	struct job_run *waiting[ROWS]; /* parts of divided groups, with their worker */
	int waiting_worker[ROWS];
	int nwaiting;
	unsigned transactions, settled, buried, lost, crashes;
};

static bool chance(struct world *w, unsigned percent)
{
	return rng_below(&w->rng, 100) < percent;
}

/* ------------------------------------------------------------ the ledger */

static int add_batch(struct world *w, const unsigned char *rows, unsigned n)
{
	struct batch *b = &w->batches[++w->nbatches];

	assert_true(w->nbatches < BATCHES_MAX - 1);
	memset(b, 0, sizeof(*b));
	memcpy(b->rows, rows, n);
	b->n = n;
	b->queued = true;
	return w->nbatches;
}

static void push(struct world *w, enum job_kind kind, int64_t number, unsigned row, bool delayed)
{
	int i = 0;

	while (i < w->nentries && w->entries[i].there)
		i++;
	assert_true(i < ENTRIES_MAX);
	if (i == w->nentries)
		w->nentries++;
	w->entries[i] = (struct fake_entry){ .there = true, .delayed = delayed, .owner = -1, .kind = kind, .number = number, .row = row };
}

/* What the ledger says of a job: is everything of it settled, so that it may be acknowledged? */
static bool is_settled(const struct world *w, enum job_kind kind, int64_t number, unsigned row)
{
	if (kind == JOB_BATCH)
		return !w->batches[number].queued;
	if (kind == JOB_FAILED)
		return !w->failed[number].waiting;
	return w->rows[row].fate != PENDING || w->rows[row].failed != 0;
}

static void sql_error(struct tx_answer *a, enum pg_class class, enum policy_phase phase, const char *sqlstate)
{
	a->status = ST_SQL;
	a->class = class;
	a->phase = phase;
	snprintf(a->sqlstate, sizeof(a->sqlstate), "%s", sqlstate);
	a->message = "an error of the simulation";
	a->error = "{}";
}

/* The row numbers of a run that are still its own to change. */
static unsigned own_rows(const struct world *w, const struct job_run *r, unsigned *rows)
{
	unsigned n = 0;

	if (r->kind == JOB_BATCH) {
		const struct batch *b = &w->batches[r->entries[0]->job.number];

		for (unsigned i = 0; i < b->n; i++)
			if (w->rows[b->rows[i]].fate == PENDING)
				rows[n++] = b->rows[i];
		return n;
	}
	for (size_t i = 0; i < r->n; i++) {
		int64_t number = r->entries[i]->job.number;
		unsigned row = r->kind == JOB_FAILED ? w->failed[number].row : (unsigned)atoi(r->entries[i]->job.key[0].s);
		bool ours = r->kind == JOB_FAILED ? w->failed[number].waiting : w->rows[row].failed == 0;

		for (unsigned k = 0; k < n && ours; k++)
			ours = rows[k] != row;
		if (ours && w->rows[row].fate == PENDING)
			rows[n++] = row;
	}
	return n;
}

/* The claim: false with the answer filled in if it refuses. */
static bool claim(struct world *w, struct job_run *r, bool marked, struct tx_answer *a)
{
	const struct batch *b = r->kind == JOB_BATCH ? &w->batches[r->entries[0]->job.number] : NULL;
	bool any = r->kind != JOB_FAILED;

	for (size_t i = 0; i < r->n && !any; i++)
		any = w->failed[r->entries[i]->job.number].waiting;
	if (w->paused)
		sql_error(a, PG_CLASS_STOPPED, POLICY_CLAIM, "DR002");
	else if ((b != NULL && !b->queued) || !any)
		sql_error(a, PG_CLASS_DONE, POLICY_CLAIM, "DR001");
	else if (b != NULL && b->starts > 0 && !marked)
		sql_error(a, PG_CLASS_UNMARKED, POLICY_CLAIM, "DR006");
	else if (w->faults && chance(w, 2))
		sql_error(a, PG_CLASS_CONFLICT, POLICY_CLAIM, "55P03");
	else
		return true;
	return false;
}

static void apply_work(struct world *w, struct job_run *r, struct tx_answer *a)
{
	unsigned rows[ROWS], n;

	if (!claim(w, r, r->marked, a))
		return;
	n = own_rows(w, r, rows);
	for (unsigned i = 0; i < n; i++) {
		if (w->rows[rows[i]].poison)
			sql_error(a, chance(w, 30) ? PG_CLASS_SUSPECT : PG_CLASS_DATA, POLICY_TRANSFORM, "23514");
		else if (w->rows[rows[i]].sticky && w->now < w->rows[rows[i]].locked_until)
			sql_error(a, PG_CLASS_CONFLICT, POLICY_TRANSFORM, "55P03");
		else
			continue;
		return;
	}
	/* A lone row that takes too long again and again is a dead letter; here only groups do. */
	if (w->faults && n > 1 && chance(w, 2)) {
		sql_error(a, PG_CLASS_CANCELLED, POLICY_TRANSFORM, "57014");
		a->ours = true;
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		w->rows[rows[i]].changed++;
		w->rows[rows[i]].fate = CHANGED;
		assert_int_equal(w->rows[rows[i]].changed, 1);
	}
	a->changed = n;
	if (r->kind == JOB_BATCH)
		w->batches[r->entries[0]->job.number].queued = false;
	for (size_t i = 0; i < r->n && r->kind == JOB_FAILED; i++)
		w->failed[r->entries[i]->job.number].waiting = false;
}

static void apply_note(struct world *w, struct job_run *r, struct tx_answer *a)
{
	int64_t number = r->entries[0]->job.number;

	if (r->kind == JOB_FAILED) {
		a->settled = !w->failed[number].waiting;
		a->rows = 1;
		a->attempts = w->failed[number].attempts + 1;
		return;
	}
	a->settled = !w->batches[number].queued;
	if (a->settled)
		return;
	w->batches[number].retries += r->note != POLICY_NOTE_LOSS && r->note != POLICY_NOTE_WAIT;
	w->batches[number].losses += r->note == POLICY_NOTE_LOSS;
	a->rows = w->batches[number].n;
	a->attempts = a->conflicts = w->batches[number].retries;
	a->losses = w->batches[number].losses > 2 ? 2 : w->batches[number].losses; /* the pause for it is tested elsewhere */
}

static void apply_split(struct world *w, struct job_run *r, struct tx_answer *a)
{
	struct batch *b = &w->batches[r->entries[0]->job.number];
	unsigned char part[POLICY_SPLIT_WAYS][BATCH_ROWS];
	unsigned n[POLICY_SPLIT_WAYS] = { 0 }, at = 0;

	if (!claim(w, r, true, a))
		return;
	for (unsigned i = 0; i < b->n; i++, at++)
		if (w->rows[b->rows[i]].fate == PENDING)
			part[at % POLICY_SPLIT_WAYS][n[at % POLICY_SPLIT_WAYS]++] = b->rows[i];
	b->queued = false;
	for (unsigned p = 0; p < POLICY_SPLIT_WAYS; p++)
		if (n[p] > 0)
			a->parts[a->nparts++].number = add_batch(w, part[p], n[p]);
}

static int put_failed(struct world *w, unsigned row, bool dead)
{
	if (w->rows[row].failed != 0)
		return 0;
	w->failed[++w->nfailed] = (struct failed_job){ .row = row, .attempts = 1, .waiting = !dead, .dead = dead };
	w->rows[row].failed = w->nfailed;
	if (dead)
		w->rows[row].fate = DEAD;
	return w->nfailed;
}

static void apply_bury(struct world *w, struct job_run *r, struct tx_answer *a)
{
	unsigned rows[ROWS], n;

	if (!claim(w, r, true, a))
		return;
	n = own_rows(w, r, rows);
	assert_true(n <= 1); /* only a lone row is buried */
	if (r->kind == JOB_FAILED) {
		w->failed[r->entries[0]->job.number].waiting = false;
		if (n == 1) {
			w->failed[r->entries[0]->job.number].dead = true;
			w->rows[rows[0]].fate = DEAD;
			a->failed_id = r->entries[0]->job.number;
		}
	} else if (n == 1) {
		a->failed_id = put_failed(w, rows[0], true);
	}
	if (r->kind == JOB_BATCH)
		w->batches[r->entries[0]->job.number].queued = false;
	w->buried += a->failed_id != 0;
}

static void apply_retry(struct world *w, struct job_run *r, struct tx_answer *a)
{
	unsigned rows[ROWS];

	if (r->kind == JOB_FAILED) {
		a->settled = !w->failed[r->entries[0]->job.number].waiting;
		w->failed[r->entries[0]->job.number].attempts++;
	} else if (claim(w, r, true, a) && own_rows(w, r, rows) == 1) {
		a->failed_id = put_failed(w, rows[0], false);
	}
}

static void apply_tx(struct slot *s)
{
	struct world *w = s->world;
	struct job_run *r = s->run;
	struct tx_answer *a = &s->answer;

	memset(a, 0, sizeof(*a));
	w->transactions++;
	switch (s->tx) {
	case TX_WORK:
		apply_work(w, r, a);
		break;
	case TX_NOTE:
		apply_note(w, r, a);
		break;
	case TX_MARK:
		if (r->kind == JOB_BATCH) {
			struct batch *b = &w->batches[r->entries[0]->job.number];

			a->settled = !b->queued;
			b->starts += b->starts < 3; /* what kills its workers is tested elsewhere */
			a->starts = b->starts;
			a->rows = b->n;
		} else {
			a->starts = 1;
			a->settled = !w->failed[r->entries[0]->job.number].waiting && r->n == 1;
		}
		break;
	case TX_SPLIT:
		apply_split(w, r, a);
		break;
	case TX_BURY:
		apply_bury(w, r, a);
		break;
	case TX_RETRY:
		apply_retry(w, r, a);
		break;
	case TX_PAUSE:
		fail_msg("nothing in this world is a reason to pause: %s", r->verdict.why);
		break;
	default: /* PROBE, UNBLOCK, BREAKER: fine */
		break;
	}
}

/* ------------------------------------------------------------ Redis */

static struct fake_entry *entry_of(struct world *w, const struct entry *e)
{
	return &w->entries[e->id.seq];
}

/* Is the entry still the one that was read? Redis may have been flushed, and the place used again. */
static bool same_entry(const struct fake_entry *f, const struct entry *e)
{
	return f->there && !f->delayed && f->kind == e->job.kind && f->number == e->job.number &&
	       (f->kind != JOB_ROW || f->row == e->id.ms);
}

static void apply_settle(struct slot *s)
{
	struct world *w = s->world;
	struct job_run *r = s->run;

	for (size_t i = 0; i < r->n; i++) {
		struct fake_entry *f = entry_of(w, r->entries[i]);
		bool there = same_entry(f, r->entries[i]);

		if (s->settle == SETTLE_BACK || s->settle == SETTLE_DELAY) {
			if (!there || f->owner != s->worker)
				continue; /* fenced */
			f->there = false;
			push(w, f->kind, f->number, f->row, s->settle == SETTLE_DELAY);
			continue;
		}
		if (!is_settled(w, r->kind, r->entries[i]->job.number, (unsigned)r->entries[i]->id.ms))
			fail_msg("acknowledged before it was settled: %c%lld in %s", (char)r->kind, (long long)r->entries[i]->job.number,
				 r->verdict.why);
		if (there)
			f->there = false;
		w->settled++;
	}
	for (unsigned i = 0; s->settle == SETTLE_PARTS && i < r->nparts; i++)
		push(w, JOB_BATCH, r->parts[i].number, 0, false);
	if (s->settle == SETTLE_RETRY)
		push(w, JOB_FAILED, r->failed_id, 0, true);
}

/* ------------------------------------------------------------ ports */

static struct slot *slot_of(struct ports *p)
{
	return container_of(p, struct slot, ports);
}

static int fake_transact(struct ports *p, struct job_run *r, enum tx_kind kind)
{
	struct slot *s = slot_of(p);

	assert_ptr_equal(s->run, r);
	assert_int_equal(s->pending, IDLE);
	if (s->world->faults && chance(s->world, 3))
		return ST_DISCONNECTED;
	s->pending = ASKED_TX;
	s->tx = kind;
	s->applied = false;
	return 0;
}

static void fake_interrupt(struct ports *p, struct job_run *r)
{
	(void)p;
	(void)r;
}

static int fake_settle(struct ports *p, struct job_run *r, enum settle_kind kind)
{
	struct slot *s = slot_of(p);

	assert_ptr_equal(s->run, r);
	assert_int_equal(s->pending, IDLE);
	if (s->world->faults && chance(s->world, 3))
		return ST_DISCONNECTED;
	s->pending = ASKED_SETTLE;
	s->settle = kind;
	s->applied = false;
	return 0;
}

static void fake_wait(struct ports *p, struct job_run *r, uint64_t ms)
{
	(void)r;
	(void)ms;
	assert_int_equal(slot_of(p)->pending, IDLE);
	slot_of(p)->pending = ASKED_TIME;
}

static void fake_hold(struct ports *p, struct job_run *r)
{
	(void)r;
	assert_int_equal(slot_of(p)->pending, IDLE);
	slot_of(p)->pending = HOLDS;
}

static void fake_divide(struct ports *p, struct job_run *r)
{
	struct slot *s = slot_of(p);
	struct world *w = s->world;
	size_t parts = r->n < POLICY_SPLIT_WAYS ? r->n : POLICY_SPLIT_WAYS;

	for (size_t i = 0; i < parts; i++) {
		size_t from = r->n * i / parts, n = r->n * (i + 1) / parts - from;
		struct entry **entries = calloc(n, sizeof(*entries));
		struct job_run *part = job_run_new(NULL, r->kind, entries, n);

		assert_non_null(part);
		memcpy(entries, r->entries + from, n * sizeof(*entries));
		part->losses = r->losses > 1 ? 1 : r->losses;
		part->conflicts = r->conflicts > 0 ? POLICY_CONFLICTS_SPLIT - 1 : 0;
		part->marked = r->marked;
		w->waiting[w->nwaiting] = part;
		w->waiting_worker[w->nwaiting++] = s->worker;
	}
	r->n = 0;
}

static uint64_t fake_backoff(struct ports *p, struct job_run *r, unsigned attempt)
{
	(void)p;
	(void)r;
	return attempt;
}

static void fake_reload(struct ports *p, struct job_run *r)
{
	(void)p;
	(void)r;
}

static void free_run(struct job_run *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->entries[i]);
	job_run_free(r);
}

static void fake_done(struct ports *p, struct job_run *r)
{
	struct slot *s = slot_of(p);

	assert_ptr_equal(s->run, r);
	assert_int_equal(s->pending, IDLE); /* nothing is under way any more, and it is said once */
	s->run = NULL;
	free_run(r);
}

static void fake_say(struct ports *p, struct job_run *r, const char *event, const char *why, const struct tx_answer *a)
{
	(void)p;
	(void)r;
	(void)event;
	(void)why;
	(void)a;
}

/* ------------------------------------------------------------ what may happen */

static struct entry *read_entry(struct world *w, int i, int worker)
{
	struct fake_entry *f = &w->entries[i];
	char key[8];
	struct job job = { .kind = f->kind, .number = f->number };
	struct entry *e;

	snprintf(key, sizeof(key), "%u", f->row);
	if (f->kind == JOB_ROW) {
		job.columns = 1;
		job.key[0] = (struct job_text){ key, strlen(key) + 1 }; /* with its NUL: own_rows() reads it with atoi() */
	}
	e = entry_new((struct entry_id){ f->row, (uint64_t)i }, key, sizeof(key), &job);
	assert_non_null(e);
	e->taken_over = f->owner >= 0;
	f->owner = worker;
	f->deliveries++;
	return e;
}

static void start(struct slot *s, struct job_run *r)
{
	r->limits = (struct policy_limits){ .tries = 1, .conflict_budget_ms = 3600000 };
	s->run = r;
	job_run_start(r, &s->ports);
}

static bool worker_is_reserved(const struct world *w, int worker)
{
	for (int i = 0; i < LANES; i++)
		if (w->slots[i].worker == worker && w->slots[i].run != NULL && w->slots[i].run->alone)
			return true;
	return false;
}

/* An idle lane takes what is there: a part that waits, unread entries, or those of another worker whose lease is over. */
static void fetch(struct world *w, struct slot *s)
{
	struct entry **entries = calloc(WINDOW_ROWS, sizeof(*entries));
	size_t n = 0, most = 1 + (size_t)rng_below(&w->rng, WINDOW_ROWS);
	bool over_time = chance(w, w->faults ? 20 : 50);
	enum job_kind kind = JOB_BATCH;
	struct job_run *r;
	bool mark = false;

	for (int i = 0; i < w->nwaiting; i++) {
		if (w->waiting_worker[i] != s->worker)
			continue;
		free(entries);
		r = w->waiting[i];
		w->waiting[i] = w->waiting[--w->nwaiting];
		w->waiting_worker[i] = w->waiting_worker[w->nwaiting];
		start(s, r);
		return;
	}
	for (int k = 0, from = (int)rng_below(&w->rng, (uint64_t)w->nentries + 1); k < w->nentries && n < most; k++) {
		int i = (from + k) % w->nentries;
		struct fake_entry *f = &w->entries[i];

		if (!f->there || f->delayed || (n > 0 && (f->kind != kind || kind == JOB_BATCH)))
			continue;
		/* A lease that runs out while its owner lives: the owner becomes a zombie. Its own are never taken again while it holds them. */
		if (f->owner >= 0 && (!over_time || f->owner == s->worker))
			continue;
		kind = f->kind;
		mark = mark || f->owner >= 0;
		entries[n++] = read_entry(w, i, s->worker);
	}
	if (n == 0) {
		free(entries);
		return;
	}
	r = job_run_new(NULL, kind, entries, n);
	assert_non_null(r);
	r->want_mark = mark;
	start(s, r);
}

/* The answer to what a lane asked: with its effect, or lost before it or behind it. */
static void answer(struct world *w, struct slot *s)
{
	bool lose_before = w->faults && !s->applied && chance(w, 4), lose_after = w->faults && chance(w, 4);
	bool tx = s->pending == ASKED_TX;

	if (!s->applied && !lose_before) {
		if (tx)
			apply_tx(s);
		else
			apply_settle(s);
		s->applied = true;
	}
	/* Committed, and the answer takes its time: others see the effect first. */
	if (!lose_before && chance(w, 20))
		return;
	s->pending = IDLE;
	if (lose_before || lose_after) {
		w->lost++;
		s->answer = (struct tx_answer){ .status = ST_DISCONNECTED,
						.class = PG_CLASS_OUTAGE,
						.silent = s->run->losses < 2 && chance(w, 20),
						.phase = POLICY_COMMIT };
	}
	if (tx)
		job_run_on_tx(s->run, &s->answer);
	else
		job_run_on_settled(s->run, lose_before || lose_after ? ST_DISCONNECTED : 0);
}

static void let_alone(struct world *w, struct slot *s)
{
	for (int i = 0; i < LANES; i++)
		if (w->slots[i].worker == s->worker && w->slots[i].run != NULL && w->slots[i].pending != HOLDS)
			return;
	s->pending = IDLE;
	job_run_on_time(s->run);
}

static void crash(struct world *w, int worker)
{
	w->crashes++;
	for (int i = 0; i < LANES; i++) {
		struct slot *s = &w->slots[i];

		if (s->worker != worker || s->run == NULL)
			continue;
		/* What it had asked for may still happen. */
		if ((s->pending == ASKED_TX || s->pending == ASKED_SETTLE) && !s->applied && chance(w, 50)) {
			if (s->pending == ASKED_TX)
				apply_tx(s);
			else
				apply_settle(s);
		}
		s->pending = IDLE;
		free_run(s->run);
		s->run = NULL;
	}
	for (int i = 0; i < w->nwaiting; i++) {
		if (w->waiting_worker[i] != worker)
			continue;
		free_run(w->waiting[i]);
		w->waiting[i] = w->waiting[--w->nwaiting];
		w->waiting_worker[i] = w->waiting_worker[w->nwaiting];
		i--;
	}
	for (int i = 0; i < w->nentries; i++)
		if (w->entries[i].there && w->entries[i].owner == worker)
			w->entries[i].owner = 100; /* a consumer that is no more */
}

static bool is_queued(const struct world *w, enum job_kind kind, int64_t number, unsigned row)
{
	for (int i = 0; i < w->nentries; i++)
		if (w->entries[i].there && w->entries[i].kind == kind && w->entries[i].number == number &&
		    (kind != JOB_ROW || w->entries[i].row == row))
			return true;
	return false;
}

/* By difference: what the ledger wants and Redis does not hold is pushed. */
static void audit(struct world *w)
{
	for (int i = 1; i <= w->nbatches; i++)
		if (w->batches[i].queued && !is_queued(w, JOB_BATCH, i, 0))
			push(w, JOB_BATCH, i, 0, false);
	for (int i = 1; i <= w->nfailed; i++)
		if (w->failed[i].waiting && !is_queued(w, JOB_FAILED, i, 0))
			push(w, JOB_FAILED, i, 0, false);
	for (unsigned i = BATCHED; i < ROWS; i++)
		if (w->rows[i].fate == PENDING && w->rows[i].failed == 0 && !is_queued(w, JOB_ROW, 1 + (i - BATCHED) / WINDOW_ROWS, i))
			push(w, JOB_ROW, 1 + (i - BATCHED) / WINDOW_ROWS, i, false);
}

static void promote(struct world *w)
{
	for (int i = 0; i < w->nentries; i++)
		if (w->entries[i].there && w->entries[i].delayed && chance(w, 50))
			w->entries[i].delayed = false;
}

static void step(struct world *w)
{
	struct slot *s = &w->slots[rng_below(&w->rng, LANES)];

	w->now++;
	if (w->faults && chance(w, 1)) {
		switch (rng_below(&w->rng, 4)) {
		case 0:
			crash(w, (int)rng_below(&w->rng, 2));
			return;
		case 1: /* FLUSHALL */
			memset(w->entries, 0, sizeof(w->entries));
			return;
		case 2: /* some entries are lost */
			for (int i = 0; i < w->nentries; i++)
				w->entries[i].there = w->entries[i].there && chance(w, 70);
			return;
		default:
			w->paused = !w->paused;
			return;
		}
	}
	if (chance(w, 5))
		promote(w);
	if (chance(w, 3))
		audit(w);
	if (s->run == NULL) {
		if (!worker_is_reserved(w, s->worker))
			fetch(w, s);
	} else if (s->pending == ASKED_TIME) {
		s->pending = IDLE;
		job_run_on_time(s->run);
	} else if (s->pending == HOLDS) {
		let_alone(w, s);
	} else {
		answer(w, s);
	}
}

/* ------------------------------------------------------------ rounds */

static bool all_quiet(const struct world *w)
{
	for (int i = 0; i < LANES; i++)
		if (w->slots[i].run != NULL)
			return false;
	for (int i = 0; i < w->nentries; i++)
		if (w->entries[i].there)
			return false;
	for (unsigned i = 0; i < ROWS; i++)
		if (w->rows[i].fate == PENDING)
			return false;
	return w->nwaiting == 0;
}

static struct world *world_new(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned char rows[BATCH_ROWS];

	assert_non_null(w);
	rng_seed(&w->rng, seed);
	w->faults = true;
	for (unsigned i = 0; i < ROWS; i++) {
		w->rows[i].poison = chance(w, 8);
		w->rows[i].sticky = chance(w, 5);
		w->rows[i].locked_until = (unsigned)rng_below(&w->rng, STEPS);
	}
	for (unsigned i = 0; i < BATCHED; i += BATCH_ROWS) {
		for (unsigned k = 0; k < BATCH_ROWS; k++)
			rows[k] = (unsigned char)(i + k);
		add_batch(w, rows, BATCH_ROWS);
	}
	for (int i = 0; i < LANES; i++)
		w->slots[i] = (struct slot){ .ports = { fake_transact, fake_interrupt, fake_settle, fake_wait, fake_hold, fake_divide,
							fake_backoff, fake_reload, fake_done, fake_say },
					     .world = w,
					     .worker = i % 2 };
	audit(w);
	return w;
}

static void check_end(const struct world *w, uint64_t seed)
{
	for (unsigned i = 0; i < ROWS; i++) {
		const struct row *r = &w->rows[i];

		if (r->poison ? r->fate != DEAD || r->changed != 0 : r->fate != CHANGED || r->changed != 1)
			fail_msg("seed %llu: row %u is %s, changed %u times, fate %d", (unsigned long long)seed, i,
				 r->poison ? "poison" : "good", r->changed, (int)r->fate);
	}
}

static void every_row_meets_its_fate_once(void **state)
{
	unsigned crashes = 0, lost = 0, buried = 0;
	const char *rounds = getenv("DROVER_SIM_ROUNDS"); /* more of them, by hand */

	(void)state;
	for (uint64_t seed = 1; seed <= (rounds != NULL ? strtoull(rounds, NULL, 10) : ROUNDS); seed++) {
		struct world *w = world_new(seed);
		unsigned steps = 0;

		while (w->now < STEPS)
			step(w);
		w->faults = w->paused = false;
		while (!all_quiet(w)) {
			step(w);
			if (++steps > 200000)
				fail_msg("seed %llu: stuck", (unsigned long long)seed);
		}
		check_end(w, seed);
		crashes += w->crashes;
		lost += w->lost;
		buried += w->buried;
		free(w);
	}
	assert_true(crashes > 100 && lost > 1000 && buried > 100); /* the dice were thrown */
}

/* The moves of the table itself: no state without a way to the end, none that is never reached. */
static void every_state_leads_to_done(void **state)
{
	bool reaches[JOB_STATES] = { [JOB_DONE] = true }, reached[JOB_STATES] = { [JOB_TAKEN] = true };

	(void)state;
	for (int round = 0; round < JOB_STATES; round++)
		for (int from = 0; from < JOB_STATES; from++)
			for (int to = 0; to < JOB_STATES; to++)
				if (job_state_may((enum job_state)from, (enum job_state)to)) {
					reaches[from] = reaches[from] || reaches[to];
					reached[to] = reached[to] || reached[from];
				}
	for (int s = 0; s < JOB_STATES; s++) {
		if (!reaches[s] || !reached[s])
			fail_msg("%s: reaches the end %d, is reached %d", job_state_name((enum job_state)s), reaches[s], reached[s]);
		assert_false(job_state_may(JOB_DONE, (enum job_state)s));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_leads_to_done),
		cmocka_unit_test(every_row_meets_its_fate_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
