/*
 * test_text.c - strict reading and friendly writing of values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/text.h"

static void whole_numbers_are_read_strictly(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t want;
	} rows[] = {
		{ "0", 0, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "007", 0, 7 },
		{ "18446744073709551616", ST_INPUT, 0 },
		{ "99999999999999999999999", ST_INPUT, 0 },
		{ "", ST_INPUT, 0 },
		{ " 1", ST_INPUT, 0 },
		{ "1 ", ST_INPUT, 0 },
		{ "-1", ST_INPUT, 0 },
		{ "+1", ST_INPUT, 0 },
		{ "0x10", ST_INPUT, 0 },
		{ "1e3", ST_INPUT, 0 },
		{ "1.0", ST_INPUT, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		uint64_t v = 4711;

		if (text_parse_u64(rows[i].text, 0, UINT64_MAX, &v, &err) != rows[i].rc)
			fail_msg("'%s': wrong result", rows[i].text);
		assert_true(v == (rows[i].rc == 0 ? rows[i].want : 4711));
	}
}

static void a_number_out_of_range_names_the_range(void **state)
{
	struct err err = ERR_INIT;
	uint64_t u = 0;
	int64_t i = 0;

	(void)state;
	assert_int_equal(text_parse_u64("65", 1, 64, &u, &err), ST_INPUT);
	assert_string_equal(err.msg, "'65' is out of range: 1 to 64");
	assert_int_equal(text_parse_u64("99999999999999999999", 1, 64, &u, &err), ST_INPUT);
	assert_string_equal(err.msg, "'99999999999999999999' is out of range: 1 to 64");
	assert_int_equal(text_parse_u64("abc", 1, 64, &u, &err), ST_INPUT);
	assert_string_equal(err.msg, "'abc' is not a whole number");
	assert_int_equal(text_parse_i64("-6", -5, 5, &i, &err), ST_INPUT);
	assert_string_equal(err.msg, "'-6' is out of range: -5 to 5");
}

static void signed_numbers_reach_both_ends(void **state)
{
	struct err err = ERR_INIT;
	int64_t v = 1;

	(void)state;
	assert_int_equal(text_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &v, &err), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(text_parse_i64("9223372036854775807", INT64_MIN, INT64_MAX, &v, &err), 0);
	assert_true(v == INT64_MAX);
	assert_int_equal(text_parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &v, &err), ST_INPUT);
	assert_int_equal(text_parse_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &v, &err), ST_INPUT);
	assert_int_equal(text_parse_i64("-", INT64_MIN, INT64_MAX, &v, &err), ST_INPUT);
	assert_int_equal(text_parse_i64("--1", INT64_MIN, INT64_MAX, &v, &err), ST_INPUT);
	assert_true(v == INT64_MAX);
}

static void durations_have_units_and_seconds_without(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t want;
	} rows[] = {
		{ "200ms", 0, 200 },
		{ "5s", 0, 5000 },
		{ "5", 0, 5000 },
		{ "0.2", 0, 200 },
		{ "1.5m", 0, 90000 },
		{ "2h", 0, 7200000 },
		{ "1d", 0, 86400000 },
		{ "0", 0, 0 },
		{ "1.0005", ST_INPUT, 0 },
		{ "0.5ms", ST_INPUT, 0 },
		{ "1.", ST_INPUT, 0 },
		{ ".5", ST_INPUT, 0 },
		{ "1 s", ST_INPUT, 0 },
		{ "1h30m", ST_INPUT, 0 },
		{ "-1s", ST_INPUT, 0 },
		{ "s", ST_INPUT, 0 },
		{ "5x", ST_INPUT, 0 },
		{ "9999999999999999999d", ST_INPUT, 0 },
		{ "1.99999999999999999999", ST_INPUT, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		uint64_t v = 4711;

		if (text_parse_duration_ms(rows[i].text, &v, &err) != rows[i].rc)
			fail_msg("'%s': wrong result", rows[i].text);
		if (v != (rows[i].rc == 0 ? rows[i].want : 4711))
			fail_msg("'%s': wrong value", rows[i].text);
	}
}

static void sizes_count_in_1024_as_postgresql_does(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t want;
	} rows[] = {
		{ "512", 0, 512 },          { "512B", 0, 512 },        { "64kB", 0, 65536 },    { "16MB", 0, 16777216 },
		{ "1gb", 0, 1073741824 },   { "1GiB", 0, 1073741824 }, { "1.5k", 0, 1536 },     { "2T", 0, 2199023255552 },
		{ "0.3", ST_INPUT, 0 },     { "MB", ST_INPUT, 0 },     { "1 MB", ST_INPUT, 0 }, { "99999999999T", ST_INPUT, 0 },
		{ "0.0001k", ST_INPUT, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		uint64_t v = 4711;

		if (text_parse_bytes(rows[i].text, &v, &err) != rows[i].rc || v != (rows[i].rc == 0 ? rows[i].want : 4711))
			fail_msg("'%s': wrong result", rows[i].text);
	}
}

static void rates_and_percentages(void **state)
{
	struct err err = ERR_INIT;
	double v = 0;

	(void)state;
	assert_int_equal(text_parse_rate("100/s", &v, &err), 0);
	assert_true(v == 100);
	assert_int_equal(text_parse_rate("2.5", &v, &err), 0);
	assert_true(v == 2.5);
	assert_int_equal(text_parse_rate("600/m", &v, &err), 0);
	assert_true(v == 10);
	assert_int_equal(text_parse_rate("0/s", &v, &err), ST_INPUT);
	assert_int_equal(text_parse_rate("10/x", &v, &err), ST_INPUT);
	assert_int_equal(text_parse_rate("/s", &v, &err), ST_INPUT);
	assert_int_equal(text_parse_percent("20%", &v, &err), 0);
	assert_true(v == 20);
	assert_int_equal(text_parse_percent("0.5", &v, &err), 0);
	assert_true(v == 0.5);
	assert_int_equal(text_parse_percent("100", &v, &err), 0);
	assert_int_equal(text_parse_percent("100.1%", &v, &err), ST_INPUT);
	assert_string_equal(err.msg, "'100.1%' is out of range: 0% to 100%");
	assert_int_equal(text_parse_percent("%", &v, &err), ST_INPUT);
}

static void booleans_in_the_usual_words(void **state)
{
	struct err err = ERR_INIT;
	bool v = false;

	(void)state;
	assert_int_equal(text_parse_bool("Yes", &v, &err), 0);
	assert_true(v);
	assert_int_equal(text_parse_bool("off", &v, &err), 0);
	assert_false(v);
	assert_int_equal(text_parse_bool("1", &v, &err), 0);
	assert_true(v);
	assert_int_equal(text_parse_bool("", &v, &err), ST_INPUT);
	assert_int_equal(text_parse_bool("maybe", &v, &err), ST_INPUT);
	assert_true(v);
}

static void lists_are_split_and_trimmed(void **state)
{
	struct err err = ERR_INIT;
	struct strvec l;

	(void)state;
	strvec_init(&l, 4);
	assert_int_equal(text_split("a, b c ,d", ',', &l, &err), 0);
	assert_int_equal(l.n, 3);
	assert_string_equal(l.v[1], "b c");
	assert_string_equal(l.v[2], "d");
	assert_int_equal(text_split("", ',', &l, &err), 0);
	assert_int_equal(l.n, 3);
	assert_int_equal(text_split("e,f", ',', &l, &err), ST_LIMIT);
	strvec_free(&l);
	assert_int_equal(text_split("a,,b", ',', &l, &err), ST_INPUT);
	assert_string_equal(err.msg, "'a,,b' has an empty item");
	strvec_free(&l);
	assert_int_equal(text_split("a,", ',', &l, &err), ST_INPUT);
	strvec_free(&l);
}

static void duration_lists_are_read_whole_or_not_at_all(void **state)
{
	struct err err = ERR_INIT;
	uint64_t ms[3] = { 7, 7, 7 };
	size_t n = 0;

	(void)state;
	assert_int_equal(text_parse_duration_list_ms("1,5,30", ms, 3, &n, &err), 0);
	assert_int_equal(n, 3);
	assert_true(ms[0] == 1000 && ms[1] == 5000 && ms[2] == 30000);
	assert_int_equal(text_parse_duration_list_ms("2s,x", ms, 3, &n, &err), ST_INPUT);
	assert_true(ms[0] == 1000);
	assert_int_equal(text_parse_duration_list_ms("1,2,3,4", ms, 3, &n, &err), ST_LIMIT);
	assert_int_equal(text_parse_duration_list_ms("", ms, 3, &n, &err), ST_INPUT);
	assert_int_equal(text_parse_duration_list_ms("500ms, 1m", ms, 3, &n, &err), 0);
	assert_true(n == 2 && ms[0] == 500 && ms[1] == 60000);
}

static void the_nearest_word_is_what_was_meant(void **state)
{
	static const char *const words[] = { "produce", "status",       "verify",  "pause", "resume",
					     "retry",   "--batch-size", "--limit", "-q",    NULL };
	static const struct {
		const char *word;
		const char *want;
	} rows[] = {
		{ "produse", "produce" },
		{ "prodcue", "produce" },
		{ "prod", "produce" },
		{ "STATUS", "status" },
		{ "verfy", "verify" },
		{ "puase", "pause" },
		{ "resmue", "resume" },
		{ "--batchsize", "--batch-size" },
		{ "--limt", "--limit" },
		{ "--batch", "--batch-size" },
		{ "x", NULL },
		{ "frobnicate", NULL },
		{ "--xyzzy", NULL },
		{ "", NULL },
		{ "--", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *got = text_nearest(rows[i].word, words);

		if (rows[i].want == NULL ? got != NULL : got == NULL || strcmp(got, rows[i].want) != 0)
			fail_msg("'%s' became '%s'", rows[i].word, got != NULL ? got : "nothing");
	}
}

static void numbers_are_written_for_people(void **state)
{
	(void)state;
	assert_string_equal(text_human_rows(0).s, "0");
	assert_string_equal(text_human_rows(999).s, "999");
	assert_string_equal(text_human_rows(12345).s, "12,345");
	assert_string_equal(text_human_rows(UINT64_MAX).s, "18,446,744,073,709,551,615");
	assert_string_equal(text_human_duration(85).s, "85ms");
	assert_string_equal(text_human_duration(3000).s, "3s");
	assert_string_equal(text_human_duration(3240).s, "3.2s");
	assert_string_equal(text_human_duration(9999).s, "9.9s");
	assert_string_equal(text_human_duration(59999).s, "59s");
	assert_string_equal(text_human_duration(200000).s, "3m 20s");
	assert_string_equal(text_human_guess(6400).s, "6s");
	assert_string_equal(text_human_guess(110000).s, "2m");
	assert_string_equal(text_human_guess(7ull * 3600000).s, "7h");
	assert_string_equal(text_human_guess(72ull * 3600000).s, "3d");
	assert_string_equal(text_human_duration(60000).s, "1m");
	assert_string_equal(text_human_duration(7500000).s, "2h 5m");
	assert_string_equal(text_human_duration(4 * 86400000ull + 3 * 3600000).s, "4d 3h");
	assert_string_equal(text_human_bytes(512).s, "512 B");
	assert_string_equal(text_human_bytes(1536).s, "1.5 kB");
	assert_string_equal(text_human_bytes(2048).s, "2 kB");
	assert_string_equal(text_human_bytes(20u << 20).s, "20 MB");
	assert_string_equal(text_human_bytes((1u << 20) - 1).s, "1 MB");
	assert_string_equal(text_human_bytes(UINT64_MAX).s, "16 EB");
	assert_string_equal(text_human_rate(1234.4).s, "1,234/s");
	assert_string_equal(text_human_rate(3.51).s, "3.5/s");
	assert_string_equal(text_human_rate(0).s, "0/s");
	assert_string_equal(text_human_rate(0.05).s, "3/min");
	assert_string_equal(text_human_rate(0.001).s, "4/h");
}

static void a_percentage_is_never_more_than_the_truth(void **state)
{
	(void)state;
	assert_string_equal(text_human_percent(0).s, "0%");
	assert_string_equal(text_human_percent(0.0001).s, "<0.1%");
	assert_string_equal(text_human_percent(0.0567).s, "5.6%");
	assert_string_equal(text_human_percent(0.439).s, "43%");
	assert_string_equal(text_human_percent(0.99999).s, "99.9%");
	assert_string_equal(text_human_percent(1).s, "100%");
}

static void wall_time_is_iso_8601_in_utc(void **state)
{
	(void)state;
	assert_string_equal(text_iso8601(1714564800123).s, "2024-05-01T12:00:00.123Z");
	assert_string_equal(text_iso8601(0).s, "1970-01-01T00:00:00.000Z");
	assert_string_equal(text_iso8601(-1).s, "1969-12-31T23:59:59.999Z");
}

static void utf8_is_judged_by_the_standard(void **state)
{
	static const struct {
		const char *bytes;
		bool want;
	} rows[] = {
		{ "", true },
		{ "plain", true },
		{ "Gr\xC3\xBC\xC3\x9F"
		  "e",
		  true },
		{ "\xE2\x82\xAC\xF0\x9F\x90\x91", true },
		{ "\xF4\x8F\xBF\xBF", true },
		{ "\xC0\x80", false },         /* overlong NUL */
		{ "\xE0\x80\xAF", false },     /* overlong */
		{ "\xED\xA0\x80", false },     /* surrogate */
		{ "\xF4\x90\x80\x80", false }, /* above U+10FFFF */
		{ "\xE2\x82", false },         /* cut */
		{ "\x80", false },             /* lone continuation */
		{ "\xFF", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (text_utf8_valid(rows[i].bytes, strlen(rows[i].bytes)) != rows[i].want)
			fail_msg("row %zu", i);
	assert_true(text_utf8_valid("a\0b", 3));
}

static void width_counts_columns_not_bytes(void **state)
{
	(void)state;
	assert_int_equal(text_display_width("abc"), 3);
	assert_int_equal(text_display_width("Gr\xC3\xBC\xC3\x9F"
					    "e"),
			 5);
	assert_int_equal(text_display_width("\xE6\xBC\xA2\xE5\xAD\x97"), 4); /* two Han characters */
	assert_int_equal(text_display_width("e\xCC\x81"), 1);                /* e, combining acute */
	assert_int_equal(text_display_width("\xF0\x9F\x90\x91"), 2);         /* sheep */
	assert_int_equal(text_display_width("a\xFFz"), 3);
}

static void clipping_keeps_whole_characters(void **state)
{
	static const struct {
		const char *text;
		size_t columns;
		const char *want;
		size_t used;
	} rows[] = {
		{ "abcdef", 6, "abcdef", 6 },
		{ "abcdef", 5, "abcd\xE2\x80\xA6", 5 },
		{ "abcdef", 1, "\xE2\x80\xA6", 1 },
		{ "abcdef", 0, "", 0 },
		{ "\xE6\xBC\xA2\xE5\xAD\x97", 3, "\xE6\xBC\xA2\xE2\x80\xA6", 3 },
		{ "\xE6\xBC\xA2\xE5\xAD\x97\xE5\xAD\x97", 4, "\xE6\xBC\xA2\xE2\x80\xA6", 3 }, /* a wide one is not halved */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(buf_free) struct buf out = BUF_INIT(100);

		assert_int_equal(text_add_clipped(&out, rows[i].text, rows[i].columns), rows[i].used);
		assert_string_equal(out.data, rows[i].want);
	}
}

static void printable_text_cannot_move_the_cursor(void **state)
{
	CLEANUP(buf_free) struct buf out = BUF_INIT(1000);

	(void)state;
	assert_int_equal(text_add_printable(&out, "a\nb\tc\rd\x1b[2Je\x7F\xC2\x9B\xE2\x80\xAEg\xFFh\xC3\xBC"), 0);
	assert_string_equal(out.data, "a\\nb\\tc\\rd\\x1b[2Je\\x7f\\x9b\\u202eg\xEF\xBF\xBDh\xC3\xBC");
}

static void json_strings_are_escaped(void **state)
{
	CLEANUP(buf_free) struct buf out = BUF_INIT(1000);

	(void)state;
	text_add_json(&out, "say \"hi\"\\\n\x01\xC3\xBC\xFF");
	assert_string_equal(out.data, "\"say \\\"hi\\\"\\\\\\n\\u0001\xC3\xBC\xEF\xBF\xBD\"");
	buf_reset(&out);
	text_add_json(&out, NULL);
	assert_string_equal(out.data, "null");
	/* A terminal obeys these in JSON as well. */
	buf_reset(&out);
	text_add_json(&out, "\x7F\xC2\x9B\xE2\x80\xA8\xE2\x80\xAE");
	assert_string_equal(out.data, "\"\\u007f\\u009b\\u2028\\u202e\"");
	buf_reset(&out);
	text_add_json_line(&out, "{\"a\":\n\t\"\xC2\x9B\xC3\xBC\"}");
	assert_string_equal(out.data, "{\"a\":  \"\\u009b\xC3\xBC\"}");
}

static void json_numbers_are_told_from_others(void **state)
{
	static const char *const yes[] = { "0", "-1", "12345678901234567890", "1.5", "-0.25", "1e10", "1E-3", "2.5e+7" };
	static const char *const no[] = { "", "-", "007", "+1", ".5", "1.", "NaN", "Infinity", "1e", "0x10", "1 ", "--1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (!text_is_json_number(yes[i]))
			fail_msg("'%s' is one", yes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (text_is_json_number(no[i]))
			fail_msg("'%s' is none", no[i]);
}

static void text_is_wrapped_at_blanks(void **state)
{
	CLEANUP(buf_free) struct buf out = BUF_INIT(1000);

	(void)state;
	text_add_wrapped(&out, "the quick brown fox jumps\nover averyveryverylongword end", 2, 14);
	assert_string_equal(out.data, "  the quick\n  brown fox\n  jumps\n  over\n  averyveryverylongword\n  end");
}

static void a_word_too_long_for_any_line_is_cut_between_characters(void **state)
{
	CLEANUP(buf_free) struct buf word = BUF_INIT(1000);
	CLEANUP(buf_free) struct buf out = BUF_INIT(2000);

	(void)state;
	for (int i = 0; i < 400; i++)
		buf_puts(&word, "\xC3\xBC");
	text_add_wrapped(&out, word.data, 0, 80);
	assert_true(text_utf8_valid(out.data, out.len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_numbers_are_read_strictly),
		cmocka_unit_test(a_number_out_of_range_names_the_range),
		cmocka_unit_test(signed_numbers_reach_both_ends),
		cmocka_unit_test(durations_have_units_and_seconds_without),
		cmocka_unit_test(sizes_count_in_1024_as_postgresql_does),
		cmocka_unit_test(rates_and_percentages),
		cmocka_unit_test(booleans_in_the_usual_words),
		cmocka_unit_test(lists_are_split_and_trimmed),
		cmocka_unit_test(duration_lists_are_read_whole_or_not_at_all),
		cmocka_unit_test(the_nearest_word_is_what_was_meant),
		cmocka_unit_test(numbers_are_written_for_people),
		cmocka_unit_test(a_percentage_is_never_more_than_the_truth),
		cmocka_unit_test(wall_time_is_iso_8601_in_utc),
		cmocka_unit_test(utf8_is_judged_by_the_standard),
		cmocka_unit_test(width_counts_columns_not_bytes),
		cmocka_unit_test(clipping_keeps_whole_characters),
		cmocka_unit_test(printable_text_cannot_move_the_cursor),
		cmocka_unit_test(json_strings_are_escaped),
		cmocka_unit_test(json_numbers_are_told_from_others),
		cmocka_unit_test(text_is_wrapped_at_blanks),
		cmocka_unit_test(a_word_too_long_for_any_line_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
