/*
 * test_output.c - tables for people and JSON for programs from one description.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <inttypes.h>

#include <jansson.h>

#include "cli/output.h"
#include "core/text.h"

static enum out_style style_of_state(const char *text)
{
	return strcmp(text, "dead") == 0 ? OUT_RED : OUT_PLAIN;
}

static const struct out_column columns[] = {
	{ "id", "ID", .type = OUT_ID },
	{ "state", "STATE", OUT_STR, .style = style_of_state },
	{ "rows", "ROWS", .type = OUT_INT },
	{ "error", "ERROR", OUT_STR, .clip = true },
};

struct fixture {
	struct out out;
	char *text;
	size_t size;
	FILE *file;
};

static void start(struct fixture *f, enum out_format format, bool color, unsigned width)
{
	f->file = open_memstream(&f->text, &f->size);
	assert_non_null(f->file);
	out_init(&f->out, f->file, format, color, width);
}

static void stop(struct fixture *f)
{
	out_close(&f->out);
	fclose(f->file);
	free(f->text);
}

static void end(struct fixture *f, const char *empty)
{
	struct err err = ERR_INIT;

	if (out_end(&f->out, empty, &err) != 0)
		fail_msg("%s", err.msg);
	fflush(f->file);
}

static void two_rows(struct out *o)
{
	out_table(o, columns, ARRAY_SIZE(columns));
	out_int(o, 7);
	out_text(o, "dead");
	out_uint(o, 12345);
	out_text(o, "value too long for type character varying(10)");
	out_int(o, 1234567);
	out_text(o, "queued");
	out_null(o);
	out_text(o, NULL);
}

static void a_table_is_aligned_with_numbers_to_the_right(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, OUT_HUMAN, false, 0);
	two_rows(&f.out);
	end(&f, NULL);
	assert_string_equal(f.text, "     ID  STATE     ROWS  ERROR\n"
				    "      7  dead    12,345  value too long for type character varying(10)\n"
				    "1234567  queued       -  -\n");
	assert_int_equal(out_rows(&f.out), 2);
	stop(&f);
}

static void a_table_fits_the_terminal_by_clipping(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, OUT_HUMAN, false, 40);
	two_rows(&f.out);
	end(&f, NULL);
	assert_string_equal(f.text, "     ID  STATE     ROWS  ERROR\n"
				    "      7  dead    12,345  value too long\xE2\x80\xA6\n"
				    "1234567  queued       -  -\n");
	stop(&f);
}

static void prose_goes_below_its_row_where_there_is_no_room_beside_it(void **state)
{
	static const struct out_column texts[] = { { "name", "NAME", .type = OUT_STR },
						   { "why", "WHY", .type = OUT_STR, .below = true },
						   { "n", "N", .type = OUT_INT } };
	const char *why = "a sentence that does not fit beside the others";
	struct fixture f;

	(void)state;
	for (unsigned width = 40; width <= 80; width += 40) {
		start(&f, OUT_HUMAN, false, width);
		out_table(&f.out, texts, ARRAY_SIZE(texts));
		out_text(&f.out, "first_of_them");
		out_text(&f.out, why);
		out_int(&f.out, 1);
		out_text(&f.out, "second");
		out_null(&f.out);
		out_int(&f.out, 2);
		end(&f, NULL);
		assert_string_equal(f.text, width == 40 ? "NAME           N\n"
							  "first_of_them  1\n"
							  "    a sentence that does not fit beside\n"
							  "    the others\n"
							  "second         2\n" :
							  "NAME           WHY                                             N\n"
							  "first_of_them  a sentence that does not fit beside the others  1\n"
							  "second         -                                               2\n");
		stop(&f);
	}
	start(&f, OUT_HUMAN, false, 40);
	out_kv(&f.out, texts, ARRAY_SIZE(texts));
	out_text(&f.out, "x");
	out_text(&f.out, why);
	out_int(&f.out, 1);
	end(&f, NULL);
	assert_string_equal(f.text, "NAME  x\n"
				    "WHY   a sentence that does not fit\n"
				    "      beside the others\n"
				    "N     1\n");
	stop(&f);
}

static void without_a_column_to_clip_the_widest_text_is(void **state)
{
	static const struct out_column texts[] = { { "a", NULL, .type = OUT_STR },
						   { "b", NULL, .type = OUT_STR },
						   { "n", NULL, .type = OUT_INT } };
	struct fixture f;

	(void)state;
	start(&f, OUT_HUMAN, false, 30);
	out_table(&f.out, texts, ARRAY_SIZE(texts));
	out_text(&f.out, "short one");
	out_text(&f.out, "this is the longest of them");
	out_int(&f.out, 1000000);
	end(&f, NULL);
	assert_string_equal(f.text, "a          b                 n\n"
				    "short one  this is\xE2\x80\xA6  1,000,000\n");
	stop(&f);
}

static void colour_marks_headings_and_values_and_nothing_else_changes(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, OUT_HUMAN, true, 0);
	two_rows(&f.out);
	end(&f, NULL);
	assert_non_null(strstr(f.text, "\033[1mSTATE\033[0m   "));
	assert_non_null(strstr(f.text, "\033[31mdead\033[0m  "));
	assert_non_null(strstr(f.text, "\033[2m-\033[0m\n"));
	assert_null(strstr(f.text, "mqueued"));
	stop(&f);
}

static void json_is_an_array_of_objects_with_typed_values(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, OUT_JSON, false, 0);
	two_rows(&f.out);
	end(&f, "no rows");
	assert_string_equal(f.text,
			    "[\n"
			    "{\"id\":7,\"state\":\"dead\",\"rows\":12345,\"error\":\"value too long for type character varying(10)\"},\n"
			    "{\"id\":1234567,\"state\":\"queued\",\"rows\":null,\"error\":null}\n"
			    "]\n");
	stop(&f);
}

static void json_lines_are_one_object_each(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, OUT_JSON_LINES, false, 0);
	for (int i = 0; i < 2; i++) {
		out_table(&f.out, columns, 1);
		out_int(&f.out, i);
		end(&f, NULL);
	}
	assert_string_equal(f.text, "{\"id\":0}\n{\"id\":1}\n");
	stop(&f);
}

static void an_empty_table_says_so(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, OUT_HUMAN, false, 0);
	out_table(&f.out, columns, ARRAY_SIZE(columns));
	end(&f, "no failed jobs");
	assert_string_equal(f.text, "no failed jobs\n");
	stop(&f);
	start(&f, OUT_JSON, false, 0);
	out_table(&f.out, columns, ARRAY_SIZE(columns));
	end(&f, "no failed jobs");
	assert_string_equal(f.text, "[]\n");
	stop(&f);
	start(&f, OUT_JSON_LINES, false, 0);
	out_table(&f.out, columns, ARRAY_SIZE(columns));
	end(&f, "no failed jobs");
	assert_string_equal(f.text, "");
	stop(&f);
}

static const struct out_column details[] = {
	{ "id", "id", .type = OUT_ID },
	{ "sql", "statement", .type = OUT_STR },
	{ "row", NULL, .type = OUT_RAW_JSON },
	{ "note", NULL, .type = OUT_STR },
};

static void one_object(struct out *o)
{
	out_kv(o, details, ARRAY_SIZE(details));
	out_int(o, 7);
	out_text(o, "UPDATE t\n   SET a = 1\x1b[2J\n");
	out_json(o, "{\"a\": 12345678901234567890,\n \"b\": [1.10, null]}");
	out_null(o);
}

static void one_object_is_lines_of_titles_and_values(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, OUT_HUMAN, false, 80);
	one_object(&f.out);
	end(&f, NULL);
	assert_string_equal(f.text, "id         7\n"
				    "statement  UPDATE t\n"
				    "              SET a = 1\\x1b[2J\n"
				    "row        {\"a\": 12345678901234567890,\n"
				    "            \"b\": [1.10, null]}\n"
				    "note       -\n");
	stop(&f);
	start(&f, OUT_JSON, false, 0);
	one_object(&f.out);
	end(&f, NULL);
	assert_string_equal(f.text, "{\"id\":7,\"sql\":\"UPDATE t\\n   SET a = 1\\u001b[2J\\n\","
				    "\"row\":{\"a\": 12345678901234567890,  \"b\": [1.10, null]},\"note\":null}\n");
	stop(&f);
}

static void values_in_postgresqls_text_form_are_converted_by_type(void **state)
{
	static const struct {
		enum out_type type;
		const char *text;
		const char *json;
		const char *human;
	} rows[] = {
		{ OUT_INT, "-1234567", "-1234567", "-1,234,567" },
		{ OUT_INT, "12345678901234567890123", "12345678901234567890123", "12345678901234567890123" },
		{ OUT_NUM, "1.50", "1.50", "1.50" },
		{ OUT_NUM, "NaN", "\"NaN\"", "NaN" },
		{ OUT_BOOL, "t", "true", "yes" },
		{ OUT_BOOL, "false", "false", "no" },
		{ OUT_TIME, "2024-05-01 12:00:00.123456+00", "\"2024-05-01T12:00:00.123456Z\"", "2024-05-01T12:00:00Z" },
		{ OUT_TIME, "2024-05-01 12:00:00+02", "\"2024-05-01T12:00:00+02:00\"", "2024-05-01T12:00:00+02" },
		{ OUT_TIME, "2024-05-01 12:00:00+05:30", "\"2024-05-01T12:00:00+05:30\"", "2024-05-01T12:00:00+05:30" },
		{ OUT_TIME, "infinity", "\"infinity\"", "infinity" },
		{ OUT_DURATION, "200000", "200000", "3m 20s" },
		{ OUT_BYTES, "1536", "1536", "1.5 kB" },
		{ OUT_ID, "9223372036854775807", "9223372036854775807", "9223372036854775807" },
		{ OUT_RAW_JSON, "[1,2]", "[1,2]", "[1,2]" },
		{ OUT_RAW_JSON, "{broken", "\"{broken\"", "{broken" },
		{ OUT_STR, "a\"b\nc", "\"a\\\"b\\nc\"", "a\"b\\nc" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct out_column one = { "v", "V", .type = rows[i].type };
		char want[256];
		struct fixture f;

		start(&f, OUT_JSON_LINES, false, 0);
		out_table(&f.out, &one, 1);
		out_text(&f.out, rows[i].text);
		end(&f, NULL);
		snprintf(want, sizeof(want), "{\"v\":%s}\n", rows[i].json);
		if (strcmp(f.text, want) != 0)
			fail_msg("%s: %s", rows[i].text, f.text);
		stop(&f);
		start(&f, OUT_HUMAN, false, 0);
		out_table(&f.out, &one, 1);
		out_text(&f.out, rows[i].text);
		end(&f, NULL);
		if (strstr(f.text, rows[i].human) == NULL)
			fail_msg("%s: %s", rows[i].text, f.text);
		stop(&f);
	}
}

static void values_of_c_are_written_exactly(void **state)
{
	static const struct out_column all[] = {
		{ "i", NULL, .type = OUT_INT },   { "n", NULL, .type = OUT_NUM },  { "m", NULL, .type = OUT_NUM },
		{ "bad", NULL, .type = OUT_NUM }, { "b", NULL, .type = OUT_BOOL }, { "t", NULL, .type = OUT_TIME },
		{ "s", NULL, .type = OUT_STR },
	};
	struct fixture f;

	(void)state;
	start(&f, OUT_JSON_LINES, false, 0);
	out_table(&f.out, all, ARRAY_SIZE(all));
	out_int(&f.out, INT64_MIN);
	out_num(&f.out, 0.1);
	out_num(&f.out, 1.0 / 3);
	out_num(&f.out, 1.0 / 0.0);
	out_bool(&f.out, true);
	out_time(&f.out, 1714564800123);
	out_textf(&f.out, "%d-%d", 1, 2);
	end(&f, NULL);
	assert_string_equal(f.text, "{\"i\":-9223372036854775808,\"n\":0.1,\"m\":0.33333333333333331,\"bad\":null,\"b\":true,"
				    "\"t\":\"2024-05-01T12:00:00.123Z\",\"s\":\"1-2\"}\n");
	stop(&f);
}

static void columns_can_be_for_one_audience_alone(void **state)
{
	static const struct out_column some[] = {
		{ "seen", "SEEN", OUT_STR, .where = OUT_ONLY_HUMAN },
		{ "raw", "RAW", OUT_STR, .where = OUT_ONLY_JSON },
		{ "both", "BOTH", .type = OUT_STR },
	};
	static const char *const want[] = { "SEEN  BOTH\na     c\n", "[\n{\"raw\":\"b\",\"both\":\"c\"}\n]\n" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct fixture f;

		start(&f, i == 0 ? OUT_HUMAN : OUT_JSON, false, 0);
		out_table(&f.out, some, ARRAY_SIZE(some));
		out_text(&f.out, "a");
		out_text(&f.out, "b");
		out_text(&f.out, "c");
		out_note(&f.out, "%s", "");
		end(&f, NULL);
		assert_string_equal(f.text + (i == 0), want[i]);
		stop(&f);
	}
}

static void many_rows_are_streamed_in_flat_memory(void **state)
{
	struct fixture f = { 0 };
	const unsigned rows = 100000;
	FILE *null = fopen("/dev/null", "w");

	(void)state;
	for (int format = OUT_HUMAN; format <= OUT_JSON_LINES; format++) {
		out_init(&f.out, null, (enum out_format)format, false, 80);
		out_table(&f.out, columns, ARRAY_SIZE(columns));
		for (unsigned i = 0; i < rows; i++) {
			out_uint(&f.out, i);
			out_text(&f.out, "dead");
			out_int(&f.out, -1);
			out_text(&f.out, "some text of medium length, as errors are");
			assert_true(f.out.page.cap < 65536 && f.out.line.cap < 65536);
		}
		end(&(struct fixture){ .out = f.out, .file = null }, NULL);
		f.out.cells = NULL;
		out_close(&f.out);
	}
	fclose(null);
}

static void pages_after_the_first_keep_the_columns_in_place(void **state)
{
	struct fixture f;
	char *line;
	size_t at = 0;

	(void)state;
	start(&f, OUT_HUMAN, false, 0);
	out_table(&f.out, columns, ARRAY_SIZE(columns));
	for (int i = 0; i < OUT_PAGE_ROWS + 10; i++) {
		out_int(&f.out, i);
		out_text(&f.out, i < OUT_PAGE_ROWS ? "a rather long state" : "x");
		out_int(&f.out, 5);
		out_text(&f.out, "@");
	}
	end(&f, NULL);
	line = strchr(f.text, '\n') + 1;
	for (; *line != '\0'; line = strchr(line, '\n') + 1) {
		size_t here = strcspn(line, "@");

		assert_true(at == 0 || at == here);
		at = here;
	}
	assert_int_equal(strstr(f.text + 1, "ID") == strstr(f.text, "ID"), 1);
	stop(&f);
}

static void a_full_disk_is_an_error(void **state)
{
	FILE *full = fopen("/dev/full", "w");
	struct err err = ERR_INIT;
	struct out o;

	(void)state;
	if (full == NULL)
		skip();
	out_init(&o, full, OUT_JSON, false, 0);
	two_rows(&o);
	assert_int_equal(out_end(&o, NULL, &err), ST_IO);
	assert_string_equal(err.msg, "cannot write the output: No space left on device");
	out_close(&o);
	fclose(full);
}

static void whatever_the_text_the_json_parses(void **state)
{
	struct fixture f;
	json_t *parsed;
	char nasty[256];

	(void)state;
	for (int i = 0; i < 255; i++)
		nasty[i] = (char)(i + 1);
	nasty[255] = '\0';
	start(&f, OUT_JSON, false, 0);
	out_table(&f.out, columns + 1, 1);
	out_text(&f.out, nasty);
	end(&f, NULL);
	parsed = json_loads(f.text, 0, NULL);
	assert_non_null(parsed);
	json_decref(parsed);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_aligned_with_numbers_to_the_right),
		cmocka_unit_test(a_table_fits_the_terminal_by_clipping),
		cmocka_unit_test(prose_goes_below_its_row_where_there_is_no_room_beside_it),
		cmocka_unit_test(without_a_column_to_clip_the_widest_text_is),
		cmocka_unit_test(colour_marks_headings_and_values_and_nothing_else_changes),
		cmocka_unit_test(json_is_an_array_of_objects_with_typed_values),
		cmocka_unit_test(json_lines_are_one_object_each),
		cmocka_unit_test(an_empty_table_says_so),
		cmocka_unit_test(one_object_is_lines_of_titles_and_values),
		cmocka_unit_test(values_in_postgresqls_text_form_are_converted_by_type),
		cmocka_unit_test(values_of_c_are_written_exactly),
		cmocka_unit_test(columns_can_be_for_one_audience_alone),
		cmocka_unit_test(many_rows_are_streamed_in_flat_memory),
		cmocka_unit_test(pages_after_the_first_keep_the_columns_in_place),
		cmocka_unit_test(a_full_disk_is_an_error),
		cmocka_unit_test(whatever_the_text_the_json_parses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
