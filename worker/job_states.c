/*
 * job_states.c - the table of a job's states: what each is called, where it may go, what happens on entering it.
 */
#include <assert.h>

#include "core/log.h"
#include "worker/job_run_private.h"

#define TO(s) (1u << JOB_##s)

/* Where a transaction beside the work may lead when it fails (job_run.c, side_failed()). */
#define SIDE_FAILED (TO(WAITING) | TO(ACKING) | TO(RELEASING) | TO(DELAYING) | TO(PAUSING) | TO(DONE))

static const struct {
	const char *name;
	unsigned next;      /* legal moves */
	job_enter_fn enter; /* returns the next state, or JOB_STAY */
} states[JOB_STATES] = {
	[JOB_TAKEN] = { "taken", TO(MARKING) | TO(RUNNING) | TO(HOLDING) | TO(RELEASING) | TO(SPLITTING), job_enter_taken },
	[JOB_MARKING] = { "marking", SIDE_FAILED | TO(RUNNING) | TO(HOLDING) | TO(SPLITTING) | TO(BURYING), job_enter_tx },
	[JOB_UNMARKING] = { "unmarking", TO(WAITING) | TO(DELAYING) | TO(RELEASING) | TO(SPLITTING), job_enter_unmarking },
	[JOB_HOLDING] = { "holding", TO(RUNNING) | TO(SPLITTING) | TO(RELEASING), job_enter_hold },
	[JOB_RUNNING] = { "running", TO(JUDGING) | TO(WAITING) | TO(RELEASING), job_enter_tx },
	[JOB_JUDGING] = { "judging",
			  TO(ACKING) | TO(WAITING) | TO(MARKING) | TO(UNBLOCKING) | TO(PROBING) | TO(NOTING) | TO(DELAYING) | TO(RETRYING) |
				  TO(SPLITTING) | TO(HOLDING) | TO(BURYING) | TO(PAUSING) | TO(RELEASING) | TO(DONE),
			  job_enter_judging },
	[JOB_PROBING] = { "probing", SIDE_FAILED | TO(JUDGING), job_enter_tx },
	[JOB_NOTING] = { "noting", SIDE_FAILED | TO(JUDGING), job_enter_noting },
	[JOB_WAITING] = { "waiting",
			  TO(RUNNING) | TO(MARKING) | TO(PROBING) | TO(NOTING) | TO(SPLITTING) | TO(BURYING) | TO(BREAKING) | TO(RETRYING) |
				  TO(PAUSING) | TO(UNBLOCKING) | TO(UNMARKING) | TO(ACKING) | TO(DELAYING) | TO(RELEASING),
			  job_enter_waiting },
	[JOB_UNBLOCKING] = { "unblocking", SIDE_FAILED, job_enter_tx },
	[JOB_SPLITTING] = { "splitting", SIDE_FAILED | TO(SPLITTING) | TO(JUDGING) | TO(UNMARKING), job_enter_splitting },
	[JOB_BURYING] = { "burying", SIDE_FAILED | TO(BURYING) | TO(BREAKING) | TO(JUDGING), job_enter_tx },
	[JOB_BREAKING] = { "breaking", TO(ACKING) | TO(WAITING), job_enter_tx },
	[JOB_RETRYING] = { "retrying", SIDE_FAILED, job_enter_tx },
	[JOB_PAUSING] = { "pausing", TO(WAITING) | TO(RELEASING) | TO(ACKING) | TO(DELAYING), job_enter_tx },
	[JOB_ACKING] = { "acking", TO(DONE) | TO(WAITING) | TO(ACKING) | TO(RUNNING), job_enter_settle },
	[JOB_DELAYING] = { "delaying", TO(DONE) | TO(WAITING) | TO(UNMARKING), job_enter_settle },
	[JOB_RELEASING] = { "releasing", TO(DONE) | TO(WAITING) | TO(UNMARKING), job_enter_settle },
	[JOB_DONE] = { "done", 0, NULL },
};

const char *job_state_name(enum job_state s)
{
	return s < JOB_STATES ? states[s].name : "?";
}

bool job_state_may(enum job_state from, enum job_state to)
{
	return from < JOB_STATES && to < JOB_STATES && (states[from].next & 1u << to) != 0;
}

/* The only writer of r->state: checks and traces every move, enters the state, and goes on until one has to wait. */
void job_move(struct job_run *r, enum job_state to)
{
	while (to != JOB_STAY) {
		assert(job_state_may(r->state, to));
		log_debug("job.move", "job=%p from=%s to=%s", (void *)r, states[r->state].name, states[to].name);
		r->state = to;
		if (to == JOB_DONE) {
			r->ports->done(r->ports, r); /* may free r */
			return;
		}
		to = states[to].enter(r);
	}
}
