/* When the end of the last batches is looked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/util.h"
#include "steward/foresight.h"

struct run {
	uint64_t batches, lanes, each_ms; /* lanes in step */
	uint64_t late_ms;                 /* at most, and after so many looks at most the end is seen */
	unsigned looks;
};

/* The first look comes @phase_ms after the first batch was begun. */
static void watch(const struct run *r, uint64_t phase_ms)
{
	struct foresight f = { 0 };
	uint64_t began = 1000000, now = began + phase_ms, end = began + (r->batches + r->lanes - 1) / r->lanes * r->each_ms;
	unsigned looks = 0;

	for (;;) {
		uint64_t done = (now - began) / r->each_ms * r->lanes, left = done < r->batches ? r->batches - done : 0;
		uint64_t ms = foresight_look(&f, left < FORESIGHT_MOST + 1 ? (int64_t)left : FORESIGHT_MOST + 1, now);

		looks++;
		assert_in_range(ms, FORESIGHT_SOON_MS, FORESIGHT_FAR_MS);
		if (left == 0)
			break;
		now += ms;
	}
	assert_in_range(now - end, 0, r->late_ms);
	assert_in_range(looks, 1, r->looks);
}

static void few_looks_see_the_end_at_once(void **state)
{
	static const struct run runs[] = {
		{ 25, 1, 100, 25, 50 },   /* three seconds */
		{ 250, 1, 100, 25, 105 }, /* the first fifteen with nothing in sight */
		{ 5000, 1, 5, 10, 80 },   /* many short ones */
		{ 1000, 1, 3, 100, 20 },  /* so many as are left while nobody looks are done before the next look */
		{ 2000, 4, 40, 25, 70 },  /* lanes in step */
		{ 8, 4, 1000, 50, 60 },   /* the first of a wave is not far before the last */
		{ 4, 4, 2000, 50, 50 },   /* all of them at once */
		{ 4, 1, 5000, 50, 420 },  /* long ones */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
		for (uint64_t phase = 0; phase < 400; phase += 7)
			watch(&runs[i], phase);
	}
}

static void half_of_what_is_left_is_slept(void **state)
{
	struct foresight f = { 0 };

	(void)state;
	(void)foresight_look(&f, 40, 10000);
	assert_int_equal(foresight_look(&f, 38, 10020), 190); /* ten each: 380 */
	assert_int_equal(foresight_look(&f, 38, 10210), 95);
	/* Two looks that agree, and one that does not. */
	assert_int_equal(foresight_look(&f, 18, 10220), (10 + 10) / 2 * 18 / 2);
	assert_int_equal(foresight_look(&f, 17, 10250), (10 + 30) / 2 * 17 / 2);
	/* Near the end. */
	assert_int_equal(foresight_look(&f, 16, 10270), FORESIGHT_NEAR_MS);
	assert_int_equal(foresight_look(&f, 2, 10550), 20);
}

static void as_long_as_nothing_is_known_looks_become_rarer(void **state)
{
	struct foresight f = { 0 };
	uint64_t now = 5000, ms = 0;

	(void)state;
	assert_int_equal(foresight_look(&f, 3, now), FORESIGHT_SOON_MS);
	for (int i = 0; i < 40; i++) {
		uint64_t next = foresight_look(&f, 3, now += ms);

		assert_true(next >= ms);
		ms = next;
	}
	assert_int_equal(ms, FORESIGHT_NEAR_MS);
}

static void many_are_left_alone(void **state)
{
	struct foresight f = { 0 };

	(void)state;
	assert_int_equal(foresight_look(&f, FORESIGHT_MOST + 1, 1), FORESIGHT_FAR_MS);
	assert_int_equal(foresight_look(&f, FORESIGHT_MOST + 1, 100000), FORESIGHT_FAR_MS);
}

/* Of the time while more were left than are counted nothing is known: it is not one batch's. */
static void what_was_not_counted_is_not_learned_from(void **state)
{
	struct foresight f = { 0 };

	(void)state;
	(void)foresight_look(&f, FORESIGHT_MOST + 1, 1000);
	assert_int_equal(foresight_look(&f, FORESIGHT_MOST, 3601000), FORESIGHT_SOON_MS);
	assert_true(f.each_ms == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_looks_see_the_end_at_once),
		cmocka_unit_test(as_long_as_nothing_is_known_looks_become_rarer),
		cmocka_unit_test(many_are_left_alone),
		cmocka_unit_test(half_of_what_is_left_is_slept),
		cmocka_unit_test(what_was_not_counted_is_not_learned_from),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
