/*
 * job_judge.c - what becomes of a job after an answer: the failure is noted, common/job/policy.c judges it, and this takes the next step.
 */
#include "worker/job_run_private.h"

#include <string.h>

#define BYSTANDER_MS 1000
#define GROUP_PAUSE_MS 250 /* before a group of rows that met a conflict is run once more */

void job_judge_group(struct job_run *r)
{
	struct policy_facts *f = &r->facts;

	f->noted = true;
	f->rows = (unsigned)r->n;
	f->attempts = r->note != POLICY_NOTE_CONFLICT;
	f->conflicts = r->conflicts;
	f->losses = r->losses;
}

/* Groups of rows have no row in the ledger, and are judged by what this worker knows; but a crash of the server's is counted for all. */
enum job_state job_enter_noting(struct job_run *r)
{
	if (job_is_batch(r) || (r->kind == JOB_FAILED && r->n == 1) || r->note == POLICY_NOTE_LOSS)
		return job_enter_tx(r);
	job_judge_group(r);
	return JOB_JUDGING;
}

static enum job_state again(struct job_run *r, uint64_t ms)
{
	r->again++;
	return job_wait_then(r, ms, JOB_RUNNING);
}

static enum job_state later(struct job_run *r)
{
	unsigned failures;

	if (r->verdict.act == POLICY_DELAY) {
		r->delay_ms = r->ports->backoff(r->ports, r, 2);
		return JOB_DELAYING;
	}
	if (!job_is_batch(r) && r->n > 1)
		return job_wait_then(r, GROUP_PAUSE_MS, JOB_RUNNING);
	failures = r->facts.attempts + r->facts.conflicts;
	r->delay_ms = r->ports->backoff(r->ports, r, failures > 0 ? failures : 1);
	if (!job_is_batch(r))
		return JOB_RETRYING;
	job_say(r, "retry", r->verdict.why, NULL);
	return JOB_DELAYING;
}

static enum job_state split(struct job_run *r)
{
	r->alone = r->alone || r->verdict.alone;
	return r->verdict.alone ? job_hold_then(r, JOB_SPLITTING) : JOB_SPLITTING;
}

/* Rows are divided here, in memory; each part is a claimed transaction of its own. */
enum job_state job_enter_splitting(struct job_run *r)
{
	if (job_is_batch(r))
		return job_enter_tx(r);
	if (r->n == 1) { /* only a mark can ask for this */
		r->alone = true;
		return JOB_RELEASING;
	}
	if (r->mark_left)
		return job_unmark_then(r, JOB_SPLITTING);
	job_say(r, "split", r->verdict.why, NULL);
	r->ports->divide(r->ports, r);
	return JOB_DONE;
}

/* Another backend crashed, and whoever had it says so first (drover.enter()). */
static bool is_bystander(const struct job_run *r)
{
	return strcmp(r->sqlstate, "57P02") == 0 || strcmp(r->sqlstate, "57P03") == 0;
}

enum job_state job_enter_judging(struct job_run *r)
{
	struct policy_verdict v = policy_judge(&r->facts, &r->limits);

	/* A complete migration is not the one to blame, so there is nothing to find out. */
	if (v.act == POLICY_PROBE && r->over) {
		r->probe = r->facts.probe = POLICY_PROBE_FINE;
		v = policy_judge(&r->facts, &r->limits);
	}
	r->verdict = v;
	switch (v.act) {
	case POLICY_ACK:
		return JOB_ACKING;
	case POLICY_DROP:
		job_say(r, "dropped", v.why, NULL);
		return JOB_ACKING;
	case POLICY_AGAIN:
		return again(r, 100 * (r->again + 1));
	case POLICY_RELOAD:
		r->ports->reload(r->ports, r);
		return again(r, JOB_RELOAD_MS);
	case POLICY_MARK:
		r->again++;
		return JOB_MARKING;
	case POLICY_UNBLOCK:
		if (!job_is_batch(r))
			return again(r, JOB_RELOAD_MS);
		r->again++;
		return JOB_UNBLOCKING;
	case POLICY_PROBE:
		return JOB_PROBING;
	case POLICY_NOTE:
		r->note = v.note;
		r->losses += v.note == POLICY_NOTE_LOSS;
		r->conflicts += v.note == POLICY_NOTE_CONFLICT;
		return JOB_NOTING;
	case POLICY_WAIT:
		return v.alone ? job_hold_then(r, JOB_RUNNING) :
				 job_wait_then(r, is_bystander(r) ? BYSTANDER_MS : JOB_RETRY_LINK_MS, JOB_RUNNING);
	case POLICY_DELAY:
	case POLICY_RETRY:
		return later(r);
	case POLICY_SPLIT:
		return split(r);
	case POLICY_BURY:
		if (v.crashes)
			job_blame(r, "{\"message\": \"the server crashed while this row was changed alone\"}");
		return JOB_BURYING;
	case POLICY_PAUSE:
		return JOB_PAUSING;
	default:
		return JOB_RELEASING;
	}
}
