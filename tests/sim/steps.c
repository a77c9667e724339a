/*
 * steps.c - what may happen next in the world.
 */
#include <stdlib.h>
#include <string.h>

#include "world.h"

struct list {
	struct step *v;
	unsigned n;
};

static void add(struct list *l, enum step_kind kind, unsigned which)
{
	if (l->n < STEPS_MAX)
		l->v[l->n++] = (struct step){ (uint8_t)kind, (uint8_t)which };
}

static bool is_of(const struct job_run *r, uint32_t id)
{
	for (size_t k = 0; r != NULL && k < r->n; k++)
		if (r->entries[k]->id.seq == id && !r->loose)
			return true;
	return false;
}

/* Does the worker renew it? Not the entry of a batch that was split, when its run goes on with a part. */
bool is_held(const struct world *w, int worker, uint32_t id)
{
	for (unsigned i = 0; i < w->nslots; i++)
		if (w->slots[i].worker == worker && is_of(w->slots[i].run, id))
			return true;
	for (unsigned i = 0; i < w->nwaiting; i++)
		if (w->waiting_worker[i] == worker && is_of(w->waiting[i], id))
			return true;
	return false;
}

/* Its lease is over, or nobody renews it. */
bool may_take_over(const struct world *w, const struct queued *e, int worker)
{
	if (e->owner < 0 || is_held(w, worker, e->id))
		return false;
	if (e->owner == GONE)
		return (w->setup.broken & BROKEN_NO_TAKE_OVER) == 0;
	return e->idle || !is_held(w, e->owner, e->id);
}

static bool is_reserved(const struct world *w, int worker)
{
	for (unsigned i = 0; i < w->nslots; i++)
		if (w->slots[i].worker == worker && w->slots[i].run != NULL && w->slots[i].run->alone)
			return true;
	return false;
}

static bool is_busy(const struct world *w, int worker, bool but_holding)
{
	for (unsigned i = 0; i < w->nslots; i++)
		if (w->slots[i].worker == worker && w->slots[i].run != NULL && !(but_holding && w->slots[i].req.asked == ASKED_ALONE))
			return true;
	return false;
}

/* ------------------------------------------------------------ workers */

static void idle_slot(const struct world *w, unsigned i, struct list *l)
{
	int worker = w->slots[i].worker;
	bool fetch = false, take = false;

	if (is_reserved(w, worker))
		return;
	for (unsigned k = 0; k < w->nwaiting; k++)
		if (w->waiting_worker[k] == worker) {
			add(l, STEP_START, i);
			return;
		}
	for (unsigned k = 0; k < w->redis.nstream && !w->paused; k++) {
		fetch = fetch || w->redis.stream[k].owner < 0;
		take = take || may_take_over(w, &w->redis.stream[k], worker);
	}
	if (fetch)
		add(l, STEP_FETCH, i);
	if (take)
		add(l, STEP_TAKE_OVER, i);
}

static void busy_slot(const struct world *w, unsigned i, struct list *l)
{
	const struct slot *s = &w->slots[i];

	if (s->req.asked == ASKED_TIME) {
		add(l, STEP_TIME, i);
	} else if (s->req.asked == ASKED_ALONE) {
		if (!is_busy(w, s->worker, true))
			add(l, STEP_ALONE, i);
	} else if (s->req.asked == ASKED_SETTLE) {
		add(l, STEP_SETTLE, i);
		if (w->left[FAULT_FULL] > 0)
			add(l, STEP_FULL, i);
		if (w->left[FAULT_LINK_REDIS] > 0)
			add(l, STEP_LOSE, i);
	} else {
		if (!ledger_may_claim(w, s->run, &s->req)) {
			if (w->left[FAULT_LOCK_WAIT] > 0)
				add(l, STEP_LOCK_WAIT, i);
		} else {
			add(l, s->req.asked == ASKED_TX && tx_has_claim(s->run, (enum tx_kind)s->req.tx) ? STEP_CLAIM : STEP_COMMIT, i);
		}
		if (w->left[FAULT_LINK_PG] > 0)
			add(l, STEP_LOSE, i);
	}
	if (w->left[FAULT_DRAIN] > 0 && !s->run->draining)
		add(l, STEP_DRAIN, i);
}

static void workers(const struct world *w, struct list *l)
{
	for (unsigned i = 0; i < w->nslots; i++) {
		if (w->slots[i].run == NULL)
			idle_slot(w, i, l);
		else
			busy_slot(w, i, l);
	}
	for (int worker = 0; worker < w->setup.workers; worker++) {
		bool owns = false, late = false;

		for (unsigned k = 0; k < w->redis.nstream; k++)
			if (w->redis.stream[k].owner == worker) {
				owns = owns || !w->redis.stream[k].idle;
				late = late || (w->redis.stream[k].idle && is_held(w, worker, w->redis.stream[k].id));
			}
		if (w->left[FAULT_CRASH] > 0 && is_busy(w, worker, false))
			add(l, STEP_CRASH, (unsigned)worker);
		if (w->left[FAULT_LEASE] > 0 && owns)
			add(l, STEP_LEASE, (unsigned)worker);
		if (late)
			add(l, STEP_RENEW, (unsigned)worker);
	}
	for (unsigned i = 0; i < w->norphans; i++) {
		if (ledger_may_claim(w, w->orphans[i].run, &w->orphans[i].req))
			add(l, STEP_ORPHAN_GOES, i);
		add(l, STEP_ORPHAN_DIES, i);
	}
}

/* ------------------------------------------------------------ the others */

/* The next job of the ledger that is to be done and is not in Redis; false: none is missing. From @at on, which is moved behind it. */
bool missing(const struct world *w, unsigned *at, struct queued *ret)
{
	for (unsigned i = *at; i < BATCHES_MAX + ROWS_MAX + ROWS_MAX + 1; i++) {
		unsigned f = i - BATCHES_MAX, row = f - ROWS_MAX - 1;
		bool is = false;

		if (i < BATCHES_MAX) {
			*ret = (struct queued){ .kind = JOB_BATCH, .number = (uint8_t)i };
			is = i >= w->floor && i >= 1 && i <= w->nbatches && w->batches[i].state == BATCH_QUEUED;
		} else if (f <= ROWS_MAX) {
			*ret = (struct queued){ .kind = JOB_FAILED, .number = (uint8_t)f };
			is = f >= 1 && f <= w->nfailed && (w->setup.broken & BROKEN_AUDIT_NO_REPLAYS) == 0 &&
			     (w->failed[f].state == FAILED_QUEUED || w->failed[f].state == FAILED_RETRYING);
		} else if (row < w->setup.rows && w->setup.row_mode && w->rows[row].window >= w->floor && w->rows[row].window > 0) {
			*ret = (struct queued){ .kind = JOB_ROW, .number = w->rows[row].window, .row = (uint8_t)row };
			is = w->batches[ret->number].state == WINDOW_OPEN && !ledger_is_settled(w, ret);
		}
		if (is && !redis_has(w, ret)) {
			*at = i + 1;
			return true;
		}
	}
	return false;
}

static bool any_missing(const struct world *w)
{
	struct queued job;
	unsigned at = 0;

	return missing(w, &at, &job);
}

/* Every row of an open window is done, or has a dead letter. */
/* All its rows were counted as changed, or a look finds that none is left. */
static bool may_close(const struct world *w, const struct batch *b)
{
	if (b->state == WINDOW_OPEN && b->counted >= b->n)
		return true;
	for (unsigned k = 0; k < b->n; k++) {
		const struct row *row = &w->rows[b->rows[k]];

		if (row->changed == 0 && row->failed == 0)
			return false;
	}
	return b->state == WINDOW_OPEN;
}

static bool sees(const struct job_run *r, const struct request *req, unsigned window)
{
	for (size_t i = 0; req->asked == BEGUN_TX && r->kind == JOB_ROW && i < r->n; i++)
		if ((req->claimed & 1u << i) != 0 && r->entries[i]->job.number == (int64_t)window)
			return true;
	return false;
}

/* Receipts of a closed window go when no transaction is left that may have seen it open. */
static bool may_prune(const struct world *w, unsigned window)
{
	const struct batch *b = &w->batches[window];
	bool any = false;

	for (unsigned k = 0; k < b->n; k++)
		any = any || w->rows[b->rows[k]].receipt;
	if (b->state != WINDOW_CLOSED || !any)
		return false;
	if ((w->setup.broken & BROKEN_PRUNE_EARLY) != 0)
		return true;
	for (unsigned i = 0; i < w->nslots; i++)
		if (w->slots[i].run != NULL && sees(w->slots[i].run, &w->slots[i].req, window))
			return false;
	for (unsigned i = 0; i < w->norphans; i++)
		if (sees(w->orphans[i].run, &w->orphans[i].req, window))
			return false;
	return true;
}

static void stewards(const struct world *w, struct list *l)
{
	if (any_missing(w))
		add(l, STEP_AUDIT, 0);
	if (w->seen.walked)
		add(l, STEP_LATE_AUDIT, 0);
	else if (w->left[FAULT_LATE_AUDIT] > 0)
		add(l, STEP_WALK, 0);
	for (unsigned i = 0; i < w->redis.ndelayed; i++)
		add(l, STEP_DUE, i);
	for (unsigned i = 1; i <= w->nbatches; i++) {
		if (may_close(w, &w->batches[i]))
			add(l, STEP_CLOSE, i);
		if (may_prune(w, i))
			add(l, STEP_PRUNE, i);
	}
	if (w->push_from < w->push_to) {
		add(l, STEP_PUSH, 0);
		if (w->left[FAULT_PRODUCER] > 0)
			add(l, STEP_PRODUCER_DIES, 0);
	} else if (w->found < w->setup.rows) {
		add(l, STEP_FIND, 0);
	}
}

static void surroundings(const struct world *w, struct list *l)
{
	bool empty = w->redis.nstream + w->redis.ndelayed == 0;

	for (unsigned i = 0; i < w->setup.rows; i++)
		if (w->rows[i].locked)
			add(l, STEP_UNLOCK, i);
	for (unsigned i = 0; i < w->setup.rows && w->setup.mended; i++)
		if (w->rows[i].poison)
			add(l, STEP_MEND, i);
	if (w->paused)
		add(l, STEP_RESUME, 0);
	else if (w->left[FAULT_PAUSE] > 0)
		add(l, STEP_PAUSE, 0);
	if (w->left[FAULT_FLUSH] > 0 && !empty)
		add(l, STEP_FLUSH, 0);
	for (unsigned i = 0; w->left[FAULT_FORGET] > 0 && i < w->redis.nstream + w->redis.ndelayed; i++)
		add(l, STEP_FORGET, i);
	if (w->left[FAULT_SAVED] > 0)
		add(l, w->saved ? STEP_RESTORE : STEP_SAVE, 0);
}

unsigned world_steps(const struct world *w, struct step steps[STEPS_MAX])
{
	struct list l = { steps, 0 };

	workers(w, &l);
	stewards(w, &l);
	surroundings(w, &l);
	return l.n;
}

const char *step_name(struct step s)
{
	static const char *const names[STEPS] = {
		[STEP_START] = "start a part",
		[STEP_FETCH] = "fetch",
		[STEP_TAKE_OVER] = "take over",
		[STEP_CLAIM] = "claim",
		[STEP_COMMIT] = "commit or roll back, and answer",
		[STEP_SETTLE] = "settle in Redis",
		[STEP_TIME] = "time is up",
		[STEP_ALONE] = "alone now",
		[STEP_LOSE] = "the link breaks",
		[STEP_LOCK_WAIT] = "a lock is waited for too long",
		[STEP_DRAIN] = "drain",
		[STEP_FULL] = "Redis refuses",
		[STEP_ORPHAN_GOES] = "an orphan goes on",
		[STEP_ORPHAN_DIES] = "an orphan vanishes",
		[STEP_CRASH] = "a worker dies",
		[STEP_LEASE] = "a worker's leases run out",
		[STEP_RENEW] = "a worker renews its leases",
		[STEP_DUE] = "a delayed job is due",
		[STEP_AUDIT] = "audit",
		[STEP_WALK] = "a late auditor walks",
		[STEP_LATE_AUDIT] = "a late auditor pushes",
		[STEP_FLUSH] = "Redis is emptied",
		[STEP_FORGET] = "Redis loses a job",
		[STEP_SAVE] = "Redis saves",
		[STEP_RESTORE] = "Redis is back with what it saved",
		[STEP_PAUSE] = "pause",
		[STEP_RESUME] = "resume",
		[STEP_UNLOCK] = "the application lets go of a row",
		[STEP_MEND] = "the application mends a row",
		[STEP_FIND] = "the producer commits",
		[STEP_PUSH] = "the producer pushes",
		[STEP_PRODUCER_DIES] = "the producer dies",
		[STEP_CLOSE] = "close a window",
		[STEP_PRUNE] = "prune receipts",
	};

	return names[s.kind];
}
