/*
 * push.h - puts jobs into a migration's stream, many in one round trip. Blocking.
 *
 * Jobs are appended to a buffer of at most PUSH_CHUNK_BYTES that is sent whenever it is full, and by push_flush(); so memory does not
 * grow with what is pushed. The ledger was committed before: a push that fails half-way is made whole by the audit, never by the caller.
 */
#ifndef DROVER_QUEUE_PUSH_H
#define DROVER_QUEUE_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"
#include "queue/queue.h"

#define PUSH_CHUNK_JOBS 500
#define PUSH_CHUNK_BYTES (256 * 1024)

struct push {
	struct queue *queue; /* borrowed */
	unsigned waiting;    /* commands whose replies were not taken: appended, or ... */
	struct buf unsent;   /* ... written here, in Redis's protocol; */
	unsigned nunsent;    /* so many */
	size_t bytes;        /* their payloads */
	uint64_t pushed;     /* jobs, since push_init() */
	struct buf head;     /* what the command of each job for the stream begins with ... */
	size_t head_for;     /* ... if its payload is so long */
	struct buf payload;  /* of the job at hand */
};

void push_init(struct push *p, struct queue *queue);
void push_close(struct push *p); /* abandons what waits; fine on a zeroed struct */

/* A batch of the ledger; @listed: its keys stand there. */
MUST_CHECK int push_batch(struct push *p, int64_t number, bool listed, struct err *err);

/* One row of window @number, in place @position of it (0: not known): its key, text per column. ST_LIMIT if it is longer than a payload may be. */
MUST_CHECK int push_row(struct push *p, int64_t number, int64_t position, const char *const *key, size_t ncolumns, struct err *err);

/* A dead letter to replay (drover retry), or a row's next attempt. @delay_ms 0: now; else into the delayed set, by Redis's clock. */
MUST_CHECK int push_failed(struct push *p, int64_t id, uint64_t delay_ms, struct err *err);

/* Send what waits and take the answers. To be called at the end. */
MUST_CHECK int push_flush(struct push *p, struct err *err);

/* After an error of any other kind in the middle: what waits may go through, and its answers must not be taken for those of later commands. */
void push_abandon(struct push *p);

/* push_flush(), then the marker: everything up to @push_seq was pushed. */
MUST_CHECK int push_mark(struct push *p, int64_t push_seq, struct err *err);

#endif
