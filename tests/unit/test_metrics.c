/* Metrics: the table keeps to Prometheus's conventions, the text to its format; what a worker counts is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/util.h"
#include "http/http.h"
#include "metrics/metrics.h"
#include "metrics/metrics_private.h"
#include "worker/counts.h"

static bool ends(const char *s, const char *end)
{
	return strlen(s) >= strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}

static unsigned times(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = strstr(text, what); p != NULL; p = strstr(p + 1, what))
		n++;
	return n;
}

/* ------------------------------------------------------------ the table */

static void names_keep_to_the_conventions(void **state)
{
	(void)state;
	for (int m = 0; m < METRIC_NR; m++) {
		const struct metrics_row *row = &metrics_table[m];

		if (strncmp(row->name, "drover_", 7) != 0 && strncmp(row->name, "process_", 8) != 0)
			fail_msg("%s: no prefix", row->name);
		if (strspn(row->name, "abcdefghijklmnopqrstuvwxyz_") != strlen(row->name))
			fail_msg("%s: a name is small letters", row->name);
		if ((row->type == METRICS_COUNTER) != ends(row->name, "_total"))
			fail_msg("%s: counters, and they alone, end in _total", row->name);
		if (strspn(row->labels, "abcdefghijklmnopqrstuvwxyz_,") != strlen(row->labels))
			fail_msg("%s: labels are small letters, parted by commas", row->name);
		if (row->help[0] == '\0' || strpbrk(row->help, "\\\n") != NULL || !ends(row->help, "."))
			fail_msg("%s: its help is not a plain sentence", row->name);
		for (int other = 0; other < m; other++)
			if (strcmp(metrics_table[other].name, row->name) == 0)
				fail_msg("%s is declared twice", row->name);
	}
}

static void the_page_has_every_metric_once(void **state)
{
	struct buf page = BUF_INIT(1 << 20);

	(void)state;
	metrics_markdown(&page);
	assert_true(buf_ok(&page));
	for (int m = 0; m < METRIC_NR; m++) {
		char cell[100];

		snprintf(cell, sizeof(cell), "\n| `%s` |", metrics_table[m].name);
		assert_int_equal(times(page.data, cell), 1);
	}
	buf_free(&page);
}

/* ------------------------------------------------------------ the text */

static void values_of_labels_are_escaped(void **state)
{
	struct metrics_text t = METRICS_TEXT_INIT;

	(void)state;
	metrics_add(&t, METRIC_JOBS, 1, "a\"b\\c\nd{}", "\xc3\xa9");
	metrics_add(&t, METRIC_JOBS, 2, "broken \xff", "");
	assert_non_null(strstr(t.out.data, "drover_jobs_total{migration=\"a\\\"b\\\\c\\nd{}\",outcome=\"\xc3\xa9\"} 1\n"));
	assert_non_null(strstr(t.out.data, "drover_jobs_total{migration=\"broken ?\",outcome=\"\"} 2\n"));
	assert_int_equal(times(t.out.data, "# HELP"), 1);
	assert_int_equal(times(t.out.data, "# TYPE drover_jobs_total counter\n"), 1);
	metrics_text_free(&t);
}

static void numbers_are_short_and_exact(void **state)
{
	static const struct {
		double value;
		const char *text;
	} rows[] = { { 0, " 0\n" },
		     { 1, " 1\n" },
		     { 4503599627370497.0, " 4503599627370497\n" },
		     { 0.1, " 0.1\n" },
		     { -1.5, " -1.5\n" },
		     { 1.0 / 3, " 0.3333333333333333" },
		     { 1e300, " 1e+300\n" },
		     { 1763000000.25, " 1763000000.25\n" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct metrics_text t = METRICS_TEXT_INIT;

		metrics_add(&t, METRIC_LOOK_AGE, rows[i].value);
		if (strstr(t.out.data, rows[i].text) == NULL)
			fail_msg("wanted '%s' in '%s'", rows[i].text, t.out.data);
		metrics_text_free(&t);
	}
}

static void a_histogram_counts_upwards(void **state)
{
	static const double seconds[] = { 0.0005, 0.001, 0.002, 0.3, 5, 1e6 };
	struct metrics_text t = METRICS_TEXT_INIT;
	struct metrics_histogram h = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++)
		metrics_observe(&h, seconds[i]);
	metrics_add_histogram(&t, METRIC_JOB_DURATION, &h);
	assert_non_null(strstr(t.out.data, "_bucket{le=\"0.001\"} 2\n")); /* a bound belongs to its bucket */
	assert_non_null(strstr(t.out.data, "_bucket{le=\"0.0025\"} 3\n"));
	assert_non_null(strstr(t.out.data, "_bucket{le=\"0.5\"} 4\n"));
	assert_non_null(strstr(t.out.data, "_bucket{le=\"120\"} 5\n"));
	assert_non_null(strstr(t.out.data, "_bucket{le=\"+Inf\"} 6\n"));
	assert_non_null(strstr(t.out.data, "drover_job_duration_seconds_sum 1000005.3035\n"));
	assert_non_null(strstr(t.out.data, "drover_job_duration_seconds_count 6\n"));
	metrics_text_free(&t);
}

/* ------------------------------------------------------------ what a worker counts */

static unsigned samples(struct counts *c, uint64_t now_ms, const char *what)
{
	struct metrics_text t = METRICS_TEXT_INIT;
	unsigned n;

	counts_add(c, &t, now_ms);
	assert_true(buf_ok(&t.out));
	n = times(t.out.data, what);
	metrics_text_free(&t);
	return n;
}

static void a_migration_keeps_its_counts_for_a_while(void **state)
{
	struct counts c = { 0 };
	struct counts_mig *m = counts_enter(&c, "m", 1000);

	(void)state;
	m->rows_changed = 5;
	counts_leave(m, 2000);
	assert_int_equal(samples(&c, 2000 + COUNTS_KEEP_MS - 1, "{migration=\"m\",outcome=\"changed\"} 5"), 1);
	assert_ptr_equal(counts_enter(&c, "m", 3000), m); /* a pause, say */
	assert_int_equal(samples(&c, 3000 + 2 * COUNTS_KEEP_MS, "migration=\"m\",outcome=\"changed\"} 5"), 1);
	counts_leave(m, 4000);
	assert_int_equal(samples(&c, 4000 + COUNTS_KEEP_MS, "migration="), 0);
	assert_int_equal(c.nmigs, 0);
	counts_close(&c);
}

static void migrations_beyond_the_limit_count_together(void **state)
{
	struct counts c = { 0 };
	struct counts_mig *first = counts_enter(&c, "first", 1), *others, *more;
	char name[32];

	(void)state;
	for (int i = 1; i < COUNTS_MIGRATIONS; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		assert_non_null(counts_enter(&c, name, 1));
	}
	others = counts_enter(&c, "one more", 1);
	more = counts_enter(&c, "and one", 1);
	assert_ptr_equal(others, more);
	assert_string_equal(others->name, COUNTS_OTHERS);
	assert_int_equal(c.nmigs, COUNTS_MIGRATIONS + 1);
	/* Where one is gone there is room, long before it would be forgotten. */
	counts_leave(first, 2);
	counts_leave(others, 2);
	counts_leave(more, 3);
	counts_enter(&c, "x", 4);
	counts_enter(&c, "y", 4);
	assert_true(c.nmigs <= COUNTS_MIGRATIONS + 1);
	counts_close(&c);
}

static void codes_are_bounded(void **state)
{
	struct counts c = { 0 };
	char code[8];

	(void)state;
	counts_code(c.errors, "");
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 1000; i++) {
			snprintf(code, sizeof(code), "X%04d", i);
			counts_code(c.errors, code);
		}
	assert_int_equal(samples(&c, 1, "drover_errors_total{"), COUNTS_SQLSTATES + 1);
	assert_int_equal(samples(&c, 1, "drover_errors_total{sqlstate=\"lost\"} 1\n"), 1);
	assert_int_equal(samples(&c, 1, "drover_errors_total{sqlstate=\"X0000\"} 2\n"), 1);
	assert_int_equal(samples(&c, 1, "drover_errors_total{sqlstate=\"other\"} 1874\n"), 1);
	counts_close(&c);
}

/* ------------------------------------------------------------ where to listen */

static void addresses_are_read_strictly(void **state)
{
	static const struct {
		const char *text, *host; /* host NULL: refused */
		unsigned port;
	} rows[] = {
		{ "9464", "127.0.0.1", 9464 },
		{ ":9464", "127.0.0.1", 9464 },
		{ "0", "127.0.0.1", 0 },
		{ "0.0.0.0:80", "0.0.0.0", 80 },
		{ "[::1]:80", "::1", 80 },
		{ "[::]:80", "::", 80 },
		{ "*:80", "", 80 },
		{ "localhost:80", "localhost", 80 },
		{ "a.b-c:65535", "a.b-c", 65535 },
		{ "", NULL, 0 },
		{ ":", NULL, 0 },
		{ "x", NULL, 0 },
		{ "host:", NULL, 0 },
		{ "host:x", NULL, 0 },
		{ "host: 80", NULL, 0 },
		{ "host:65536", NULL, 0 },
		{ "::1:80", NULL, 0 },
		{ "[]:80", NULL, 0 },
		{ "[::1]", NULL, 0 },
		{ "[::1]80", NULL, 0 },
		{ "1:2:3", NULL, 0 },
	};
	char longer[400];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_address a = { .port = 1 };
		struct err err = ERR_INIT;
		int rc = http_address_parse(&a, rows[i].text, &err);

		if (rows[i].host == NULL) {
			if (rc != ST_USAGE || strstr(err.msg, "expected HOST:PORT") == NULL || a.port != 1)
				fail_msg("'%s' is not refused as it should be: %d '%s'", rows[i].text, rc, err.msg);
		} else if (rc != 0 || strcmp(a.host, rows[i].host) != 0 || a.port != rows[i].port) {
			fail_msg("'%s' is '%s' port %u", rows[i].text, a.host, a.port);
		}
	}
	memset(longer, 'x', sizeof(longer));
	snprintf(longer + sizeof(longer) - 4, 4, ":80");
	assert_int_equal(http_address_parse(&(struct http_address){ 0 }, longer, NULL), ST_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_keep_to_the_conventions),
		cmocka_unit_test(the_page_has_every_metric_once),
		cmocka_unit_test(values_of_labels_are_escaped),
		cmocka_unit_test(numbers_are_short_and_exact),
		cmocka_unit_test(a_histogram_counts_upwards),
		cmocka_unit_test(a_migration_keeps_its_counts_for_a_while),
		cmocka_unit_test(migrations_beyond_the_limit_count_together),
		cmocka_unit_test(codes_are_bounded),
		cmocka_unit_test(addresses_are_read_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
