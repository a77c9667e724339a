/*
 * test_log.c - one line per event, which no value can forge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>

#include <jansson.h>

#include "core/log.h"

static char last[LOG_LINE_MAX * 2];
static unsigned lines;

static void keep(void *arg, const char *line)
{
	(void)arg;
	snprintf(last, sizeof(last), "%s", line);
	lines++;
}

static int set_up(void **state)
{
	(void)state;
	log_setup(LOG_DEBUG, LOG_KV);
	log_redirect(keep, NULL);
	last[0] = '\0';
	lines = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_redirect(NULL, NULL);
	return 0;
}

/* The line behind its time. */
static const char *body(void)
{
	assert_true(strlen(last) > 25);
	assert_int_equal(last[23], 'Z');
	return last + 25;
}

static void a_line_is_time_level_event_and_pairs(void **state)
{
	(void)state;
	log_warn("job.retry", "job=%s attempt=%u delay_ms=%" PRIu64, "pages/7", 3u, (uint64_t)1500);
	assert_string_equal(body(), "warn  job.retry job=pages/7 attempt=3 delay_ms=1500");
}

static void values_with_blanks_are_quoted_whoever_does_it(void **state)
{
	(void)state;
	log_info("x", "a='%s' b=%s c='fixed text' d=%s", "one two", "three four", "");
	assert_string_equal(body(), "info  x a='one two' b='three four' c='fixed text' d=''");
	log_info("x", "a='%s'", "plain");
	assert_string_equal(body(), "info  x a=plain");
}

static void a_value_cannot_forge_a_key_or_a_line(void **state)
{
	(void)state;
	log_info("x", "cause='%s' job=7", "it's' job=8\n2024 error y\x1b[2J \\");
	assert_string_equal(body(), "info  x cause='it\\'s\\' job=8\\n2024 error y\\x1b[2J \\\\' job=7");
	log_info("x", "name=%s job=7", "a=b");
	assert_string_equal(body(), "info  x name='a=b' job=7");
}

static void several_conversions_make_one_value(void **state)
{
	(void)state;
	log_info("x", "at=%s:%d share=%.1f%% hex=%08x", "host", 5432, 12.34, 255u);
	assert_string_equal(body(), "info  x at=host:5432 share=12.3% hex=000000ff");
}

static void every_length_of_integer_is_read(void **state)
{
	(void)state;
	log_info("x", "a=%hhd b=%hd c=%d d=%ld e=%lld f=%zu g=%jd h=%c i=%s", (signed char)-1, (short)-2, -3, -4L, -5LL, (size_t)6,
		 (intmax_t)7, 'c', (const char *)"end");
	assert_string_equal(body(), "info  x a=-1 b=-2 c=-3 d=-4 e=-5 f=6 g=7 h=c i=end");
	log_info("x", "a=%.*s b=%*d c=%-5d.", 3, "abcdef", 4, 7, 8);
	assert_string_equal(body(), "info  x a=abc b='   7' c='8    .'");
}

static void words_without_a_key_are_the_message(void **state)
{
	(void)state;
	log_info("worker.start", "listening on %s port=%d now", "all addresses", 80);
	assert_string_equal(body(), "info  worker.start port=80 msg='listening on all addresses now'");
	log_info("worker.stop", "%s", "");
	assert_string_equal(body(), "info  worker.stop");
}

static void lower_levels_are_dropped(void **state)
{
	(void)state;
	log_setup_named("warn", "kv");
	log_info("x", "a=%d", 1);
	assert_int_equal(lines, 0);
	log_warn("x", "a=%d", 1);
	log_error("x", "a=%d", 1);
	assert_int_equal(lines, 2);
	log_setup_named("nonsense", NULL);
	log_info("x", "a=%d", 1);
	assert_int_equal(lines, 2);
}

static void json_lines_parse_and_keep_types(void **state)
{
	json_t *line;

	(void)state;
	log_setup(LOG_DEBUG, LOG_JSON);
	log_error("job.bury", "job=%s rows=%d share=%.2f code=%03d pair=%d/%d cause='%s'", "7", -12, 0.5, 7, 1, 2, "bad \"row\"\n\xFF");
	line = json_loads(last, 0, NULL);
	assert_non_null(line);
	assert_string_equal(json_string_value(json_object_get(line, "level")), "error");
	assert_string_equal(json_string_value(json_object_get(line, "event")), "job.bury");
	assert_string_equal(json_string_value(json_object_get(line, "job")), "7");
	assert_int_equal(json_integer_value(json_object_get(line, "rows")), -12);
	assert_true(json_real_value(json_object_get(line, "share")) == 0.5);
	assert_string_equal(json_string_value(json_object_get(line, "code")), "007");
	assert_string_equal(json_string_value(json_object_get(line, "pair")), "1/2");
	assert_string_equal(json_string_value(json_object_get(line, "cause")), "bad \"row\"\n\xEF\xBF\xBD");
	json_decref(line);
}

static void a_line_fits_in_one_piece_of_a_pipe(void **state)
{
	static char big[20000];
	json_t *line;

	(void)state;
	memset(big, '\x01', sizeof(big) - 1);
	log_info("x", "a=%s b=%s c=%d", big, big, 5);
	assert_true(strlen(last) < LOG_LINE_MAX);
	assert_non_null(strstr(last, "truncated=true"));
	assert_non_null(strstr(last, " c=5"));
	memset(big, 'y', sizeof(big) - 1);
	log_setup(LOG_DEBUG, LOG_JSON);
	log_info("x", "a=%s b=%s c=%s d=%s e=%s", big, big, big, big, big);
	assert_true(strlen(last) < LOG_LINE_MAX);
	line = json_loads(last, 0, NULL);
	assert_non_null(line);
	assert_true(json_is_true(json_object_get(line, "truncated")));
	json_decref(line);
}

static void logging_leaves_errno_alone(void **state)
{
	(void)state;
	errno = ENOSPC;
	log_info("x", "a=%s", "b");
	assert_int_equal(errno, ENOSPC);
}

static void a_null_string_is_not_a_crash(void **state)
{
	const char *volatile none = NULL;

	(void)state;
	log_info("x", "a=%s", none);
	assert_string_equal(body(), "info  x a=null");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_line_is_time_level_event_and_pairs),
		T(values_with_blanks_are_quoted_whoever_does_it),
		T(a_value_cannot_forge_a_key_or_a_line),
		T(several_conversions_make_one_value),
		T(every_length_of_integer_is_read),
		T(words_without_a_key_are_the_message),
		T(lower_levels_are_dropped),
		T(json_lines_parse_and_keep_types),
		T(a_line_fits_in_one_piece_of_a_pipe),
		T(logging_leaves_errno_alone),
		T(a_null_string_is_not_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
