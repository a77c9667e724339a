/*
 * backoff.h - how long to wait before the next try: full jitter, evenly between 0 and a ceiling that grows.
 */
#ifndef DROVER_JOB_BACKOFF_H
#define DROVER_JOB_BACKOFF_H

#include <stddef.h>
#include <stdint.h>

#include "core/rng.h"

/* From a list of ceilings ("1,5,30" s): @attempt counts from 1; beyond the list its last one holds. At least 1 ms. */
uint64_t backoff_list_ms(const uint64_t *ceilings_ms, size_t n, unsigned attempt, struct rng *rng);

#endif
