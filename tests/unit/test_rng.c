/*
 * test_rng.c - random numbers that can be repeated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "core/util.h"

/* The well-known first numbers of the state 1, 2, 3, 4. */
static void the_generator_is_xoshiro256starstar(void **state)
{
	static const uint64_t want[] = { 11520, 0, 1509978240, 1215971899390074240u };
	struct rng r = { { 1, 2, 3, 4 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_true(rng_next(&r) == want[i]);
}

/* The well-known first numbers of the seed 1234567. */
static void seeding_is_splitmix64(void **state)
{
	struct rng r;

	(void)state;
	rng_seed(&r, 1234567);
	assert_true(r.s[0] == 6457827717110365317u);
	assert_true(r.s[1] == 3203168211198807973u);
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
	struct rng a, b, c;

	(void)state;
	rng_seed(&a, 42);
	rng_seed(&b, 42);
	rng_seed(&c, 43);
	for (int i = 0; i < 100; i++) {
		uint64_t x = rng_next(&a);

		assert_true(x == rng_next(&b));
		assert_true(x != rng_next(&c));
	}
}

static void seeds_from_the_kernel_differ(void **state)
{
	struct rng a, b;

	(void)state;
	rng_seed_random(&a);
	rng_seed_random(&b);
	assert_true(rng_next(&a) != rng_next(&b));
}

static void below_stays_below_and_reaches_every_number(void **state)
{
	unsigned seen[7] = { 0 };
	struct rng r;

	(void)state;
	rng_seed(&r, 1);
	for (int i = 0; i < 70000; i++) {
		uint64_t x = rng_below(&r, 7);

		assert_true(x < 7);
		seen[x]++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		assert_in_range(seen[i], 9500, 10500);
	assert_true(rng_below(&r, 0) == 0);
	assert_true(rng_below(&r, 1) == 0);
	assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_generator_is_xoshiro256starstar),        cmocka_unit_test(seeding_is_splitmix64),
		cmocka_unit_test(the_same_seed_gives_the_same_numbers),       cmocka_unit_test(seeds_from_the_kernel_differ),
		cmocka_unit_test(below_stays_below_and_reaches_every_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
