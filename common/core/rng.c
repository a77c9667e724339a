#include "core/rng.h"

#include <sys/random.h>
#include <unistd.h>

#include "core/clock.h"

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix64(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void rng_seed(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = splitmix64(&seed);
}

void rng_seed_random(struct rng *r)
{
	if (getrandom(r->s, sizeof(r->s), 0) == (ssize_t)sizeof(r->s) && (r->s[0] | r->s[1] | r->s[2] | r->s[3]) != 0)
		return;
	/* No getrandom in this sandbox: jitter only needs processes to differ. */
	rng_seed(r, (uint64_t)clock_wall_ms(clock_system()) ^ ((uint64_t)getpid() << 40));
}

uint64_t rng_next(struct rng *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	uint64_t x, unfair;

	if (n == 0)
		return 0;
	/* The lowest 2^64 mod n numbers are drawn once more, so that every remainder is equally likely. */
	unfair = (0 - n) % n;
	do
		x = rng_next(r);
	while (x < unfair);
	return x % n;
}
