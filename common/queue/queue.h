/*
 * queue.h - one migration's keys in Redis: how much is there, making the group, emptying it. Blocking.
 */
#ifndef DROVER_QUEUE_QUEUE_H
#define DROVER_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"
#include "job/keys.h"

struct redis_sync;

#define QUEUE_BYTES_MAX (24u << 20) /* of one migration's jobs in Redis: nothing is pushed beyond */

struct queue {
	struct redis_sync *redis; /* borrowed */
	struct job_keys keys;
};

void queue_init(struct queue *q, struct redis_sync *redis, const char *installation, int migration_id);

struct queue_depth {
	uint64_t ready;   /* entries of the stream, leased ones too */
	uint64_t leased;  /* of these, pending at a worker */
	uint64_t delayed; /* waiting for their next attempt */
	uint64_t bytes;   /* memory of both, by MEMORY USAGE; 0 if not asked for */
};

/* Jobs in Redis, all together. */
static inline uint64_t queue_depth_jobs(const struct queue_depth *d)
{
	return d->ready + d->delayed;
}

/* @with_bytes: ask for memory too (samples; cheap, but not free). Keys that are not there count nothing. */
MUST_CHECK int queue_depth(struct queue *q, bool with_bytes, struct queue_depth *ret, struct err *err);

/* Make stream and group if they are not there. */
MUST_CHECK int queue_make_group(struct queue *q, struct err *err);

/**
 * The marker: *@ret_marker is -1 if there is none. What would keep jobs from being delivered for ever (keys of another type or size, a group
 * that begins behind them, a stream that takes no more) is mended before, and appended to @mended in words: something may be missing then.
 */
MUST_CHECK int queue_watch(struct queue *q, int64_t *ret_marker, struct buf *mended, struct err *err);

/* Drop all jobs, delayed and leased ones too, and the marker; the group is made anew, empty. *@ret_jobs (may be NULL): how many it had. */
MUST_CHECK int queue_clear(struct queue *q, uint64_t *ret_jobs, struct err *err);

/* Drop the keys themselves: for a migration that is over. */
MUST_CHECK int queue_delete(struct queue *q, struct err *err);

#endif
