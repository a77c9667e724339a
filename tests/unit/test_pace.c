/* How large transactions become, from what the last ones took. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/util.h"
#include "worker/pace.h"

static void note(struct pace *p, unsigned times, uint64_t rows, uint64_t us_per_row)
{
	for (unsigned i = 0; i < times; i++)
		pace_note(p, rows, 300 + rows * us_per_row);
}

/* As a worker does: each transaction is as large as the pace says. */
static uint64_t follow(struct pace *p, unsigned times, double target_ms, uint64_t us_per_row)
{
	for (unsigned i = 0; i < times; i++)
		note(p, 1, pace_rows(p, target_ms), us_per_row);
	return pace_rows(p, target_ms);
}

static void size_follows_the_time_of_a_row(void **state)
{
	static const struct {
		const char *why;
		double target_ms;
		uint64_t us_per_row, least, most;
	} rows[] = {
		{ "cheap rows stop at the upper bound", 200, 7, PACE_MOST_ROWS, PACE_MOST_ROWS },
		{ "rows of 100 us", 200, 100, 1900, 2000 },
		{ "rows of 1 ms", 200, 1000, 190, 200 },
		{ "rows of 50 ms stop at the lower bound", 200, 50000, PACE_LEAST_ROWS, PACE_LEAST_ROWS },
		{ "a target of 2 ms", 2, 7, 200, 250 },
		{ "a target below what any transaction takes", 0.2, 7, PACE_LEAST_ROWS, PACE_LEAST_ROWS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pace p = { 0 };
		uint64_t size = follow(&p, 30, rows[i].target_ms, rows[i].us_per_row);

		if (size < rows[i].least || size > rows[i].most)
			fail_msg("%s: %" PRIu64 " rows", rows[i].why, size);
	}
}

static void nothing_is_known_at_first(void **state)
{
	struct pace p = { 0 };

	(void)state;
	assert_int_equal(pace_rows(&p, 200), PACE_FIRST_ROWS);
	assert_true(pace_slowdown(&p) == 1);
}

static void size_grows_by_twice_at_most(void **state)
{
	struct pace p = { 0 };

	(void)state;
	note(&p, 1, 200, 7);
	assert_int_equal(pace_rows(&p, 200), 400);
	note(&p, 1, 400, 7);
	assert_int_equal(pace_rows(&p, 200), 800);
}

static void a_change_of_load_is_followed_within_ten_transactions(void **state)
{
	struct pace p = { 0 };
	uint64_t size;

	(void)state;
	follow(&p, 30, 200, 20);
	size = follow(&p, 10, 200, 2000);
	assert_in_range(size, 90, 130);
	size = follow(&p, 20, 200, 20);
	assert_in_range(size, 9000, 10000);
}

static void the_last_rows_of_a_batch_change_little(void **state)
{
	struct pace p = { 0 };
	uint64_t before;

	(void)state;
	before = follow(&p, 30, 2, 7);
	pace_note(&p, 1, 500);
	assert_true(pace_rows(&p, 2) > before * 3 / 4);
	assert_true(pace_slowdown(&p) < 1.5);
}

static void slowdown_is_against_the_best_of_like_size(void **state)
{
	struct pace p = { 0 };

	(void)state;
	note(&p, 20, 1000, 7);
	note(&p, 5, 100, 7); /* more per row, for they are small */
	assert_true(pace_slowdown(&p) < 1.2);
	note(&p, 10, 1000, 70);
	assert_true(pace_slowdown(&p) > 5);
	note(&p, 20, 1000, 7);
	assert_true(pace_slowdown(&p) < 1.5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_follows_the_time_of_a_row),
		cmocka_unit_test(nothing_is_known_at_first),
		cmocka_unit_test(size_grows_by_twice_at_most),
		cmocka_unit_test(a_change_of_load_is_followed_within_ten_transactions),
		cmocka_unit_test(the_last_rows_of_a_batch_change_little),
		cmocka_unit_test(slowdown_is_against_the_best_of_like_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
