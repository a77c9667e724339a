/*
 * bell.h - wakes the workers of an installation: something changed in PostgreSQL that they would find with their next poll. Blocking.
 *
 * Nothing depends on it: a ring that is lost costs the rest of a poll's interval. It is a stream of one entry that goes by itself, which workers
 * read by the last id that they saw (worker/bell.c), so that one does not miss it while it is between two reads.
 */
#ifndef DROVER_QUEUE_BELL_H
#define DROVER_QUEUE_BELL_H

#include "job/keys.h"

struct redis_sync;

#define BELL_KEEP_MS "10000"
/* The two commands of a ring, as argv's after the key's name was put into place 1. */
#define BELL_ADD(key)                                          \
	{                                                      \
		"XADD", key, "MAXLEN", "1", "*", JOB_FIELD, "" \
	}
#define BELL_EXPIRE(key)                     \
	{                                    \
		"PEXPIRE", key, BELL_KEEP_MS \
	}

/* Whatever is wrong with Redis is not said. */
void bell_ring(struct redis_sync *r, const char *installation);

#endif
