/*
 * job_run.c - what happens in each state of a job's life, but for the judging (job_judge.c). All effects go through ports.h.
 */
#include "worker/job_run_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job_run *job_run_new(struct mig *mig, enum job_kind kind, struct entry **entries, size_t n)
{
	struct job_run *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->mig = mig;
	r->kind = kind;
	r->entries = entries;
	r->n = n;
	r->state = JOB_TAKEN;
	r->settle = SETTLE_ACK;
	return r;
}

static void forget_failure(struct job_run *r)
{
	free(r->message);
	free(r->statement);
	free(r->error);
	r->message = r->statement = r->error = NULL;
	r->sqlstate[0] = '\0';
}

void job_run_free(struct job_run *r)
{
	if (r == NULL)
		return;
	forget_failure(r);
	free(r->entries);
	free(r);
}

void job_run_start(struct job_run *r, struct ports *ports)
{
	r->ports = ports;
	job_move(r, job_enter_taken(r));
}

bool job_is_batch(const struct job_run *r)
{
	return r->kind == JOB_BATCH || r->kind == JOB_LIST;
}

void job_say(struct job_run *r, const char *event, const char *why, const struct tx_answer *a)
{
	r->ports->say(r->ports, r, event, why, a);
}

/* ------------------------------------------------------------ waiting */

/* Come back to @then after a while; a worker that ends does not wait. */
enum job_state job_wait_then(struct job_run *r, uint64_t ms, enum job_state then)
{
	r->wait_ms = ms;
	r->then = then;
	return JOB_WAITING;
}

enum job_state job_enter_waiting(struct job_run *r)
{
	bool settling = r->then == JOB_ACKING || r->then == JOB_DELAYING || r->then == JOB_RELEASING;

	if (r->draining && !settling)
		return JOB_RELEASING;
	r->ports->wait(r->ports, r, r->wait_ms);
	return JOB_STAY;
}

/* Alone on this worker, then @then. */
enum job_state job_hold_then(struct job_run *r, enum job_state then)
{
	r->alone = true;
	r->then = then;
	return JOB_HOLDING;
}

enum job_state job_enter_hold(struct job_run *r)
{
	if (r->draining)
		return JOB_RELEASING;
	r->ports->hold(r->ports, r);
	return JOB_STAY;
}

void job_run_on_time(struct job_run *r)
{
	bool settling = r->then == JOB_ACKING || r->then == JOB_DELAYING || r->then == JOB_RELEASING;

	r->resting = false;
	job_move(r, r->draining && !settling ? JOB_RELEASING : r->then);
}

void job_run_drain(struct job_run *r)
{
	r->draining = true; /* whatever it waits for answers soon, and finds this */
}

void job_run_stop(struct job_run *r)
{
	r->stopping = true;
	r->ports->interrupt(r->ports, r);
}

/* ------------------------------------------------------------ transactions */

enum job_state job_enter_taken(struct job_run *r)
{
	/* Part of a group of dead letters under which the server crashed: one by one. */
	if (r->kind == JOB_FAILED && r->n > 1 && r->losses > 0)
		return JOB_SPLITTING;
	if (r->want_mark && r->kind != JOB_ROW)
		return JOB_MARKING;
	return r->alone ? job_hold_then(r, JOB_RUNNING) : JOB_RUNNING;
}

static enum tx_kind tx_of(enum job_state s)
{
	switch (s) {
	case JOB_MARKING:
		return TX_MARK;
	case JOB_PROBING:
		return TX_PROBE;
	case JOB_NOTING:
		return TX_NOTE;
	case JOB_UNBLOCKING:
		return TX_UNBLOCK;
	case JOB_SPLITTING:
		return TX_SPLIT;
	case JOB_BURYING:
		return TX_BURY;
	case JOB_BREAKING:
		return TX_BREAKER;
	case JOB_RETRYING:
		return TX_RETRY;
	case JOB_PAUSING:
		return TX_PAUSE;
	default:
		return TX_WORK;
	}
}

enum job_state job_enter_tx(struct job_run *r)
{
	r->tx = tx_of(r->state);
	r->mark_left = r->mark_left || r->tx == TX_MARK;
	if (r->ports->transact(r->ports, r, r->tx) == 0)
		return JOB_STAY;
	return job_wait_then(r, JOB_RETRY_LINK_MS, r->state);
}

/* ------------------------------------------------------------ marks that are taken back */

/* Not a death under this job: whatever is done with it next. */
enum job_state job_unmark_then(struct job_run *r, enum job_state leave)
{
	r->leave = leave;
	return JOB_UNMARKING;
}

static void forget_mark(struct job_run *r)
{
	r->marked = r->mark_left = false;
}

static enum job_state leave(struct job_run *r)
{
	forget_mark(r);
	r->side_tries = 0;
	return r->leave;
}

enum job_state job_enter_unmarking(struct job_run *r)
{
	r->tx = TX_UNMARK;
	if (r->ports->transact(r->ports, r, TX_UNMARK) == 0)
		return JOB_STAY;
	return r->draining ? leave(r) : job_wait_then(r, JOB_RETRY_LINK_MS, JOB_UNMARKING);
}

static enum job_state unmarked(struct job_run *r, const struct tx_answer *a)
{
	if (a->status == 0)
		return leave(r);
	if (a->status != ST_SQL || a->class == PG_CLASS_OUTAGE)
		return r->draining ? leave(r) : job_wait_then(r, JOB_RETRY_LINK_MS, JOB_UNMARKING);
	if (++r->side_tries < JOB_SIDE_TRIES) /* somebody else holds its ledger row */
		return job_wait_then(r, JOB_RETRY_LINK_MS * r->side_tries, JOB_UNMARKING);
	job_say(r, "side-failed", job_state_name(r->state), a);
	return leave(r);
}

/* ------------------------------------------------------------ failures beside the work */

/* What a failed side transaction said takes the place of what brought us there only when it decides. */
static void keep_failure(struct job_run *r, const struct tx_answer *a)
{
	forget_failure(r);
	snprintf(r->sqlstate, sizeof(r->sqlstate), "%s", a->sqlstate);
	r->message = a->message != NULL ? strdup(a->message) : NULL;
	r->statement = a->statement != NULL ? strdup(a->statement) : NULL;
	r->error = a->error != NULL ? strdup(a->error) : NULL;
}

/* What a dead letter says where no error of PostgreSQL's does. */
void job_blame(struct job_run *r, const char *error)
{
	forget_failure(r);
	r->error = strdup(error);
}

static enum job_state side_again(struct job_run *r)
{
	if (++r->side_tries < JOB_SIDE_TRIES)
		return job_wait_then(r, JOB_RETRY_LINK_MS * r->side_tries, r->state);
	r->side_tries = 0;
	r->delay_ms = r->ports->backoff(r->ports, r, 2);
	return JOB_DELAYING;
}

/* The predicate is the migration's own, and may crash the server as well as its script may. */
static enum job_state side_crashed(struct job_run *r, const struct tx_answer *a)
{
	r->facts = (struct policy_facts){ .replay = r->kind == JOB_FAILED,
					  .over = r->over,
					  .class = PG_CLASS_OUTAGE,
					  .phase = a->phase,
					  .silent = true,
					  .server_lived = a->server_lived };
	if (r->state == JOB_BURYING && r->verdict.crashes)
		return JOB_PAUSING; /* not even its dead letter can be written */
	keep_failure(r, a);
	return JOB_JUDGING;
}

/* A transaction beside the work failed. */
static enum job_state side_failed(struct job_run *r, const struct tx_answer *a)
{
	bool claim = a->phase == POLICY_CLAIM;

	if (a->silent && (r->state == JOB_SPLITTING || r->state == JOB_BURYING || r->state == JOB_PROBING))
		return side_crashed(r, a);
	if (a->status != ST_SQL || a->class == PG_CLASS_OUTAGE)
		return job_wait_then(r, JOB_RETRY_LINK_MS, r->state);
	if (a->interrupted || (claim && a->class == PG_CLASS_STOPPED))
		return a->finished ? JOB_ACKING : JOB_RELEASING;
	if (claim && (a->class == PG_CLASS_DONE || a->class == PG_CLASS_NO_JOB))
		return JOB_ACKING;
	if (claim && a->class == PG_CLASS_REVISION)
		r->ports->reload(r->ports, r);
	if (a->class == PG_CLASS_CONFLICT || a->class == PG_CLASS_CANCELLED || a->class == PG_CLASS_STALE ||
	    (claim && a->class == PG_CLASS_REVISION))
		return side_again(r);
	job_say(r, "side-failed", job_state_name(r->state), a);
	keep_failure(r, a);
	r->verdict.why = "what should become of a failed job cannot be done";
	if (r->over)
		return side_again(r);
	return JOB_PAUSING;
}

/*
 * What the claim said of a batch saves a transaction: a row's own error that leads to a split or a dead letter, whatever the ledger would
 * answer, is noted in the transaction that does it.
 */
static void take_claims_word(struct job_run *r, const struct tx_answer *a)
{
	struct policy_facts *f = &r->facts;

	r->note_due = a->claimed_rows > 0 && (f->class == PG_CLASS_DATA || f->class == PG_CLASS_SUSPECT) &&
		      (a->claimed_rows > 1 || a->failures + 1 >= r->limits.tries);
	if (!r->note_due)
		return;
	f->noted = true;
	f->rows = a->claimed_rows;
	f->attempts = a->failures + 1;
}

/* Between two transactions of the migration's that are the same run's. */
static enum job_state rest_then_run(struct job_run *r, uint64_t ms)
{
	r->resting = !r->draining;
	return job_wait_then(r, ms, JOB_RUNNING);
}

/* A slice of the batch is done, and its ledger row begins where the next one does. */
static enum job_state next_slice(struct job_run *r)
{
	uint64_t ms = r->ports->rest(r->ports, r);

	forget_failure(r);
	r->again = r->side_tries = 0;
	r->turn = r->slice_rows > 0 ? 0 : r->turn + 1;
	return ms == JOB_YIELD || r->stopping ? JOB_RELEASING : rest_then_run(r, ms);
}

static enum job_state work_answered(struct job_run *r, const struct tx_answer *a)
{
	struct policy_facts *f = &r->facts;

	*f = (struct policy_facts){ .replay = r->kind == JOB_FAILED, .over = r->over, .again = r->again, .probe = r->probe };
	if (a->status == 0) {
		r->changed += a->changed;
		if (a->more)
			return next_slice(r);
		r->settled_work = true;
		forget_failure(r);
		return JOB_JUDGING;
	}
	f->class = a->status == ST_SQL ? a->class : PG_CLASS_OUTAGE;
	f->phase = a->phase;
	f->silent = a->silent;
	f->server_lived = a->server_lived;
	f->ours = a->ours;
	f->interrupted = a->interrupted;
	f->finished = a->finished;
	f->others_commit = r->others_commit;
	keep_failure(r, a);
	take_claims_word(r, a);
	return JOB_JUDGING;
}

static enum job_state marked(struct job_run *r, const struct tx_answer *a)
{
	unsigned rows = job_is_batch(r) ? a->rows : (unsigned)r->n;

	if (a->settled)
		return JOB_ACKING;
	r->marked = true;
	switch (policy_start(a->starts, rows)) {
	case POLICY_START_RUN:
		return JOB_RUNNING;
	case POLICY_START_ALONE:
		return job_hold_then(r, JOB_RUNNING);
	case POLICY_START_SPLIT:
		return job_hold_then(r, JOB_SPLITTING);
	default:
		job_blame(r, "{\"message\": \"worker lost: workers died again and again while they ran this row\"}");
		return JOB_BURYING;
	}
}

static enum job_state probed(struct job_run *r, const struct tx_answer *a)
{
	bool too_long = a->status == ST_SQL && a->phase == POLICY_TRANSFORM && a->class == PG_CLASS_CANCELLED && a->ours && !a->interrupted;
	bool elsewhere = a->status != 0 && (a->status != ST_SQL || a->phase != POLICY_TRANSFORM || a->class == PG_CLASS_OUTAGE ||
					    a->class == PG_CLASS_CONFLICT || a->class == PG_CLASS_CANCELLED || a->class == PG_CLASS_STALE);

	/* Once or twice the server may be slow. */
	if (elsewhere && (!too_long || ++r->probe_timeouts < JOB_SIDE_TRIES))
		return side_failed(r, a);
	r->probe = r->facts.probe = a->status == 0 ? POLICY_PROBE_FINE : POLICY_PROBE_RAISED;
	return JOB_JUDGING;
}

static enum job_state noted(struct job_run *r, const struct tx_answer *a)
{
	struct policy_facts *f = &r->facts;

	if (a->status != 0)
		return side_failed(r, a);
	if (job_is_batch(r))
		forget_mark(r); /* by the note */
	f->noted = true;
	f->crashes = f->server_lived ? a->crashes : 0;
	if (!job_is_batch(r) && (r->kind == JOB_ROW || r->n > 1)) {
		job_judge_group(r);
		return JOB_JUDGING;
	}
	f->settled = a->settled;
	f->rows = a->rows;
	f->attempts = a->attempts;
	f->conflicts = a->conflicts;
	if (r->kind == JOB_FAILED) /* where it was set aside for one */
		f->losses = a->losses + r->losses;
	else
		f->losses = a->losses > r->losses ? a->losses : r->losses;
	f->conflict_s = a->conflict_s;
	f->crowded = a->crowded;
	return JOB_JUDGING;
}

/* The predicate itself may be what raises: then without it. */
static bool turn_blind(struct job_run *r, const struct tx_answer *a)
{
	if (r->blind || a->status != ST_SQL || a->phase != POLICY_TRANSFORM ||
	    (a->class != PG_CLASS_DATA && a->class != PG_CLASS_SUSPECT && a->class != PG_CLASS_CANCELLED))
		return false;
	r->blind = true;
	return true;
}

static enum job_state split_done(struct job_run *r, const struct tx_answer *a)
{
	if (a->status != 0)
		return turn_blind(r, a) ? JOB_SPLITTING : side_failed(r, a);
	memcpy(r->parts, a->parts, sizeof(r->parts));
	r->nparts = a->nparts;
	job_say(r, "split", r->verdict.why, NULL);
	if (r->nparts > 0 && !r->draining && r->facts.noted && r->facts.class != PG_CLASS_OUTAGE && r->facts.class != PG_CLASS_CONFLICT &&
	    r->ports->rest(r->ports, r) <= JOB_DESCENT_REST_MS) {
		r->descent = r->parts[0];
		memmove(r->parts, r->parts + 1, --r->nparts * sizeof(r->parts[0]));
	}
	r->settle = r->nparts > 0 ? SETTLE_PARTS : SETTLE_ACK;
	return JOB_ACKING;
}

/*
 * The first part of a batch that failed goes on here, before anything else that waits in the stream: so the rows that fail are found, and
 * what is wrong as a whole is noticed, however many batches are in line before the other parts.
 */
static void descend(struct job_run *r)
{
	struct job *job = &r->entries[0]->job;
	uint64_t rest = r->ports->rest(r->ports, r);

	r->kind = job->kind = r->descent.listed ? JOB_LIST : JOB_BATCH;
	job->number = r->descent.number;
	r->entries[0]->lost = r->loose = true; /* its entry was the whole batch's, which is settled */
	r->descent.number = 0;
	r->settle = SETTLE_ACK;
	r->nparts = r->again = r->side_tries = r->turn = 0;
	r->blind = r->marked = r->mark_left = false;
	/* Should others go on by now, they do not know this part: one transaction more. */
	job_move(r, rest > 0 && rest != JOB_YIELD ? rest_then_run(r, rest) : JOB_RUNNING);
}

/* Without the predicate nothing but the key itself can raise: whoever wrote this entry, it is no row of this table. */
static bool is_no_key(const struct job_run *r, const struct tx_answer *a)
{
	return r->kind == JOB_ROW && r->blind && a->status == ST_SQL && a->phase == POLICY_TRANSFORM && a->class == PG_CLASS_DATA;
}

static enum job_state buried(struct job_run *r, const struct tx_answer *a)
{
	if (a->status != 0 && is_no_key(r, a)) {
		job_say(r, "dropped", "its key is none of this table", NULL);
		return JOB_ACKING;
	}
	if (a->status != 0)
		return turn_blind(r, a) ? JOB_BURYING : side_failed(r, a);
	r->failed_id = a->failed_id;
	if (r->failed_id == 0)
		return JOB_ACKING;
	job_say(r, "buried", r->verdict.why, NULL);
	if (r->verdict.crashes)
		return JOB_PAUSING;
	return r->breaker_off ? JOB_ACKING : JOB_BREAKING;
}

static enum job_state retried(struct job_run *r, const struct tx_answer *a)
{
	if (a->status != 0)
		return side_failed(r, a);
	if (a->settled || (r->kind == JOB_ROW && a->failed_id == 0))
		return JOB_ACKING;
	job_say(r, "retry", r->verdict.why, NULL);
	forget_mark(r);
	if (r->kind == JOB_FAILED)
		return JOB_DELAYING;
	r->failed_id = a->failed_id;
	r->settle = SETTLE_RETRY;
	return JOB_ACKING;
}

static enum job_state paused(struct job_run *r, const struct tx_answer *a)
{
	if (a->status == 0) {
		if (a->paused)
			job_say(r, "paused", r->verdict.why, NULL);
		if (r->verdict.crashes && job_is_batch(r))
			forget_mark(r);
		/* What crashed the server is a dead letter by now, or a batch of its own. */
		return r->verdict.crashes && (r->failed_id != 0 || r->kind == JOB_ROW) ? JOB_ACKING : JOB_RELEASING;
	}
	if (a->status != ST_SQL || a->class == PG_CLASS_OUTAGE)
		return job_wait_then(r, JOB_RETRY_LINK_MS, JOB_PAUSING);
	job_say(r, "side-failed", job_state_name(r->state), a);
	r->delay_ms = r->ports->backoff(r->ports, r, 3);
	return JOB_DELAYING;
}

void job_run_on_tx(struct job_run *r, const struct tx_answer *a)
{
	enum job_state to = JOB_ACKING;

	if (a->status == ST_CLOSING)
		return; /* the worker ends at once: the owner frees the run */
	switch (r->state) {
	case JOB_MARKING:
		to = a->status != 0 ? side_failed(r, a) : marked(r, a);
		break;
	case JOB_UNMARKING:
		to = unmarked(r, a);
		break;
	case JOB_RUNNING:
		to = work_answered(r, a);
		break;
	case JOB_PROBING:
		to = probed(r, a);
		break;
	case JOB_NOTING:
		to = noted(r, a);
		break;
	case JOB_UNBLOCKING: /* whatever came of it: the claim decides */
		to = job_wait_then(r, JOB_RETRY_LINK_MS * r->again, JOB_RUNNING);
		break;
	case JOB_SPLITTING:
		to = split_done(r, a);
		break;
	case JOB_BURYING:
		to = buried(r, a);
		break;
	case JOB_BREAKING: /* a count missed is no reason to run the job again */
		if (a->status == 0 && a->paused)
			job_say(r, "broken", "circuit breaker", a);
		break;
	case JOB_RETRYING:
		to = retried(r, a);
		break;
	default:
		to = paused(r, a);
		break;
	}
	job_move(r, to);
}

/* ------------------------------------------------------------ settling */

enum job_state job_enter_settle(struct job_run *r)
{
	enum settle_kind kind = r->settle;

	if (r->mark_left && r->state != JOB_ACKING)
		return job_unmark_then(r, r->state);
	if (r->state == JOB_DELAYING)
		kind = SETTLE_DELAY;
	else if (r->state == JOB_RELEASING)
		kind = SETTLE_BACK;
	if (r->ports->settle(r->ports, r, kind) == 0)
		return JOB_STAY;
	/* Redis is away. The lease runs out by itself, and what is done is done: the next one finds it so. */
	return r->draining ? JOB_DONE : job_wait_then(r, JOB_RETRY_LINK_MS, r->state);
}

void job_run_on_settled(struct job_run *r, int status)
{
	if (status == ST_CLOSING)
		return;
	if (r->state == JOB_ACKING && r->descent.number != 0 && (status == 0 || r->settle == SETTLE_ACK)) {
		descend(r);
	} else if (status == 0 || (r->draining && status != ST_REDIS)) {
		job_move(r, JOB_DONE);
	} else if (status != ST_REDIS) {
		job_move(r, job_wait_then(r, JOB_RETRY_LINK_MS, r->state));
	} else if (r->state == JOB_ACKING && r->settle != SETTLE_ACK) {
		/* No room for what it leaves behind: the audit pushes that from the ledger. */
		job_say(r, "settle-failed", "Redis refused it", NULL);
		r->settle = SETTLE_ACK;
		job_move(r, JOB_ACKING);
	} else {
		job_say(r, "settle-failed", "Redis refused it; its lease runs out by itself", NULL);
		job_move(r, JOB_DONE);
	}
}
