/*
 * test_progress.c - how far, how fast, how long still, with a clock turned by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include <jansson.h>

#include "cli/progress.h"
#include "core/text.h"

/* @rows_per_s for @seconds in steps of 500 ms, of @total rows. */
static void run(struct progress *p, uint64_t *now_ms, uint64_t *done, uint64_t total, uint64_t rows_per_s, unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 2; i++) {
		*now_ms += 500;
		*done += rows_per_s / 2;
		progress_update(p, *now_ms, &(struct progress_counts){ .done = *done, .total = total, .share = -1 });
	}
}

struct fixture {
	struct progress p;
	uint64_t now_ms, done;
};

static void start(struct fixture *f, uint64_t total, uint64_t done)
{
	*f = (struct fixture){ .now_ms = 1000000, .done = done };
	progress_init(&f->p, "pages", f->now_ms);
	progress_update(&f->p, f->now_ms, &(struct progress_counts){ .done = done, .total = total, .share = -1 });
}

static void a_steady_run_has_a_narrow_range(void **state)
{
	struct progress_eta eta;
	struct fixture f;

	(void)state;
	start(&f, 100000, 0);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 40);
	assert_true(progress_rate(&f.p) > 999 && progress_rate(&f.p) < 1001);
	eta = progress_eta(&f.p);
	assert_true(eta.known && !eta.open);
	assert_in_range(eta.low_ms, 59900, 60100);
	assert_in_range(eta.high_ms, 59900, 60100);
}

static void an_uneven_run_has_a_range_from_its_windows(void **state)
{
	struct progress_eta eta;
	struct fixture f;

	(void)state;
	start(&f, 100000, 0);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 15);
	run(&f.p, &f.now_ms, &f.done, 100000, 500, 15);
	eta = progress_eta(&f.p);
	assert_true(eta.known && !eta.open);
	assert_in_range(eta.low_ms, 77000, 78000);    /* 77,500 rows at 1,000/s */
	assert_in_range(eta.high_ms, 154000, 156000); /* at 500/s */
}

static void old_windows_are_forgotten(void **state)
{
	struct progress_eta eta;
	struct fixture f;

	(void)state;
	start(&f, 1000000, 0);
	run(&f.p, &f.now_ms, &f.done, 1000000, 10000, 30);
	run(&f.p, &f.now_ms, &f.done, 1000000, 1000, PROGRESS_WINDOWS * PROGRESS_WINDOW_MS / 1000);
	eta = progress_eta(&f.p);
	assert_in_range(eta.low_ms, 669000, 671000);
	assert_in_range(eta.high_ms, 669000, 671000);
}

static void a_stop_leaves_no_upper_end(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(1000);
	struct progress_eta eta;
	struct fixture f;

	(void)state;
	start(&f, 100000, 0);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 10);
	run(&f.p, &f.now_ms, &f.done, 100000, 0, 10);
	eta = progress_eta(&f.p);
	assert_true(eta.known && eta.open);
	progress_render(&f.p, 0, false, &b);
	assert_non_null(strstr(b.data, "more than "));
	start(&f, 100000, 0);
	run(&f.p, &f.now_ms, &f.done, 100000, 0, 20);
	assert_false(progress_eta(&f.p).known);
}

static void nothing_is_promised_at_first(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 100000, 0);
	assert_true(progress_rate(&f.p) == 0);
	assert_false(progress_eta(&f.p).known);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 5);
	assert_false(progress_eta(&f.p).known);
	assert_true(progress_rate(&f.p) > 0);
}

static void rows_of_an_earlier_run_are_no_speed_of_this_one(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 100000, 50000);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 1);
	assert_true(progress_rate(&f.p) < 1001);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 9);
	assert_true(progress_rate(&f.p) < 1001);
	assert_in_range(progress_eta(&f.p).low_ms, 39000, 41000);
}

static void a_share_that_is_known_better_is_taken_and_falls_only_far(void **state)
{
	struct progress p;

	(void)state;
	progress_init(&p, "pages", 0);
	progress_update(&p, 0, &(struct progress_counts){ .done = 10, .total = 100, .share = 0.5 });
	assert_true(p.share == 0.5);
	progress_update(&p, 100, &(struct progress_counts){ .done = 10, .total = 100, .share = 0.48 });
	assert_true(p.share == 0.5);
	progress_update(&p, 150, &(struct progress_counts){ .done = 10, .total = 100, .share = 0.4 });
	assert_true(p.share == 0.4);
	progress_update(&p, 200, &(struct progress_counts){ .done = 500, .total = 100, .share = -1 });
	assert_true(p.share == 1);
	assert_true(progress_eta(&p).known && progress_eta(&p).high_ms == 0);
}

static void a_halt_has_no_pace_and_is_none_of_what_comes_after(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(1000);
	struct fixture f;

	(void)state;
	start(&f, 100000, 0);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 20);
	for (unsigned i = 0; i < 600; i++) {
		f.now_ms += 500;
		progress_update(&f.p, f.now_ms,
				&(struct progress_counts){
					.done = f.done, .total = 100000, .share = -1, .note = "paused", .halted = true });
		assert_false(progress_eta(&f.p).known);
	}
	progress_render(&f.p, 0, false, &b);
	assert_string_equal(b.data, "pages 20%  20,000 of ~100,000 rows  paused");
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 10);
	assert_true(progress_rate(&f.p) > 999 && progress_rate(&f.p) < 1001);
	assert_false(progress_eta(&f.p).open);
}

static void an_unknown_total_shows_rows_and_rate_alone(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(1000);
	struct fixture f;

	(void)state;
	start(&f, 0, 0);
	run(&f.p, &f.now_ms, &f.done, 0, 1000, 20);
	progress_render(&f.p, 80, false, &b);
	assert_string_equal(b.data, "pages  20,000 rows  1,000/s");
}

static struct progress busy(void)
{
	struct fixture f;

	start(&f, 100000, 0);
	run(&f.p, &f.now_ms, &f.done, 100000, 1000, 40);
	progress_update(&f.p, f.now_ms,
			&(struct progress_counts){
				.done = 40000, .total = 100000, .share = -1, .failed = 3, .note = "waits for the backlog" });
	return f.p;
}

static void the_line_on_a_terminal_has_a_bar(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(1000);
	struct progress p = busy();

	(void)state;
	progress_render(&p, 140, false, &b);
	assert_string_equal(b.data,
			    "pages [============>                 ] 40%  40,000 of ~100,000 rows  1,000/s  about 60s left  3 failed  "
			    "waits for the backlog");
	buf_reset(&b);
	progress_render(&p, 0, false, &b);
	assert_string_equal(b.data, "pages 40%  40,000 of ~100,000 rows  1,000/s  about 60s left  3 failed  waits for the backlog");
}

static void the_line_never_gets_wider_than_the_terminal(void **state)
{
	struct progress p = busy();

	(void)state;
	for (unsigned width = 1; width < 200; width++) {
		CLEANUP(buf_free) struct buf b = BUF_INIT(1000);

		progress_render(&p, width, false, &b);
		if (text_display_width(b.data) > width)
			fail_msg("%u: '%s'", width, b.data);
	}
}

static void colour_takes_no_columns(void **state)
{
	struct progress p = busy();

	(void)state;
	for (unsigned width = 20; width < 150; width++) {
		CLEANUP(buf_free) struct buf plain = BUF_INIT(1000);
		CLEANUP(buf_free) struct buf color = BUF_INIT(2000);
		CLEANUP(buf_free) struct buf stripped = BUF_INIT(2000);

		progress_render(&p, width, false, &plain);
		progress_render(&p, width, true, &color);
		for (const char *s = color.data; *s != '\0'; s++) {
			if (*s == '\033')
				s += strcspn(s, "m");
			else
				buf_putc(&stripped, *s);
		}
		assert_string_equal(stripped.data, plain.data);
	}
}

static void json_says_the_same(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(2000);
	struct progress p = busy();
	json_t *root, *o;

	(void)state;
	progress_render_json(&p, &b);
	assert_null(strchr(b.data, '\n'));
	root = json_loads(b.data, 0, NULL);
	assert_non_null(root);
	o = json_object_get(root, "progress");
	assert_int_equal(json_integer_value(json_object_get(o, "done")), 40000);
	assert_int_equal(json_integer_value(json_object_get(o, "failed")), 3);
	assert_in_range(json_integer_value(json_object_get(o, "eta_high_ms")), 59000, 61000);
	assert_string_equal(json_string_value(json_object_get(o, "note")), "waits for the backlog");
	json_decref(root);
}

/* ------------------------------------------------------------ showing it */

static unsigned count(const char *text, char c)
{
	unsigned n = 0;

	for (; *text != '\0'; text++)
		n += *text == c;
	return n;
}

/* Ten seconds with an update every 10 ms. */
static void ten_seconds(struct progress_view *v, struct progress *p)
{
	progress_init(p, "pages", 5000);
	for (uint64_t now = 5000; now <= 15000; now += 10) {
		progress_update(p, now, &(struct progress_counts){ .done = now - 5000, .total = 10000, .share = -1 });
		progress_view_show(v, p);
	}
	progress_view_finish(v, p);
}

static void a_terminal_is_redrawn_ten_times_a_second_at_most(void **state)
{
	struct progress_view v = { .mode = PROGRESS_TERMINAL, .width = 80, .interval_ms = 100 };
	struct progress p;
	char *text = NULL;
	size_t size;

	(void)state;
	v.file = open_memstream(&text, &size);
	ten_seconds(&v, &p);
	assert_in_range(count(text, '\r'), 90, 102);
	assert_int_equal(count(text, '\n'), 1);
	assert_string_equal(text + strlen(text) - 4, "\033[K\n");
	fclose(v.file);
	free(text);
}

static void without_a_terminal_a_line_comes_now_and_then(void **state)
{
	struct progress_view v = { .mode = PROGRESS_PLAIN, .interval_ms = 5000 };
	struct progress p;
	char *text = NULL;
	size_t size;

	(void)state;
	v.file = open_memstream(&text, &size);
	ten_seconds(&v, &p);
	assert_int_equal(count(text, '\n'), 3);
	assert_int_equal(count(text, '\r') + count(text, '\033'), 0);
	assert_non_null(strstr(text, "pages 100%  10,000 rows"));
	fclose(v.file);
	free(text);
}

static void without_a_terminal_the_same_line_comes_once_a_minute(void **state)
{
	struct progress_view v = { .mode = PROGRESS_PLAIN, .interval_ms = 5000 };
	struct progress p;
	char *text = NULL;
	size_t size;

	(void)state;
	v.file = open_memstream(&text, &size);
	progress_init(&p, "pages", 5000);
	for (uint64_t now = 5000; now <= 200000; now += 100) {
		const char *note = now < 150000 ? "no worker is alive" : "backlog full";

		progress_update(&p, now, &(struct progress_counts){ .done = 100, .total = 1000, .share = -1, .note = note });
		progress_view_show(&v, &p);
	}
	fflush(v.file);
	assert_int_equal(count(text, '\n'), 4); /* at 10, 70 and 130 s, and what is new at 150 s */
	fclose(v.file);
	free(text);
}

static void silence_is_kept_when_it_is_wanted(void **state)
{
	struct progress_view v = { .mode = PROGRESS_SILENT, .interval_ms = 100 };
	struct progress p;
	char *text = NULL;
	size_t size;

	(void)state;
	v.file = open_memstream(&text, &size);
	ten_seconds(&v, &p);
	fflush(v.file);
	assert_int_equal(size, 0);
	fclose(v.file);
	free(text);
}

static void the_line_is_cleared_for_other_output_and_drawn_again(void **state)
{
	struct progress_view v = { .mode = PROGRESS_TERMINAL, .width = 80, .interval_ms = 100 };
	struct progress p = busy();
	char *text = NULL;
	size_t size;

	(void)state;
	v.file = open_memstream(&text, &size);
	progress_view_clear(&v);
	fflush(v.file);
	assert_int_equal(size, 0);
	progress_view_show(&v, &p);
	progress_view_clear(&v);
	assert_string_equal(text + strlen(text) - 4, "\r\033[K");
	progress_view_show(&v, &p);
	assert_true(v.line_open);
	fclose(v.file);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_steady_run_has_a_narrow_range),
		cmocka_unit_test(an_uneven_run_has_a_range_from_its_windows),
		cmocka_unit_test(old_windows_are_forgotten),
		cmocka_unit_test(a_stop_leaves_no_upper_end),
		cmocka_unit_test(nothing_is_promised_at_first),
		cmocka_unit_test(rows_of_an_earlier_run_are_no_speed_of_this_one),
		cmocka_unit_test(a_share_that_is_known_better_is_taken_and_falls_only_far),
		cmocka_unit_test(a_halt_has_no_pace_and_is_none_of_what_comes_after),
		cmocka_unit_test(an_unknown_total_shows_rows_and_rate_alone),
		cmocka_unit_test(the_line_on_a_terminal_has_a_bar),
		cmocka_unit_test(the_line_never_gets_wider_than_the_terminal),
		cmocka_unit_test(colour_takes_no_columns),
		cmocka_unit_test(json_says_the_same),
		cmocka_unit_test(a_terminal_is_redrawn_ten_times_a_second_at_most),
		cmocka_unit_test(without_a_terminal_a_line_comes_now_and_then),
		cmocka_unit_test(without_a_terminal_the_same_line_comes_once_a_minute),
		cmocka_unit_test(silence_is_kept_when_it_is_wanted),
		cmocka_unit_test(the_line_is_cleared_for_other_output_and_drawn_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
