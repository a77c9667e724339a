#include "job/backoff.h"

uint64_t backoff_list_ms(const uint64_t *ceilings_ms, size_t n, unsigned attempt, struct rng *rng)
{
	size_t i = attempt > 0 ? attempt - 1 : 0;

	if (n == 0)
		return 1;
	return 1 + rng_below(rng, ceilings_ms[i < n ? i : n - 1]);
}
