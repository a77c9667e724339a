/* PostgreSQL's array literals, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pg/pg_array.h"

#define ITEMS 6

static void literals_are_read(void **state)
{
	static const struct {
		const char *literal;
		size_t n;
		const char *items[ITEMS];
	} rows[] = {
		{ NULL, 0, { NULL } },
		{ "{}", 0, { NULL } },
		{ "{1}", 1, { "1" } },
		{ "{1,-2,3.5}", 3, { "1", "-2", "3.5" } },
		{ "{\"a b\",\"\",\"x,y\",\"{}\"}", 4, { "a b", "", "x,y", "{}" } },
		{ "{\"say \\\"hi\\\"\",\"back\\\\slash\"}", 2, { "say \"hi\"", "back\\slash" } },
		{ "{NULL,\"NULL\",null}", 3, { NULL, "NULL", NULL } },
		{ "{2024-01-01,\"2024-01-01 00:00:00+00\"}", 2, { "2024-01-01", "2024-01-01 00:00:00+00" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(buf_free) struct buf item = BUF_INIT(100);
		struct pg_array a;
		const char *got = NULL;

		assert_int_equal(pg_array_open(&a, rows[i].literal, &item, NULL), 0);
		for (size_t k = 0; k < rows[i].n; k++) {
			assert_int_equal(pg_array_next(&a, &got, NULL), 1);
			if ((got == NULL) != (rows[i].items[k] == NULL) || (got != NULL && strcmp(got, rows[i].items[k]) != 0))
				fail_msg("%s: element %zu is %s", rows[i].literal, k, got != NULL ? got : "NULL");
		}
		assert_int_equal(pg_array_next(&a, &got, NULL), 0);
		assert_int_equal(pg_array_next(&a, &got, NULL), 0);
	}
}

static void broken_literals_are_refused(void **state)
{
	static const char *const rows[] = { "",     "1",      "{",        "{1",   "{1,", "{1,}",  "{,1}",
					    "{\"a", "{\"a\\", "{\"a\"b}", "{1}2", "{}x", "{{1}}", "{a\\b}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(buf_free) struct buf item = BUF_INIT(100);
		struct pg_array a;
		const char *got;
		int rc = pg_array_open(&a, rows[i], &item, NULL);

		for (int k = 0; rc == 0 && k < 10; k++) {
			rc = pg_array_next(&a, &got, NULL);
			if (rc == 0)
				break;
			rc = rc == 1 ? 0 : rc;
		}
		if (rc != ST_INPUT)
			fail_msg("%s: %d", rows[i], rc);
	}
}

static void an_element_over_the_ceiling_is_an_error(void **state)
{
	CLEANUP(buf_free) struct buf item = BUF_INIT(3);
	struct err err = ERR_INIT;
	struct pg_array a;
	const char *got;

	(void)state;
	assert_int_equal(pg_array_open(&a, "{abc,\"a\\\"cd\"}", &item, &err), 0);
	assert_int_equal(pg_array_next(&a, &got, &err), 1);
	assert_int_equal(pg_array_next(&a, &got, &err), ST_LIMIT);
}

static void what_is_written_is_read_back(void **state)
{
	static const char *const items[] = { "1", "", "NULL", "a\"b\\c", "{,}", NULL, " lead", "t\nn", "\xc3\xa4" };
	CLEANUP(buf_free) struct buf literal = BUF_INIT(1000);
	CLEANUP(buf_free) struct buf item = BUF_INIT(100);
	struct pg_array a;
	const char *got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		pg_array_add(&literal, i == 0, items[i]);
	pg_array_end(&literal, false);
	assert_int_equal(pg_array_open(&a, literal.data, &item, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		assert_int_equal(pg_array_next(&a, &got, NULL), 1);
		if (items[i] == NULL)
			assert_null(got);
		else
			assert_string_equal(got, items[i]);
	}
	assert_int_equal(pg_array_next(&a, &got, NULL), 0);
	buf_reset(&literal);
	pg_array_end(&literal, true);
	assert_string_equal(literal.data, "{}");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_are_read),
		cmocka_unit_test(broken_literals_are_refused),
		cmocka_unit_test(an_element_over_the_ceiling_is_an_error),
		cmocka_unit_test(what_is_written_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
