/*
 * ledger.c - PostgreSQL as the world has it: what the functions of sql/schema/002_functions.sql and the plan's statements do.
 */
#include <stdio.h>
#include <string.h>

#include "world.h"

#define COUNT_MAX 3 /* of failures: more make no difference to the policy */

static bool is_open(const struct failed_job *f)
{
	return f->state == FAILED_RETRYING || f->state == FAILED_QUEUED;
}

/* ------------------------------------------------------------ marks */

bool marks_have(const struct marks *m, uint32_t serial)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->runs[i] == serial)
			return true;
	return false;
}

static void marks_remove(struct marks *m, uint32_t serial)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->n; i++)
		if (m->runs[i] != serial)
			m->runs[n++] = m->runs[i];
	m->n = (uint8_t)n;
}

static void marks_add(struct marks *m, uint32_t serial, unsigned most)
{
	m->watched = true;
	marks_remove(m, serial);
	if (m->n < (most > 0 ? most : MARKS_MAX))
		m->runs[m->n++] = serial;
}

const struct marks *ledger_marks(const struct world *w, const struct queued *job)
{
	return job->kind == JOB_BATCH ? &w->batches[job->number].marks : &w->failed[job->number].marks;
}

/* This run was survived. */
static void unmark(struct world *w, const struct job_run *r)
{
	for (size_t i = 0; i < r->n && r->kind != JOB_ROW; i++) {
		int64_t number = r->entries[i]->job.number;

		marks_remove(r->kind == JOB_BATCH ? &w->batches[number].marks : &w->failed[number].marks, (uint32_t)r->serial);
	}
}

bool ledger_is_settled(const struct world *w, const struct queued *job)
{
	const struct row *row = &w->rows[job->row];

	if (job->kind == JOB_BATCH)
		return w->batches[job->number].state != BATCH_QUEUED;
	if (job->kind == JOB_FAILED)
		/* A retry whose commit came late may have opened it again, for a row that is done: nothing is owed, the audit closes it. */
		return !is_open(&w->failed[job->number]) || (!w->setup.ledger_only && w->rows[w->failed[job->number].row].changed > 0);
	return row->changed > 0 || row->failed != 0;
}

unsigned ledger_add_batch(struct world *w, const uint8_t *rows, unsigned n, enum batch_state state)
{
	struct batch *b = &w->batches[++w->nbatches];

	if (w->nbatches >= BATCHES_MAX - 1) {
		violation(w, "batches without end");
		w->nbatches--;
		return w->nbatches;
	}
	memset(b, 0, sizeof(*b));
	memcpy(b->rows, rows, n);
	b->n = (uint8_t)n;
	b->state = (uint8_t)state;
	return w->nbatches;
}

static void refuse(struct tx_answer *a, enum pg_class class, enum policy_phase phase, const char *sqlstate)
{
	a->status = ST_SQL;
	a->class = class;
	a->phase = phase;
	snprintf(a->sqlstate, sizeof(a->sqlstate), "%s", sqlstate);
	a->message = "an error of the simulation";
	a->error = "{}";
}

/* ------------------------------------------------------------ claims and their locks */

bool tx_has_claim(const struct job_run *r, enum tx_kind kind)
{
	return kind == TX_WORK || kind == TX_SPLIT || kind == TX_BURY || (kind == TX_RETRY && r->kind == JOB_ROW);
}

/* Does an open transaction hold the ledger row of @number? */
static bool holds(const struct job_run *r, const struct request *req, enum job_kind kind, int64_t number)
{
	if (req->asked != BEGUN_TX || r->kind != kind || kind == JOB_ROW)
		return false;
	for (size_t i = 0; i < r->n; i++)
		if (r->entries[i]->job.number == number && (req->claimed & 1u << i) != 0)
			return true;
	return false;
}

static bool is_locked(const struct world *w, enum job_kind kind, int64_t number, const struct request *but)
{
	for (unsigned i = 0; i < w->nslots; i++)
		if (&w->slots[i].req != but && w->slots[i].run != NULL && holds(w->slots[i].run, &w->slots[i].req, kind, number))
			return true;
	for (unsigned i = 0; i < w->norphans; i++)
		if (&w->orphans[i].req != but && holds(w->orphans[i].run, &w->orphans[i].req, kind, number))
			return true;
	return false;
}

/* May the transaction go on, or does it wait for somebody else's lock on the ledger row? */
bool ledger_may_claim(const struct world *w, const struct job_run *r, const struct request *req)
{
	bool writes = tx_has_claim(r, req->tx) || req->tx == TX_MARK || req->tx == TX_UNMARK || req->tx == TX_RETRY ||
		      (req->tx == TX_NOTE && r->kind == JOB_BATCH);

	if (req->asked == BEGUN_TX || !writes || r->kind == JOB_ROW || (w->setup.broken & BROKEN_CLAIM_UNLOCKED) != 0)
		return true;
	for (size_t i = 0; i < r->n; i++)
		if (is_locked(w, r->kind, r->entries[i]->job.number, req))
			return false;
	return true;
}

static bool row_may_change(const struct world *w, unsigned row)
{
	return w->setup.ledger_only || w->rows[row].changed == 0;
}

/* Which of its entries it may change, as far as the claim can tell. */
static uint32_t claimed(const struct world *w, const struct job_run *r)
{
	uint32_t ours = 0;

	for (size_t i = 0; i < r->n; i++) {
		int64_t number = r->entries[i]->job.number;
		bool ok;

		if (r->kind == JOB_BATCH)
			ok = w->batches[number].state == BATCH_QUEUED || (w->setup.broken & BROKEN_CLAIM_DONE) != 0;
		else if (r->kind == JOB_FAILED)
			ok = is_open(&w->failed[number]);
		else if (w->setup.ledger_only)
			ok = w->batches[number].state == WINDOW_OPEN;
		else
			ok = (w->setup.broken & BROKEN_PREDICATE_EARLY) == 0 || row_may_change(w, (unsigned)r->entries[i]->id.ms);
		ours |= (uint32_t)ok << i;
	}
	return ours;
}

static bool is_watched(const struct world *w, const struct job_run *r)
{
	for (size_t i = 0; i < r->n && r->kind != JOB_ROW; i++) {
		int64_t number = r->entries[i]->job.number;

		if (r->kind == JOB_BATCH ? w->batches[number].marks.watched :
					   is_open(&w->failed[number]) && w->failed[number].marks.watched)
			return true;
	}
	return false;
}

/* false: refused, the answer says why. */
bool ledger_claim(struct world *w, const struct job_run *r, struct request *req, struct tx_answer *a)
{
	bool marked = req->tx != TX_WORK || r->marked;

	memset(a, 0, sizeof(*a));
	req->claimed = claimed(w, r);
	if (req->tx == TX_BURY && (w->setup.broken & BROKEN_BURY_UNCLAIMED) != 0)
		req->claimed = UINT32_MAX;
	if (w->paused)
		refuse(a, PG_CLASS_STOPPED, POLICY_CLAIM, "DR002");
	else if (req->claimed == 0 && r->kind != JOB_ROW)
		refuse(a, PG_CLASS_DONE, POLICY_CLAIM, "DR001");
	else if (is_watched(w, r) && !marked)
		refuse(a, PG_CLASS_UNMARKED, POLICY_CLAIM, "DR006");
	else
		return true;
	if (a->class == PG_CLASS_DONE)
		tell(w, "the claim finds it done before (`DR001`)");
	return false;
}

/* ------------------------------------------------------------ the work */

/* The rows that the transaction would change, of the first @slice of a batch unless 0; those of others are left out. */
static unsigned own_rows(const struct world *w, const struct job_run *r, const struct request *req, unsigned slice, uint8_t *rows)
{
	const struct batch *b = &w->batches[r->entries[0]->job.number];
	bool early = r->kind == JOB_ROW && (w->setup.broken & BROKEN_PREDICATE_EARLY) != 0;
	unsigned n = 0;

	for (unsigned i = 0; r->kind == JOB_BATCH && i < (slice > 0 ? slice : b->n); i++)
		if (row_may_change(w, b->rows[i]))
			rows[n++] = b->rows[i];
	for (size_t i = 0; r->kind != JOB_BATCH && i < r->n; i++) {
		bool replay = r->kind == JOB_FAILED;
		uint8_t row = replay ? w->failed[r->entries[i]->job.number].row : (uint8_t)r->entries[i]->id.ms;
		bool ours = (req->claimed & 1u << i) != 0 && (early || row_may_change(w, row)) && (replay || !w->rows[row].receipt);

		for (unsigned k = 0; k < n && ours; k++)
			ours = rows[k] != row;
		if (ours)
			rows[n++] = row;
	}
	return n;
}

/* What the rows say to it: false if one of them raises, or is locked by the application. */
static bool rows_agree(struct world *w, const uint8_t *rows, unsigned n, struct tx_answer *a)
{
	for (unsigned i = 0; i < n; i++) {
		const struct row *row = &w->rows[rows[i]];

		if (row->poison)
			refuse(a, row->suspect ? PG_CLASS_SUSPECT : PG_CLASS_DATA, POLICY_TRANSFORM, "23514");
		else if (row->locked)
			refuse(a, PG_CLASS_CONFLICT, POLICY_TRANSFORM, "55P03");
		else
			continue;
		return false;
	}
	if (n > 0 && goes_wrong(w, FAULT_TIMEOUT)) {
		refuse(a, PG_CLASS_CANCELLED, POLICY_TRANSFORM, "57014");
		a->ours = true;
		return false;
	}
	return true;
}

static void change(struct world *w, unsigned number)
{
	struct row *row = &w->rows[number];

	row->changed++;
	row->receipt = row->receipt || (w->setup.row_mode && w->setup.ledger_only);
	if (row->changed > 1)
		violation(w, "row %u is changed a second time", number);
}

/* drover.finish_slice(): the batch begins behind the rows that are done, or is done as a whole. */
static void finish_batch(struct world *w, struct batch *b, unsigned slice, struct tx_answer *a)
{
	bool kept = (w->setup.broken & BROKEN_SLICE_KEPT) != 0;

	a->more = slice > 0;
	b->state = slice > 0 && (w->setup.broken & BROKEN_SLICE_IS_ALL) == 0 ? BATCH_QUEUED : BATCH_DONE;
	if (slice == 0 || kept)
		return;
	b->n = (uint8_t)(b->n - slice);
	memmove(b->rows, b->rows + slice, b->n);
}

/* How many rows of the batch are done in this transaction, from its beginning; 0: all. */
static unsigned draw_slice(struct world *w, const struct job_run *r)
{
	const struct batch *b = &w->batches[r->entries[0]->job.number];

	if (!w->setup.slices || r->kind != JOB_BATCH || b->n < 2 || choose(w, 2, "whether a slice of it is done") == 0)
		return 0;
	return (b->n + 1u) / 2;
}

/* drover.finish_run(): rows of one window that have a predicate are a range of keys, and the window counts those that it changed. */
static void finish_run(struct world *w, const struct job_run *r, unsigned changed)
{
	struct batch *window = &w->batches[r->entries[0]->job.number];

	for (size_t i = 0; i < r->n; i++)
		if (r->kind != JOB_ROW || w->setup.ledger_only || r->entries[i]->job.number != r->entries[0]->job.number)
			return;
	window->counted = (uint8_t)(window->counted + ((w->setup.broken & BROKEN_COUNT_JOBS) != 0 ? r->n : changed));
}

static void work(struct world *w, struct job_run *r, const struct request *req, struct tx_answer *a)
{
	uint8_t rows[BATCH_ROWS];
	unsigned slice = draw_slice(w, r), n = own_rows(w, r, req, slice, rows);

	if (!rows_agree(w, rows, n, a)) {
		if (r->kind == JOB_BATCH) {
			a->claimed_rows = w->batches[r->entries[0]->job.number].n;
			a->failures = w->batches[r->entries[0]->job.number].retries;
		}
		tell(w, "a row of it fails, rolled back");
		return;
	}
	for (unsigned i = 0; i < n; i++)
		change(w, rows[i]);
	a->changed = n;
	if (r->kind == JOB_BATCH)
		finish_batch(w, &w->batches[r->entries[0]->job.number], slice, a);
	else
		finish_run(w, r, n);
	for (size_t i = 0; i < r->n && r->kind == JOB_FAILED; i++) {
		struct failed_job *f = &w->failed[r->entries[i]->job.number];

		if ((req->claimed & 1u << i) != 0)
			f->state = (uint8_t)(w->setup.ledger_only ? FAILED_DONE : FAILED_NOT_PENDING);
	}
	for (unsigned i = 0; i < n && r->kind == JOB_FAILED; i++)
		w->failed[w->rows[rows[i]].failed].state = FAILED_DONE;
	tell(w, a->more ? "a slice of it commits" : n > 0 ? "it runs and commits" : "it finds its rows settled and changes nothing");
}

static void count(uint8_t *what)
{
	*what = (uint8_t)(*what < COUNT_MAX ? *what + 1 : COUNT_MAX);
}

/* Conflicts use up time, not tries; what is only asked uses up nothing. */
static bool is_try(enum policy_note note)
{
	return note == POLICY_NOTE_RETRY || note == POLICY_NOTE_TIMEOUT;
}

/* drover.note_batch(): a failure, by a worker that has survived this run. */
static void count_failure(struct world *w, const struct job_run *r, enum policy_note note)
{
	struct batch *b = &w->batches[r->entries[0]->job.number];

	if (note == POLICY_NOTE_LOSS)
		count(&b->losses);
	if (note == POLICY_NOTE_CONFLICT)
		count(&b->conflicts);
	if (is_try(note))
		count(&b->retries);
	if ((w->setup.broken & BROKEN_STARTS_KEPT) == 0)
		unmark(w, r);
}

static void split(struct world *w, struct job_run *r, struct tx_answer *a)
{
	struct batch *b = &w->batches[r->entries[0]->job.number];
	uint8_t part[POLICY_SPLIT_WAYS][BATCH_ROWS];
	unsigned n[POLICY_SPLIT_WAYS] = { 0 }, at = 0;

	if (r->note_due)
		count_failure(w, r, POLICY_NOTE_RETRY);
	for (unsigned i = 0; i < b->n; i++)
		if (row_may_change(w, b->rows[i])) {
			part[at % POLICY_SPLIT_WAYS][n[at % POLICY_SPLIT_WAYS]++] = b->rows[i];
			at++;
		}
	if ((w->setup.broken & BROKEN_SPLIT_OPEN) == 0)
		b->state = at > 0 ? BATCH_SPLIT : BATCH_DONE;
	for (unsigned p = 0; p < POLICY_SPLIT_WAYS && n[p] > 0; p++) {
		unsigned child = ledger_add_batch(w, part[p], n[p], BATCH_QUEUED);

		if (b->marks.n >= 3)
			w->batches[child].marks = (struct marks){ .runs = { b->marks.runs[0], b->marks.runs[1] }, .n = 2, .watched = true };
		a->parts[a->nparts++].number = child;
	}
	tell(w, "it is split");
}

/* drover.put_failed(): 0 if the row has a dead letter that is not settled. */
static uint8_t put_failed(struct world *w, unsigned number, enum failed_state state, enum policy_note note)
{
	struct row *row = &w->rows[number];
	struct failed_job *f = &w->failed[row->failed];

	if (row->failed != 0 && f->state != FAILED_DONE && f->state != FAILED_NOT_PENDING)
		return 0;
	if (row->failed == 0)
		row->failed = (uint8_t)++w->nfailed;
	f = &w->failed[row->failed];
	*f = (struct failed_job){ .row = (uint8_t)number, .state = (uint8_t)state };
	f->attempts = is_try(note);
	return row->failed;
}

static void check_burial(struct world *w, unsigned number)
{
	if (w->rows[number].changed > 0)
		violation(w, "row %u is buried, and was changed", number);
	if (!w->rows[number].poison && !w->setup.mended)
		violation(w, "row %u is buried, and nothing is wrong with it", number);
}

static void bury(struct world *w, struct job_run *r, const struct request *req, struct tx_answer *a)
{
	uint8_t rows[BATCH_ROWS];
	unsigned n = own_rows(w, r, req, 0, rows);
	int64_t number = r->entries[0]->job.number;

	if (n > 1)
		violation(w, "%u rows are buried at once", n);
	if ((w->setup.broken & BROKEN_BURY_UNCLAIMED) != 0 && r->kind == JOB_BATCH) {
		n = 1;
		rows[0] = w->batches[number].rows[0];
	}
	if (n == 1)
		check_burial(w, rows[0]);
	if (r->kind == JOB_FAILED) {
		w->failed[number].state = (uint8_t)(n == 1 ? FAILED_DEAD : FAILED_NOT_PENDING);
		a->failed_id = n == 1 ? number : 0;
	} else if (n == 1) {
		a->failed_id = put_failed(w, rows[0], FAILED_DEAD, POLICY_NOTE_RETRY);
		w->rows[rows[0]].receipt = w->setup.row_mode && w->setup.ledger_only;
	}
	if (r->kind == JOB_BATCH)
		w->batches[number].state = BATCH_DONE;
	tell(w, "its row becomes a dead letter");
}

/* A row waits for its next attempt; without a look at the row, which may be locked. */
static void retry(struct world *w, struct job_run *r, const struct request *req, struct tx_answer *a)
{
	unsigned number = (unsigned)r->entries[0]->id.ms;
	struct failed_job *f = &w->failed[r->entries[0]->job.number];

	if (r->kind == JOB_FAILED) {
		a->settled = !is_open(f);
		if (!a->settled) {
			f->state = FAILED_RETRYING;
			if (is_try(r->note))
				count(&f->attempts);
			if ((w->setup.broken & BROKEN_STARTS_KEPT) == 0)
				unmark(w, r);
		}
	} else if (!w->setup.ledger_only || ((req->claimed & 1) != 0 && !w->rows[number].receipt)) {
		w->rows[number].receipt = w->setup.ledger_only;
		a->failed_id = put_failed(w, number, FAILED_RETRYING, r->note);
	}
	tell(w, "its next attempt is written down");
}

/* ------------------------------------------------------------ beside the work */

static void mark(struct world *w, struct job_run *r, struct tx_answer *a)
{
	a->settled = true;
	for (size_t i = 0; i < r->n; i++) {
		int64_t number = r->entries[i]->job.number;
		bool open = r->kind == JOB_BATCH ? w->batches[number].state == BATCH_QUEUED : is_open(&w->failed[number]);
		struct marks *marks = r->kind == JOB_BATCH ? &w->batches[number].marks : &w->failed[number].marks;

		if (!open)
			continue;
		a->settled = false;
		marks_add(marks, (uint32_t)r->serial, w->setup.marks_most);
		a->starts = marks->n > a->starts ? marks->n : a->starts;
		a->rows = w->batches[number].n;
	}
	tell(w, a->settled ? "its mark finds it settled" : "its start is marked");
}

static void note(struct world *w, struct job_run *r, struct tx_answer *a)
{
	int64_t number = r->entries[0]->job.number;
	struct batch *b = &w->batches[number];

	if (r->note == POLICY_NOTE_LOSS && r->facts.server_lived) {
		w->crashes = (uint8_t)(w->crashes + (w->crash_seen != w->crash));
		w->crash_seen = w->crash;
		a->crashes = w->crashes;
	}
	if (r->kind == JOB_ROW || (r->kind == JOB_FAILED && r->n > 1))
		return;
	if (r->kind == JOB_FAILED) {
		a->settled = !is_open(&w->failed[number]);
		a->rows = 1;
		a->attempts = w->failed[number].attempts + is_try(r->note);
		return;
	}
	a->settled = b->state != BATCH_QUEUED;
	if (a->settled)
		return;
	count_failure(w, r, r->note);
	a->rows = b->n;
	a->conflicts = b->conflicts;
	a->attempts = b->retries;
	a->losses = b->losses;
}

/* The backend of a dead lane, or of this lane's lost connection, is ended. */
static void unblock(struct world *w, const struct job_run *r)
{
	for (unsigned i = 0; i < w->norphans; i++) {
		struct orphan *o = &w->orphans[i];

		if ((o->dead || r->ports == &w->slots[o->slot].ports) && holds(o->run, &o->req, r->kind, r->entries[0]->job.number)) {
			tell(w, "the backend that holds its lock is ended");
			orphan_drop(w, i--);
		}
	}
}

void ledger_commit(struct world *w, struct job_run *r, const struct request *req, struct tx_answer *a)
{
	memset(a, 0, sizeof(*a));
	switch (req->tx) {
	case TX_WORK:
		work(w, r, req, a);
		break;
	case TX_SPLIT:
		split(w, r, a);
		break;
	case TX_BURY:
		bury(w, r, req, a);
		break;
	case TX_RETRY:
		retry(w, r, req, a);
		break;
	case TX_MARK:
		mark(w, r, a);
		break;
	case TX_NOTE:
		note(w, r, a);
		break;
	case TX_UNMARK:
		if ((w->setup.broken & (BROKEN_STARTS_KEPT | BROKEN_BACK_KEPT)) == 0)
			unmark(w, r);
		break;
	case TX_UNBLOCK:
		unblock(w, r);
		break;
	case TX_PROBE:
		if (w->paused)
			refuse(a, PG_CLASS_STOPPED, POLICY_CLAIM, "DR002");
		break;
	case TX_PAUSE:
		violation(w, "the migration is paused: %s", r->verdict.why);
		break;
	default: /* BREAKER: one dead letter is no reason */
		break;
	}
}
