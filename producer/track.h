/*
 * track.h - how fast migrations go: what was seen of each at earlier looks.
 */
#ifndef DROVER_PRODUCER_TRACK_H
#define DROVER_PRODUCER_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/progress.h"
#include "core/err.h"
#include "core/util.h"
#include "producer/standing.h"

struct track {
	int id;
	unsigned looks;
	int64_t first_finished;
	uint64_t first_ms;
	uint64_t commit_ms; /* the last one then */
	struct progress progress;
};

/* All zeros: none. */
struct tracks {
	struct track *v;
	size_t n;
};

/* Take in one look; fills in rate and time left of @s, if it runs, from the second on. *@ret is the track, until the next call. ST_NOMEM. */
MUST_CHECK int tracks_look(struct tracks *t, struct standing *s, struct track **ret, struct err *err);

void tracks_free(struct tracks *t);

#endif
