/*
 * rng.h - small seeded random numbers, for jitter, names and simulations. Not for secrets.
 *
 * xoshiro256** seeded through splitmix64, both by David Blackman and Sebastiano Vigna, public domain:
 * https://prng.di.unimi.it/
 */
#ifndef DROVER_CORE_RNG_H
#define DROVER_CORE_RNG_H

#include <stdint.h>

struct rng {
	uint64_t s[4]; /* never all zero */
};

void rng_seed(struct rng *r, uint64_t seed); /* the same seed, the same numbers: tests and simulations */
void rng_seed_random(struct rng *r);         /* from the kernel */

uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n-1, evenly; 0 if n is 0 */

#endif
