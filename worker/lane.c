/*
 * lane.c - one PostgreSQL connection of a worker and the job on it: the real ports of a run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <utlist.h>

#include "core/log.h"
#include "job/backoff.h"
#include "worker/worker_private.h"

#define DEADLOCKS_MAX 3    /* in ... */
#define DEADLOCKS_MS 10000 /* ... until the migration gets one lane ... */
#define ONE_LANE_MS 60000  /* ... for so long */
#define LAST_WORDS_MS 500  /* until a crash has ended all backends */

static struct lane *lane_of(struct ports *p)
{
	return container_of(p, struct lane, ports);
}

/* ------------------------------------------------------------ transactions */

/* Deadlocks with the application happen; deadlocks between our own lanes, again and again, end with one lane. */
static void count_deadlock(struct lane *l)
{
	struct mig *m = l->run->mig;
	uint64_t now = worker_now();

	if (now - m->deadlock_ms > DEADLOCKS_MS) {
		m->deadlock_ms = now;
		m->deadlocks = 0;
	}
	if (++m->deadlocks < DEADLOCKS_MAX || now < m->one_lane_until_ms)
		return;
	m->one_lane_until_ms = now + ONE_LANE_MS;
	log_warn("migration.one_lane", "migration=%s deadlocks=%" PRIu64 " for_ms=%d", m->name, m->deadlocks, ONE_LANE_MS);
}

static void count_failure(struct lane *l, const struct tx_answer *a)
{
	if (a->status == ST_CLOSING)
		return;
	l->failed = true;
	counts_code(l->worker->counts.errors, a->sqlstate);
}

/* What failed is tried again, here or later. */
static void count_retry(struct lane *l)
{
	if (l->failed)
		counts_code(l->worker->counts.retries, l->run->sqlstate);
	l->failed = false;
}

static const struct {
	enum failpoint before, before_commit, sent, done;
} points[TX_NR] = {
	[TX_WORK] = { FAILPOINT_worker_before_claim, FAILPOINT_worker_before_commit, FAILPOINT_worker_commit_sent,
		      FAILPOINT_worker_committed },
	[TX_MARK] = { FAILPOINT_worker_before_mark, FAILPOINT_none, FAILPOINT_worker_mark_sent, FAILPOINT_worker_marked },
	[TX_NOTE] = { .before = FAILPOINT_worker_before_note, .done = FAILPOINT_worker_noted },
	[TX_SPLIT] = { FAILPOINT_worker_before_split, FAILPOINT_worker_split_before_commit, FAILPOINT_worker_split_sent,
		       FAILPOINT_worker_split_done },
	[TX_BURY] = { FAILPOINT_worker_before_bury, FAILPOINT_worker_bury_before_commit, FAILPOINT_worker_bury_sent,
		      FAILPOINT_worker_buried },
	[TX_BREAKER] = { .done = FAILPOINT_worker_breaker_asked },
	[TX_RETRY] = { FAILPOINT_worker_before_retry, FAILPOINT_none, FAILPOINT_worker_retry_sent, FAILPOINT_worker_retrying },
	[TX_UNMARK] = { FAILPOINT_worker_before_unmark, FAILPOINT_none, FAILPOINT_worker_unmark_sent, FAILPOINT_worker_unmarked },
	[TX_PAUSE] = { .before = FAILPOINT_worker_before_pause, .done = FAILPOINT_worker_pause_done },
};

/*
 * A connection was lost without a word while the migration's own SQL ran. Whether the server crashed is told by the server itself, when it
 * is back: it begins its statistics anew then. Where it did not, the network or a pooler went away, and the job has nothing to do with it.
 * For a moment after one backend's death the others still answer, as if nothing had happened.
 */
static void weigh_loss(struct lane *l)
{
	const struct control *c = &l->worker->control;
	bool crashed = c->answered_ms > l->lost_ms && c->recovered != l->recovered;

	if (!crashed && c->answered_ms <= l->lost_ms + LAST_WORDS_MS && !l->run->draining) {
		loop_timer_start(l->timer, JOB_RETRY_LINK_MS);
		return;
	}
	l->weighing = false;
	l->loss.silent = crashed;
	l->loss.server_lived = crashed && c->booted == l->booted;
	job_run_on_tx(l->run, &l->loss);
}

static void note_work(struct lane *l, const struct tx_answer *a)
{
	const struct job_run *r = l->run;
	uint64_t rows = r->n;

	r->mig->commits++;
	r->mig->committed_ms = worker_now();
	l->changed = a->changed > 0 ? (uint64_t)a->changed : 0;
	if (r->kind == JOB_BATCH || r->kind == JOB_LIST) {
		/* At the end of one done in parts, what the ledger has left may be too many by the rows that were skipped. */
		bool whole = !a->more && r->slice_rows == 0 && r->turn == 0;

		rows = whole ? a->claimed_rows : a->did;
		if (rows < r->slice_rows / 2)
			rows = 0; /* it went over rows that others had done, which says nothing of what a row takes */
	}
	if (r->kind != JOB_FAILED)
		pace_note(&r->mig->pace, rows, l->worked_us);
	mig_note_pauses(r->mig, r->pieces, a->paused_us < l->took_us ? a->paused_us : 0);
}

/* Of a slice the server tells, so that a long way to it is not taken for work. Its clock may jump. */
static uint64_t worked_us(const struct lane *l, const struct tx_answer *a)
{
	return l->run->slice_rows > 0 && a->worked_us > 0 && a->worked_us < l->took_us ? a->worked_us : l->took_us;
}

static void on_op(struct pg_op *op)
{
	struct lane *l = container_of(op, struct lane, op);
	struct job_run *r = l->run;
	struct tx_answer a;

	tx_read(&l->tx, r, op, &a);
	if (a.status == 0)
		FAILPOINT_AT(points[l->tx.kind].done);
	else if (l->tx.kind == TX_WORK && a.status == ST_SQL)
		FAILPOINT(worker_failed);
	if (a.status == ST_SQL && a.class == PG_CLASS_OUTAGE && strcmp(a.sqlstate, "57P03") != 0) /* which is drover.enter()'s: wait */
		l->wants_renew = true;
	if (a.status == ST_SQL && strcmp(a.sqlstate, "40P01") == 0)
		count_deadlock(l);
	if (l->tx.kind == TX_WORK) {
		l->took_us = worker_now_us() - l->sent_us;
		l->worked_us = worked_us(l, &a);
		l->changed = 0;
		if (a.status == 0)
			note_work(l, &a);
		else
			count_failure(l, &a);
	}
	r->others_commit = r->mig->commits != l->commits_before;
	if (a.silent) {
		l->loss = a; /* its texts are the transaction's, until the next */
		l->lost_ms = worker_now();
		l->weighing = true;
		weigh_loss(l);
		return;
	}
	job_run_on_tx(r, &a);
}

static int lane_transact(struct ports *p, struct job_run *r, enum tx_kind kind)
{
	struct lane *l = lane_of(p);

	if (l->wants_renew)
		pg_link_renew(l->link, "given up: the server became read-only");
	r->slice_rows = r->pieces = 0;
	if (!pg_link_up(l->link) || r->mig->plan == NULL)
		return ST_DISCONNECTED;
	if (kind == TX_WORK)
		r->slice_rows = mig_slice_rows(r->mig, r->kind, &r->pieces);
	if (tx_build(&l->tx, kind, r, &l->who) != 0)
		return ST_DISCONNECTED;
	if (kind == TX_WORK) {
		l->commits_before = r->mig->commits;
		l->sent_us = worker_now_us();
		l->outcome = COUNTS_UNDECIDED;
		count_retry(l);
		l->worked = true;
	}
	l->recovered = l->worker->control.recovered;
	l->booted = l->worker->control.booted;
	l->op.cb = on_op;
	l->op.scope = r->mig->plan->scope;
	l->op.apart_ms = THROTTLE_HELD_MS * 3 / 2;
	l->op.before_last = points[kind].before_commit;
	l->op.sent = points[kind].sent;
	FAILPOINT_AT(points[kind].before);
	return pg_link_run(l->link, &l->op, l->tx.steps, l->tx.n, l->tx.deadline_ms);
}

static void lane_interrupt(struct ports *p, struct job_run *r)
{
	(void)r;
	pg_link_cancel(lane_of(p)->link);
}

/* ------------------------------------------------------------ the other ports */

static void on_settled(void *arg, int status)
{
	struct lane *l = arg;

	job_run_on_settled(l->run, status);
}

static int lane_settle(struct ports *p, struct job_run *r, enum settle_kind kind)
{
	struct lane *l = lane_of(p);

	l->settled_as = kind;
	return settle_send(l->worker, r, kind, on_settled, l);
}

static void lane_wait(struct ports *p, struct job_run *r, uint64_t ms)
{
	(void)r;
	loop_timer_start(lane_of(p)->timer, ms);
}

/*
 * What a lane rests after a transaction, whatever came of it: as set, in proportion to what it took while the fleet gives way, or as long as it takes until the rows
 * changed are within its part of the rate that the fleet may have.
 */
static uint64_t rest_ms(const struct lane *l, const struct mig *m)
{
	const struct settings *s = &m->settings;
	const struct worker *w = l->worker;
	uint64_t alive = m->alive > 0 ? m->alive : 1, took = l->took_us / 1000, due;
	uint64_t least = (l->worked_us * mig_response(m)->rest + 999) / 1000;

	if (least > THROTTLE_REST_MAX_MS)
		least = THROTTLE_REST_MAX_MS;
	if (s->processing_interval_ms > least)
		least = s->processing_interval_ms;
	if (s->max_rows_per_s == 0 || l->changed == 0)
		return least;
	due = l->changed * 1000 * alive * worker_lanes_for(w, m) / s->max_rows_per_s;
	due = due > took ? due - took : 0;
	return due > least ? due : least;
}

static uint64_t lane_rest(struct ports *p, struct job_run *r)
{
	const struct lane *l = lane_of(p);

	return worker_may_run(l->worker, r->mig) && r->mig->busy <= worker_lanes_for(l->worker, r->mig) ? rest_ms(l, r->mig) : JOB_YIELD;
}

static void lane_hold(struct ports *p, struct job_run *r)
{
	struct lane *l = lane_of(p);

	(void)r;
	l->holding = true;
	worker_pump(l->worker);
}

void lane_allow_alone(struct worker *w)
{
	struct lane *next = NULL;

	for (unsigned i = 0; i < w->nlanes; i++) {
		struct lane *l = &w->lanes[i];

		if (l->run != NULL && !l->holding && !l->finishing)
			return;
		if (l->holding && next == NULL)
			next = l;
	}
	if (next == NULL)
		return;
	next->holding = false;
	job_run_on_time(next->run);
}

static void lane_divide(struct ports *p, struct job_run *r)
{
	(void)p;
	mig_divide(r->mig, r);
}

static uint64_t lane_backoff(struct ports *p, struct job_run *r, unsigned attempt)
{
	const struct settings_durations *d = &r->mig->settings.backoff;

	return backoff_list_ms(d->ms, d->n, attempt, &lane_of(p)->worker->rng);
}

static void lane_reload(struct ports *p, struct job_run *r)
{
	r->mig->stale = true;
	control_urge(lane_of(p)->worker);
}

static void count_event(struct lane *l, const struct job_run *r, const char *event)
{
	static const struct {
		const char *event;
		enum counts_outcome outcome;
	} known[] = { { "buried", COUNTS_DEAD }, { "retry", COUNTS_RETRIED }, { "split", COUNTS_SPLIT }, { "dropped", COUNTS_DROPPED } };
	struct counts_mig *c = r->mig->counts;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i].event, event) == 0)
			l->outcome = known[i].outcome;
	if (strcmp(event, "split") == 0)
		l->failed = false; /* its parts are not the same once more */
	if (c == NULL)
		return;
	if (strcmp(event, "buried") == 0)
		c->rows_dead++;
	else if (strcmp(event, "split") == 0 && (r->kind == JOB_BATCH || r->kind == JOB_LIST))
		c->jobs[COUNTS_SPLIT]++; /* the run may go on with one of the parts */
}

static void lane_say(struct ports *p, struct job_run *r, const char *event, const char *why, const struct tx_answer *a)
{
	count_event(lane_of(p), r, event);
	report_job(lane_of(p)->worker, lane_of(p), event, why, a);
}

/* The run has ended: what became of its jobs? Rows that were divided among other runs are none of it any more. */
static void count_jobs(struct lane *l, const struct job_run *r)
{
	static const enum counts_outcome by_settling[SETTLE_NR] = {
		[SETTLE_ACK] = COUNTS_SETTLED,   [SETTLE_PARTS] = COUNTS_SPLIT,   [SETTLE_RETRY] = COUNTS_RETRIED,
		[SETTLE_DELAY] = COUNTS_DELAYED, [SETTLE_BACK] = COUNTS_RELEASED,
	};
	enum counts_outcome outcome = l->outcome != COUNTS_UNDECIDED ? l->outcome : by_settling[l->settled_as];
	struct counts_mig *c = r->mig->counts;

	metrics_observe(&l->worker->counts.duration, (double)(uv_hrtime() - l->started_ns) / 1e9);
	if (outcome == COUNTS_RETRIED || outcome == COUNTS_DELAYED)
		count_retry(l);
	if (c == NULL || (outcome == COUNTS_SPLIT && !r->settled_work))
		return; /* a split was counted when it was done */
	c->jobs[r->settled_work ? COUNTS_DONE : outcome] += r->n;
	c->rows_changed += (uint64_t)(r->changed > 0 ? r->changed : 0);
}

/* The run is done; it is freed in the next turn of the loop, when nobody up the stack knows it any more. */
static void lane_done(struct ports *p, struct job_run *r)
{
	struct lane *l = lane_of(p);

	if (r->settled_work)
		l->worker->jobs_done += r->n;
	l->worker->rows_done += (uint64_t)(r->changed > 0 ? r->changed : 0);
	count_jobs(l, r);
	l->finishing = true;
	loop_timer_start(l->timer, 0);
}

static void finish(struct lane *l)
{
	struct job_run *r = l->run;
	struct mig *m = r->mig;
	uint64_t interval = l->worked ? rest_ms(l, m) : 0;

	for (size_t i = 0; i < r->n; i++)
		mig_unhold(m, r->entries[i]);
	m->busy--;
	l->run = NULL;
	l->finishing = false;
	l->pausing = interval > 0;
	job_run_free(r);
	if (l->pausing)
		loop_timer_start(l->timer, interval);
	worker_pump(l->worker);
}

void lane_wake(struct lane *l)
{
	if (l->pausing || (l->run != NULL && l->run->resting))
		loop_timer_start(l->timer, 0);
}

static void on_timer(void *arg)
{
	struct lane *l = arg;

	if (l->finishing) {
		finish(l);
	} else if (l->pausing) {
		l->pausing = false;
		worker_pump(l->worker);
	} else if (l->weighing) {
		weigh_loss(l);
	} else if (l->run != NULL) {
		job_run_on_time(l->run);
	}
}

/* ------------------------------------------------------------ life */

static void on_state(void *arg, struct pg_link *link, bool up, const struct err *why)
{
	struct lane *l = arg;

	(void)link;
	l->wants_renew = false; /* that was of the connection before */
	report_server(l->worker, &l->worker->postgres, up, why);
	if (up)
		worker_pump(l->worker);
}

int lane_init(struct lane *l, struct worker *w, unsigned index, struct err *err)
{
	l->worker = w;
	l->index = index;
	l->ports = (struct ports){ lane_transact, lane_interrupt, lane_settle, lane_wait, lane_rest, lane_hold,
				   lane_divide,   lane_backoff,   lane_reload, lane_done, lane_say };
	tx_init(&l->tx);
	l->timer = loop_timer_new(&w->loop, on_timer, l);
	if (l->timer == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	return pg_link_new(&l->link, &w->loop, w->options->database_url, "drover-worker", on_state, l, err);
}

void lane_close(struct lane *l)
{
	pg_link_free(l->link);
	loop_timer_free(l->timer);
	job_run_free(l->run);
	tx_close(&l->tx);
	memset(l, 0, sizeof(*l));
}

bool lane_free(const struct lane *l)
{
	return l->run == NULL && !l->pausing && pg_link_up(l->link);
}

bool lane_waits_since(const struct lane *l, uint64_t when_ms)
{
	return pg_link_busy(l->link) && l->op.sent_ms < when_ms;
}

void lane_give_up(struct lane *l)
{
	log_warn("lane.silent", "lane=%s waited_ms=%" PRIu64 " cause='the server is not at work for it: the answer was lost'", l->name,
		 worker_now() - l->op.sent_ms);
	pg_link_give_up(l->link);
}

void lane_renew(struct lane *l, uint64_t since_ms)
{
	if (!pg_link_busy(l->link) && pg_link_up_since(l->link) < since_ms && l->op.sent_ms < since_ms)
		pg_link_renew(l->link, "given up: another connection to the server was lost without a word");
}

void lane_start(struct lane *l, struct job_run *r)
{
	struct mig *m = r->mig;

	snprintf(l->name, sizeof(l->name), "%s/%u", l->worker->name, l->index + 1);
	snprintf(l->application, sizeof(l->application), "drover %s", l->name);
	l->who = (struct tx_who){ .worker = l->worker->name,
				  .token = l->worker->token,
				  .lane = l->name,
				  .application = l->application,
				  .lease_ms = l->worker->options->lease_ms };
	r->limits = (struct policy_limits){ .tries = (unsigned)m->settings.tries,
					    .conflict_budget_ms = m->settings.conflict_budget_s * 1000 };
	r->over = m->state == MIG_OVER;
	r->breaker_off = !m->settings.breaker.on;
	r->serial = ++l->worker->runs;
	l->run = r;
	l->worked = false;
	l->started_ms = worker_now();
	l->started_ns = uv_hrtime();
	l->outcome = COUNTS_UNDECIDED;
	l->settled_as = SETTLE_ACK;
	l->failed = false;
	m->busy++;
	job_run_start(r, &l->ports);
}
