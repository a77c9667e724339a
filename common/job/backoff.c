#include "job/backoff.h"

uint64_t backoff_list_ms(const uint64_t *ceilings_ms, size_t n, unsigned attempt, struct rng *rng)
{
	size_t i = attempt > 0 ? attempt - 1 : 0;

	if (n == 0)
		return 1;
	return 1 + rng_below(rng, ceilings_ms[i < n ? i : n - 1]);
}

uint64_t backoff_doubling_ms(uint64_t base_ms, uint64_t cap_ms, unsigned attempt, struct rng *rng)
{
	uint64_t ceiling = base_ms;

	for (unsigned i = 1; i < attempt && ceiling < cap_ms; i++)
		ceiling *= 2;
	if (ceiling > cap_ms)
		ceiling = cap_ms;
	return ceiling - rng_below(rng, ceiling / 2 + 1);
}
