/*
 * do.c - what each step of the world does.
 */
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* ------------------------------------------------------------ lanes */

static void start_part(struct world *w, struct slot *s)
{
	unsigned i = 0;
	struct job_run *r;

	while (w->waiting_worker[i] != s->worker)
		i++;
	r = w->waiting[i];
	w->nwaiting--;
	memmove(w->waiting + i, w->waiting + i + 1, (w->nwaiting - i) * sizeof(*w->waiting));
	memmove(w->waiting_worker + i, w->waiting_worker + i + 1, (w->nwaiting - i) * sizeof(*w->waiting_worker));
	slot_start(s, r);
}

static struct entry *read_entry(struct queued *e, int worker)
{
	const struct job job = { .kind = (enum job_kind)e->kind, .number = e->number };
	struct entry *ret = entry_new((struct entry_id){ e->row, e->id }, "", 0, &job);

	if (ret == NULL)
		abort();
	e->owner = (int8_t)worker;
	e->idle = false;
	return ret;
}

/* New entries, or those of others: of one kind, a batch by itself, rows and dead letters in groups. */
static void fetch(struct world *w, struct slot *s, bool take_over)
{
	unsigned at[BATCH_ROWS], n = 0;
	struct entry **entries;
	struct job_run *r;

	for (unsigned i = 0; i < w->redis.nstream && n < w->setup.batch_rows; i++) {
		struct queued *e = &w->redis.stream[i];

		if (take_over ? !may_take_over(w, e, s->worker) : e->owner >= 0)
			continue;
		if (n > 0 && (e->kind != w->redis.stream[at[0]].kind || e->kind == JOB_BATCH))
			continue;
		at[n++] = i;
	}
	if (n == 0)
		return; /* a step is only taken where there is one */
	if (n > 1 && choose(w, 2, "how many are taken") == 1)
		n = 1;
	entries = calloc(n, sizeof(*entries));
	if (entries == NULL)
		abort();
	for (unsigned i = 0; i < n; i++)
		entries[i] = read_entry(&w->redis.stream[at[i]], s->worker);
	r = job_run_new(NULL, entries[0]->job.kind, entries, n);
	if (r == NULL)
		abort();
	r->want_mark = take_over;
	tell(w, take_over ? "taken over" : "fetched");
	slot_start(s, r);
}

/* ------------------------------------------------------------ answers */

static void answer_tx(struct slot *s, const struct tx_answer *a)
{
	s->req = (struct request){ .asked = ASKED_NOTHING };
	if (a->class == PG_CLASS_CANCELLED)
		s->run->others_commit = choose(s->world, 2, "whether others commit") == 0;
	job_run_on_tx(s->run, a);
}

static void claim(struct world *w, struct slot *s)
{
	struct tx_answer a;

	if (ledger_claim(w, s->run, &s->req, &a))
		s->req.asked = BEGUN_TX;
	else
		answer_tx(s, &a);
}

static void commit(struct world *w, struct slot *s)
{
	struct tx_answer a;

	ledger_commit(w, s->run, &s->req, &a);
	answer_tx(s, &a);
}

/* It is not heard any more, and may go on for a while all the same. */
static void leave_orphan(struct world *w, unsigned slot, bool dead)
{
	struct slot *s = &w->slots[slot];

	if (w->norphans < ORPHANS_MAX)
		w->orphans[w->norphans++] = (struct orphan){
			.run = run_copy(s->run), .req = s->req, .worker = dead ? GONE : s->worker, .slot = (uint8_t)slot, .dead = dead
		};
}

static struct orphan take_orphan(struct world *w, unsigned i)
{
	struct orphan o = w->orphans[i];

	w->norphans--;
	memmove(w->orphans + i, w->orphans + i + 1, (w->norphans - i) * sizeof(*w->orphans));
	return o;
}

void orphan_drop(struct world *w, unsigned i)
{
	run_free(take_orphan(w, i).run);
}

static void orphan_goes(struct world *w, unsigned i)
{
	struct orphan o = take_orphan(w, i); /* it may be what ends others */
	struct tx_answer a;

	if (o.req.asked == ASKED_SETTLE) {
		redis_settle(w, o.run, &o.req, o.worker);
	} else if (o.req.asked == ASKED_TX && tx_has_claim(o.run, (enum tx_kind)o.req.tx)) {
		if (ledger_claim(w, o.run, &o.req, &a)) {
			o.req.asked = BEGUN_TX;
			w->orphans[w->norphans++] = o;
			return;
		}
	} else {
		ledger_commit(w, o.run, &o.req, &a);
	}
	run_free(o.run);
}

static void lose(struct world *w, unsigned slot)
{
	static const struct tx_answer lost = { .status = ST_DISCONNECTED, .class = PG_CLASS_OUTAGE, .phase = POLICY_COMMIT };
	struct slot *s = &w->slots[slot];
	bool redis = s->req.asked == ASKED_SETTLE;
	struct tx_answer a = lost;

	spend(w, redis ? FAULT_LINK_REDIS : FAULT_LINK_PG);
	leave_orphan(w, slot, false);
	s->req = (struct request){ .asked = ASKED_NOTHING };
	if (redis) {
		job_run_on_settled(s->run, ST_DISCONNECTED);
		return;
	}
	a.silent = goes_wrong(w, FAULT_SILENT);
	a.server_lived = a.silent && choose(w, 2, "whether the server as a whole lives") == 0;
	w->crash = (uint8_t)(w->crash + a.server_lived);
	if ((w->setup.broken & BROKEN_LOSS_IS_DONE) != 0)
		memset(&a, 0, sizeof(a));
	job_run_on_tx(s->run, &a);
}

static void lock_wait(struct world *w, struct slot *s)
{
	const struct tx_answer a = { .status = ST_SQL, .class = PG_CLASS_CONFLICT, .phase = POLICY_CLAIM, .sqlstate = "55P03" };

	spend(w, FAULT_LOCK_WAIT);
	answer_tx(s, &a);
}

static void settled(struct world *w, struct slot *s, int status)
{
	struct request req = s->req;

	if (status == 0)
		redis_settle(w, s->run, &req, s->worker);
	s->req = (struct request){ .asked = ASKED_NOTHING };
	job_run_on_settled(s->run, status);
}

static void time_is_up(struct slot *s)
{
	s->req = (struct request){ .asked = ASKED_NOTHING };
	job_run_on_time(s->run);
}

/* ------------------------------------------------------------ workers */

static void crash(struct world *w, int worker)
{
	spend(w, FAULT_CRASH);
	for (unsigned i = 0; i < w->nslots; i++) {
		struct slot *s = &w->slots[i];

		if (s->worker != worker || s->run == NULL)
			continue;
		if (s->req.asked == ASKED_TX || s->req.asked == BEGUN_TX || s->req.asked == ASKED_SETTLE)
			leave_orphan(w, i, true);
		s->req = (struct request){ .asked = ASKED_NOTHING };
		run_free(s->run);
		s->run = NULL;
	}
	for (unsigned i = 0; i < w->norphans; i++)
		if (w->orphans[i].worker == worker) {
			w->orphans[i].worker = GONE;
			w->orphans[i].dead = true;
		}
	for (unsigned i = 0; i < w->nwaiting;) {
		if (w->waiting_worker[i] != worker) {
			i++;
			continue;
		}
		run_free(w->waiting[i]);
		w->waiting[i] = w->waiting[--w->nwaiting];
		w->waiting_worker[i] = w->waiting_worker[w->nwaiting];
	}
	for (unsigned i = 0; i < w->redis.nstream; i++)
		if (w->redis.stream[i].owner == worker)
			w->redis.stream[i].owner = GONE;
	for (unsigned i = 0; i < w->snapshot.nstream; i++)
		if (w->snapshot.stream[i].owner == worker)
			w->snapshot.stream[i].owner = GONE;
}

/* Its leases run out, or are renewed: what another has taken over meanwhile is not taken back. */
static void lease(struct world *w, int worker, bool over)
{
	for (unsigned i = 0; i < w->redis.nstream; i++) {
		struct queued *e = &w->redis.stream[i];

		if (e->owner == worker && (over || is_held(w, worker, e->id)))
			e->idle = over;
	}
}

/* ------------------------------------------------------------ the others */

static void audit(struct world *w)
{
	struct queued job;
	unsigned at = 0, floor = 1;

	while (floor <= w->nbatches && w->batches[floor].state != BATCH_QUEUED && w->batches[floor].state != WINDOW_OPEN)
		floor++;
	w->floor = (uint8_t)((w->setup.broken & BROKEN_FLOOR) != 0 ? w->nbatches + 1 : floor);
	while (missing(w, &at, &job)) {
		redis_push(w, job);
		tell(w, "the audit pushes it");
	}
}

static bool bit(const uint8_t *bits, unsigned i)
{
	return (bits[i / 8] & 1u << i % 8) != 0;
}

static void walk_one(struct world *w, const struct queued *job)
{
	uint8_t *bits = job->kind == JOB_BATCH ? w->seen.batches : job->kind == JOB_FAILED ? w->seen.failed : w->seen.rows;
	unsigned i = job->kind == JOB_ROW ? job->row : job->number;

	bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << i % 8);
}

static void walk(struct world *w)
{
	memset(&w->seen, 0, sizeof(w->seen));
	w->seen.walked = true;
	for (unsigned i = 0; i < w->redis.nstream; i++)
		walk_one(w, &w->redis.stream[i]);
	for (unsigned i = 0; i < w->redis.ndelayed; i++)
		walk_one(w, &w->redis.delayed[i]);
}

/* It pushes by what it saw on its walk, which may be long ago. */
static void late_audit(struct world *w)
{
	const struct redis now = w->redis;
	struct queued jobs[BATCHES_MAX + ROWS_MAX];
	unsigned n = 0, at = 0;

	w->redis.nstream = w->redis.ndelayed = 0;
	while (n < ROWS_MAX && missing(w, &at, &jobs[n]))
		n++;
	w->redis = now;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *bits = jobs[i].kind == JOB_BATCH  ? w->seen.batches :
				      jobs[i].kind == JOB_FAILED ? w->seen.failed :
								   w->seen.rows;

		if (!bit(bits, jobs[i].kind == JOB_ROW ? jobs[i].row : jobs[i].number))
			redis_push(w, jobs[i]);
	}
	memset(&w->seen, 0, sizeof(w->seen));
}

static void forget(struct world *w, unsigned i)
{
	struct redis *r = &w->redis;
	struct queued *v = i < r->nstream ? r->stream : r->delayed;
	unsigned *n = i < r->nstream ? &r->nstream : &r->ndelayed, at = i < r->nstream ? i : i - r->nstream;

	spend(w, FAULT_FORGET);
	memmove(v + at, v + at + 1, (*n - at - 1) * sizeof(*v));
	(*n)--;
}

static void due(struct world *w, unsigned i)
{
	struct queued job = w->redis.delayed[i];

	memmove(w->redis.delayed + i, w->redis.delayed + i + 1, (w->redis.ndelayed - i - 1) * sizeof(job));
	w->redis.ndelayed--;
	redis_push(w, job);
	tell(w, "it is due");
}

/* The next chunk of rows is found, or of dead letters queued: committed, and pushed after it. */
static void find(struct world *w)
{
	uint8_t rows[BATCH_ROWS] = { 0 };
	unsigned n = 0, number;

	while (w->found < w->setup.rows && n < w->setup.batch_rows)
		rows[n++] = w->found++;
	w->push_from = (uint8_t)(w->found - n);
	w->push_to = w->found;
	if (w->setup.replay) {
		for (unsigned i = 0; i < n; i++)
			w->failed[w->rows[rows[i]].failed].state = FAILED_QUEUED;
		tell(w, "dead letters are queued");
		return;
	}
	number = ledger_add_batch(w, rows, n, w->setup.row_mode ? WINDOW_OPEN : BATCH_QUEUED);
	for (unsigned i = 0; i < n; i++)
		w->rows[rows[i]].window = (uint8_t)number;
	if (!w->setup.row_mode)
		w->push_from = (uint8_t)(w->push_to - 1);
	tell(w, "a window is found");
}

static void push_one(struct world *w)
{
	unsigned row = w->push_from++;
	struct queued job = { .kind = JOB_BATCH, .number = w->rows[row].window };

	if (w->setup.replay)
		job = (struct queued){ .kind = JOB_FAILED, .number = w->rows[row].failed };
	else if (w->setup.row_mode)
		job = (struct queued){ .kind = JOB_ROW, .number = w->rows[row].window, .row = (uint8_t)row };
	redis_push(w, job);
}

static void prune(struct world *w, unsigned window)
{
	for (unsigned i = 0; i < w->batches[window].n; i++)
		w->rows[w->batches[window].rows[i]].receipt = false;
}

static void elsewhere(struct world *w, struct step s)
{
	switch (s.kind) {
	case STEP_FLUSH:
		spend(w, FAULT_FLUSH);
		w->redis.nstream = w->redis.ndelayed = 0;
		break;
	case STEP_FORGET:
		forget(w, s.which);
		break;
	case STEP_SAVE: /* nothing wrong with that; it counts when it comes back */
		w->saved = true;
		w->snapshot = w->redis;
		break;
	case STEP_RESTORE:
		spend(w, FAULT_SAVED);
		w->saved = false;
		w->redis = w->snapshot;
		memset(&w->snapshot, 0, sizeof(w->snapshot));
		break;
	case STEP_PAUSE:
		spend(w, FAULT_PAUSE);
		w->paused = true;
		break;
	case STEP_RESUME:
		w->paused = false;
		break;
	case STEP_UNLOCK:
		w->rows[s.which].locked = false;
		break;
	case STEP_MEND:
		w->rows[s.which].poison = false;
		break;
	case STEP_FIND:
		find(w);
		break;
	case STEP_PUSH:
		push_one(w);
		break;
	case STEP_PRODUCER_DIES:
		spend(w, FAULT_PRODUCER);
		w->push_from = w->push_to;
		break;
	case STEP_CLOSE:
		w->batches[s.which].state = WINDOW_CLOSED;
		break;
	default:
		prune(w, s.which);
		break;
	}
}

void world_do(struct world *w, struct step s)
{
	struct slot *slot = &w->slots[s.which < w->nslots ? s.which : 0];

	w->faulty = false;
	switch (s.kind) {
	case STEP_START:
		start_part(w, slot);
		break;
	case STEP_FETCH:
	case STEP_TAKE_OVER:
		fetch(w, slot, s.kind == STEP_TAKE_OVER);
		break;
	case STEP_CLAIM:
		claim(w, slot);
		break;
	case STEP_COMMIT:
		commit(w, slot);
		break;
	case STEP_SETTLE:
		settled(w, slot, 0);
		break;
	case STEP_FULL:
		spend(w, FAULT_FULL);
		settled(w, slot, ST_REDIS);
		break;
	case STEP_TIME:
	case STEP_ALONE:
		time_is_up(slot);
		break;
	case STEP_LOSE:
		lose(w, s.which);
		break;
	case STEP_LOCK_WAIT:
		lock_wait(w, slot);
		break;
	case STEP_DRAIN:
		spend(w, FAULT_DRAIN);
		job_run_drain(slot->run);
		break;
	case STEP_ORPHAN_GOES:
		orphan_goes(w, s.which);
		break;
	case STEP_ORPHAN_DIES:
		orphan_drop(w, s.which);
		break;
	case STEP_CRASH:
		crash(w, s.which);
		break;
	case STEP_LEASE:
		spend(w, FAULT_LEASE);
		lease(w, s.which, true);
		break;
	case STEP_RENEW:
		lease(w, s.which, false);
		break;
	case STEP_DUE:
		due(w, s.which);
		break;
	case STEP_AUDIT:
		audit(w);
		break;
	case STEP_WALK:
		spend(w, FAULT_LATE_AUDIT);
		walk(w);
		break;
	case STEP_LATE_AUDIT:
		late_audit(w);
		break;
	default:
		elsewhere(w, s);
		break;
	}
}
