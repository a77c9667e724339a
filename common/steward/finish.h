/*
 * finish.h - what comes after the scan: windows are closed, sweeps find what turned up behind the cursor, and the migration ends. Blocking.
 *
 * The last sweep is one that found nothing and began after every transaction had ended that was open at the end of the one before (or
 * of the scan): rows of such a transaction appear behind the cursor when it commits.
 */
#ifndef DROVER_STEWARD_FINISH_H
#define DROVER_STEWARD_FINISH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "steward/charge.h"
#include "steward/foresight.h"
#include "steward/scan.h"

#define FINISH_PAUSE_S 1.0        /* between two sweeps */
#define FINISH_STUCK 3            /* sweeps in a row that found no less than the one before: the application still writes old rows */
#define FINISH_STUCK_PAUSE_S 60.0 /* between two sweeps from then on */

enum finish {
	FINISH_SCANNING, /* the scan is not through */
	FINISH_WORKING,  /* batches, replays or retries are on their way */
	FINISH_XMIN,     /* transactions older than the end of the last sweep are still open */
	FINISH_SWEPT,    /* a step of a sweep was done: go on at once */
	FINISH_PAUSING,  /* the next sweep is due shortly */
	FINISH_STUCK_,   /* the application still writes old rows; sweeps go on, seldom */
	FINISH_STOPPED,  /* the migration does not run */
	FINISH_DONE,     /* it is complete, or limited */
};

struct finisher {
	struct charge *charge; /* borrowed */
	struct scan sweep;
	struct foresight foresight; /* of incomplete batches and open windows, as of the last step */
	uint64_t closed_ms;         /* clock_now_ms of the last look for windows to close ... */
	uint64_t close_took_ms;     /* ... and how long it took */
	/* as of the last step */
	uint64_t idle_ms; /* until the next step is worth it */
	uint64_t closed;  /* windows, by this finisher */
	uint64_t pushed;  /* jobs, by its sweeps */
	int64_t gathered; /* the last sweep that was tried in one pass */
	bool waiting;     /* replays or retries are on their way */
};

void finisher_init(struct finisher *f, struct charge *c);
void finisher_close(struct finisher *f);

/* One bounded step of whatever is next, after a charge_look(). @room: jobs that may be pushed, 0: none now. Errors as scan_step(). */
MUST_CHECK int finish_step(struct finisher *f, uint64_t room, enum finish *ret, struct err *err);

/**
 * Close windows of row jobs in which nothing is left, and drop receipts that nobody asks for any more. For the time of the scan too.
 * How often is for it to say; more often with @last: the scan is through.
 */
MUST_CHECK int finish_windows(struct finisher *f, bool last, struct err *err);

#endif
