/*
 * job_run_private.h - what job_states.c, job_run.c and job_judge.c share.
 */
#ifndef DROVER_WORKER_JOB_RUN_PRIVATE_H
#define DROVER_WORKER_JOB_RUN_PRIVATE_H

#include "worker/job_run.h"

/* Entered by job_move(): the next state, or JOB_STAY. */
typedef enum job_state (*job_enter_fn)(struct job_run *r);
void job_move(struct job_run *r, enum job_state to);
enum job_state job_enter_taken(struct job_run *r);
enum job_state job_enter_tx(struct job_run *r);
enum job_state job_enter_unmarking(struct job_run *r);
enum job_state job_enter_hold(struct job_run *r);
enum job_state job_enter_judging(struct job_run *r);
enum job_state job_enter_noting(struct job_run *r);
enum job_state job_enter_waiting(struct job_run *r);
enum job_state job_enter_splitting(struct job_run *r);
enum job_state job_enter_settle(struct job_run *r);

void job_judge_group(struct job_run *r); /* the facts of a group of rows, which has no row in the ledger */
bool job_is_batch(const struct job_run *r);
void job_say(struct job_run *r, const char *event, const char *why, const struct tx_answer *a);
void job_blame(struct job_run *r, const char *error); /* what a dead letter says where no error of PostgreSQL's does: JSON */

/* Come to @then after a while, alone on this worker, or once the mark of its start is taken back. */
enum job_state job_wait_then(struct job_run *r, uint64_t ms, enum job_state then);
enum job_state job_hold_then(struct job_run *r, enum job_state then);
enum job_state job_unmark_then(struct job_run *r, enum job_state then);

#endif
