/* Sizes of windows, and high and low water. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/util.h"
#include "steward/window.h"

static void windows_grow_while_it_is_fast_and_stop_at_the_ceiling(void **state)
{
	struct window w;

	(void)state;
	window_init(&w, 100);
	for (int i = 0; i < 20; i++)
		window_went(&w, w.rows, w.rows, 1000, 10);
	assert_int_equal(w.rows, WINDOW_DENSE_ROWS);
	for (int i = 0; i < 20; i++)
		window_went(&w, w.rows, w.rows / 200, 1000, 10);
	assert_int_equal(w.rows, WINDOW_SPARSE_ROWS);
	/* Suddenly dense again: what the next one finds has to fit. */
	window_went(&w, w.rows, w.rows, 1000, 10);
	assert_int_equal(w.rows, WINDOW_DENSE_ROWS);
}

static void sparse_windows_grow_until_they_fill_batches(void **state)
{
	struct window w;

	(void)state;
	/* 1 %: a window of 200,000 rows has two batches of 1,000 in it. */
	window_init(&w, 100);
	for (int i = 0; i < 20; i++)
		window_went(&w, w.rows, w.rows / 100, 1000, 30);
	assert_int_equal(w.rows, WINDOW_SPARSE_ROWS);
}

static void slow_windows_shrink_to_the_least_and_no_further(void **state)
{
	struct window w;

	(void)state;
	window_init(&w, 100);
	for (int i = 0; i < 20; i++)
		window_went(&w, w.rows, 0, 1000, WINDOW_SLOW_MS + 1);
	assert_int_equal(w.rows, 100);
	/* In between nothing changes. */
	window_went(&w, w.rows, 0, 1000, WINDOW_FAST_MS + 1);
	assert_int_equal(w.rows, 100);
}

static void halving_ends_at_the_floor(void **state)
{
	struct window w;
	unsigned n = 0;

	(void)state;
	window_init(&w, 100);
	while (window_halve(&w, 1))
		n++;
	assert_int_equal(w.rows, 1);
	assert_true(n <= 11);
	assert_false(window_halve(&w, 1));
	w.rows = 1500;
	assert_true(window_halve(&w, 1000));
	assert_int_equal(w.rows, 1000);
	assert_false(window_halve(&w, 1000));
}

static void what_is_found_is_bounded_in_bytes(void **state)
{
	static const struct {
		uint64_t row_bytes, want;
	} rows[] = {
		{ 0, WINDOW_FIRST_ROWS }, { 1, WINDOW_DENSE_ROWS }, { 8, WINDOW_DENSE_ROWS }, { 1024, 2048 }, { 8192, 256 },
		{ 1u << 20, 100 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct window w = { .row_bytes = rows[i].row_bytes };

		assert_int_equal(window_found_max(&w), rows[i].want);
	}
}

static void pushing_stops_at_high_water_and_goes_on_at_low_water(void **state)
{
	struct water w = { .ebbing = false };

	(void)state;
	assert_int_equal(water_room(&w, 0, 0, 1000, 1 << 20), 1000);
	assert_int_equal(water_room(&w, 999, 0, 1000, 1 << 20), 1);
	assert_int_equal(water_room(&w, 1000, 0, 1000, 1 << 20), 0);
	assert_int_equal(water_room(&w, 999, 0, 1000, 1 << 20), 0);
	assert_int_equal(water_room(&w, 501, 0, 1000, 1 << 20), 0);
	assert_int_equal(water_room(&w, 500, 0, 1000, 1 << 20), 500);
	assert_int_equal(water_room(&w, 700, 0, 1000, 1 << 20), 300);
}

static void bytes_count_as_well_as_jobs(void **state)
{
	struct water w = { .ebbing = false };

	(void)state;
	assert_int_equal(water_room(&w, 10, 1 << 20, 1000, 1 << 20), 0);
	assert_int_equal(water_room(&w, 10, 600000, 1000, 1 << 20), 0);
	assert_int_equal(water_room(&w, 10, 500000, 1000, 1 << 20), 990);
}

static void a_backlog_of_one_is_possible(void **state)
{
	struct water w = { .ebbing = false };

	(void)state;
	assert_int_equal(water_room(&w, 0, 0, 1, 1 << 20), 1);
	assert_int_equal(water_room(&w, 1, 0, 1, 1 << 20), 0);
	assert_int_equal(water_room(&w, 0, 0, 1, 1 << 20), 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_grow_while_it_is_fast_and_stop_at_the_ceiling),
		cmocka_unit_test(sparse_windows_grow_until_they_fill_batches),
		cmocka_unit_test(slow_windows_shrink_to_the_least_and_no_further),
		cmocka_unit_test(halving_ends_at_the_floor),
		cmocka_unit_test(what_is_found_is_bounded_in_bytes),
		cmocka_unit_test(pushing_stops_at_high_water_and_goes_on_at_low_water),
		cmocka_unit_test(bytes_count_as_well_as_jobs),
		cmocka_unit_test(a_backlog_of_one_is_possible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
