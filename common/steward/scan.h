/*
 * scan.h - one step of the scan or of a sweep: a window of keys, its batches into the ledger, their jobs into Redis. Blocking.
 *
 * The ledger's rows and the cursor commit together, before the push. What is not pushed because Redis went away, or because we die, is
 * pushed by the audit.
 */
#ifndef DROVER_STEWARD_SCAN_H
#define DROVER_STEWARD_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "queue/push.h"
#include "steward/charge.h"
#include "steward/window.h"

struct scan {
	struct charge *charge; /* borrowed */
	bool sweep;
	struct window window;
	struct push push;
	/* of the last step */
	uint64_t scanned, found, pushed_bytes;
	bool through;   /* the end of the table, or of --limit, was reached */
	bool committed; /* of a step that failed: its batches are in the ledger, and maybe not in Redis */
	unsigned blind; /* windows so far in which the predicate raised */
	bool sparse;    /* few rows of the last window were pending */
	bool gathered;  /* of the scan: the rest was tried in one pass */
	bool tight;     /* in the last window that was looked at, keys were numbers nearly without gaps, and it pays to know */
	unsigned dense; /* windows in a row that went well and whose rows were nearly all pending, or were not looked at for that */
};

void scan_init(struct scan *s, struct charge *c, bool sweep);
void scan_close(struct scan *s);

/**
 * One step: bounded by the window's size, and by @room jobs (at least 1).
 *
 * ST_LEASE_LOST another took over, or the migration stopped running or has a new revision: charge_look() says which. ST_REFUSED the
 * migration is wrong, whatever its rows are: @err says why. ST_BUSY the statement waited too long for a lock or was cancelled: again later.
 * ST_DISCONNECTED, ST_TIMEOUT, ST_REDIS, ST_SQL ...: with s->committed the audit has to push what this step made.
 */
MUST_CHECK int scan_step(struct scan *s, uint64_t room, struct err *err);

/**
 * All that is left of the scan, or of a sweep, in one pass over the table, where that is small enough and few rows are pending. If so it is through
 * and *@ret_through set; else nothing has changed. @room and errors as scan_step(), of which those of the pass itself only mean that it told nothing.
 */
MUST_CHECK int scan_gather(struct scan *s, uint64_t room, bool *ret_through, struct err *err);

#endif
