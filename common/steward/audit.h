/*
 * audit.h - what the ledger says is to be done, less what is in Redis, is pushed. Blocking.
 *
 * PostgreSQL is the truth: so the audit needs not know what Redis lost, nor when. First it walks Redis, then it reads the ledger: what is
 * incomplete there, was pushed a while before the walk and was not seen on it is missing. What was finished meanwhile is not incomplete
 * any more; what moved meanwhile (given back, put off, due) was seen on one of the walk's three legs. Should a job be pushed
 * twice all the same, the claim of the second finds it done.
 */
#ifndef DROVER_STEWARD_AUDIT_H
#define DROVER_STEWARD_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "steward/charge.h"

#define AUDIT_EVERY_MS 15000
#define AUDIT_MORE_MS 1000  /* while replays wait for room */
#define AUDIT_GRACE_MS 2000 /* so much may pass between a commit and its push, while nothing is known to be lost */

/* When to audit, and what is remembered between audits. */
struct audit {
	struct charge *charge; /* borrowed */
	uint64_t due_ms;       /* clock_now_ms; 0: at once */
	char run_id[48];       /* of the Redis that was seen last */
	char replid[48];
	int64_t marker;   /* seen or set last; -1: none */
	uint64_t foreign; /* entries that are no jobs of ours, at the last audit */
	bool crowded;     /* the last one gave up: more jobs in Redis than it looks at */
	bool more;        /* replays wait for room: the backlog is full */
};

void audit_init(struct audit *a, struct charge *c);

/* Something was lost, or may not have been pushed: audit at once, without grace. */
void audit_alarm(struct audit *a);

/* Ask Redis for the marker, and see whether its run_id or history changed: ST_OK, the audit now being due if there is reason to. */
MUST_CHECK int audit_watch(struct audit *a, struct err *err);

static inline bool audit_is_due(const struct audit *a, uint64_t now_ms)
{
	return now_ms >= a->due_ms;
}

/**
 * Audit. @ret_pushed (may be NULL): how many jobs were missing; replays that had to wait for room were not. The migration has to be loaded
 * and looked at (charge_look). ST_LEASE_LOST, or whatever its calls return; it is due again then.
 */
MUST_CHECK int audit_run(struct audit *a, uint64_t *ret_pushed, struct err *err);

/* After a push of one's own: what the marker has to be from now on. */
static inline void audit_pushed(struct audit *a, int64_t push_seq)
{
	a->marker = push_seq;
}

#endif
