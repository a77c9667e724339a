/*
 * seen.h - which jobs were seen in Redis: the one side of the audit's difference. Pure.
 *
 * Eight bytes a job, with a ceiling. Jobs are kept as hashes under a seed that is new for each audit: should two jobs ever be taken for one,
 * the next audit tells them apart.
 */
#ifndef DROVER_STEWARD_SEEN_H
#define DROVER_STEWARD_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "job/codec.h"

#define SEEN_MAX (2u << 20) /* jobs: 16 MiB */

struct seen {
	uint64_t *v;
	size_t n, cap, max;
	uint64_t seed;
};

void seen_init(struct seen *s, uint64_t seed, size_t max);
void seen_free(struct seen *s);

/* ST_LIMIT when there are more than the ceiling, ST_NOMEM. A batch counts the same whether the job says that it is listed or not. */
MUST_CHECK int seen_add(struct seen *s, const struct job *job);

/* Sort, once all were added; then ask. */
void seen_seal(struct seen *s);
bool seen_has(const struct seen *s, const struct job *job);

#endif
