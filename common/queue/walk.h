/*
 * walk.h - looks at every job of a migration in Redis, page by page. Blocking; memory is one page.
 */
#ifndef DROVER_QUEUE_WALK_H
#define DROVER_QUEUE_WALK_H

#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "job/codec.h"
#include "queue/queue.h"

#define WALK_PAGE 1000 /* entries */

/* Called for each job. The job is borrowed. Other than 0 ends the walk with it. */
typedef int (*walk_fn)(void *arg, const struct job *job, struct err *err);

struct walk_counts {
	uint64_t jobs;
	uint64_t foreign; /* entries that are no jobs of ours: passed over */
};

/**
 * The delayed set, the stream, and the delayed set again: a job that moves from one to the other meanwhile is seen, perhaps twice.
 * Leased jobs lie in the stream until they are acknowledged, so they are seen too; what is acknowledged and still lies there is not. @ret may be NULL.
 */
MUST_CHECK int walk_jobs(struct queue *q, walk_fn fn, void *arg, struct walk_counts *ret, struct err *err);

#endif
