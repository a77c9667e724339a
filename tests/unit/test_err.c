/*
 * test_err.c - results and the explanation that travels with them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/err.h"

static void every_status_is_negative_and_has_a_text(void **state)
{
	static const int codes[] = {
#define X(name, text) ST_##name,
#include "core/status.def"
#undef X
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		assert_true(codes[i] < 0);
		assert_string_not_equal(status_text(codes[i]), "unknown error");
		assert_string_not_equal(status_name(codes[i]), "UNKNOWN");
	}
	assert_string_equal(status_text(ST_OK), "done");
	assert_string_equal(status_name(ST_TIMEOUT), "TIMEOUT");
	assert_string_equal(status_text(12345), "unknown error");
	assert_string_equal(status_name(12345), "UNKNOWN");
}

static void set_gives_back_the_code(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, ST_INPUT, "line %d is empty", 3), ST_INPUT);
	assert_int_equal(e.code, ST_INPUT);
	assert_string_equal(e.msg, "line 3 is empty");
}

static void set_forgets_an_older_sqlstate(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	strcpy(e.sqlstate, "23505");
	err_set(&e, ST_TIMEOUT, "no answer in 5s");
	assert_string_equal(e.sqlstate, "");
}

static void wrap_puts_context_in_front_and_keeps_code_and_sqlstate(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, ST_SQL, "duplicate key");
	strcpy(e.sqlstate, "23505");
	assert_int_equal(err_wrap(&e, "cannot register '%s'", "pages"), ST_SQL);
	assert_string_equal(e.msg, "cannot register 'pages': duplicate key");
	assert_string_equal(e.sqlstate, "23505");
}

static void wrap_of_a_bare_code_names_the_code(void **state)
{
	struct err e = { .code = ST_NOMEM };

	(void)state;
	err_wrap(&e, "cannot read 'x'");
	assert_string_equal(e.msg, "cannot read 'x': out of memory");
}

static void its_own_message_may_be_an_argument(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, ST_IO, "disk");
	err_set(&e, ST_INPUT, "%s is full", e.msg);
	assert_string_equal(e.msg, "disk is full");
}

static void a_long_message_is_cut_with_dots_between_characters(void **state)
{
	struct err e = ERR_INIT;
	char longer[3 * ERR_MSG_MAX];

	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		memset(longer, 'x', shift);
		for (size_t i = shift; i + 3 < sizeof(longer); i += 3)
			memcpy(longer + i, "\xE2\x82\xAC", 4); /* EURO SIGN */
		err_set(&e, ST_INPUT, "%s", longer);
		assert_true(strlen(e.msg) < ERR_MSG_MAX);
		assert_memory_equal(e.msg + strlen(e.msg) - 6, "\xE2\x82\xAC...", 6);
		err_wrap(&e, "in a file");
		assert_memory_equal(e.msg, "in a file: ", 11);
		assert_memory_equal(e.msg + strlen(e.msg) - 3, "...", 3);
	}
}

static void null_is_a_caller_who_does_not_care(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ST_BUSY, "x"), ST_BUSY);
	assert_int_equal(err_wrap(NULL, "x"), ST_INPUT);
	err_clear(NULL);
}

static void clear_forgets_everything(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, ST_SQL, "x");
	strcpy(e.sqlstate, "42P01");
	err_clear(&e);
	assert_int_equal(e.code, ST_OK);
	assert_string_equal(e.msg, "");
	assert_string_equal(e.sqlstate, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_is_negative_and_has_a_text),
		cmocka_unit_test(set_gives_back_the_code),
		cmocka_unit_test(set_forgets_an_older_sqlstate),
		cmocka_unit_test(wrap_puts_context_in_front_and_keeps_code_and_sqlstate),
		cmocka_unit_test(wrap_of_a_bare_code_names_the_code),
		cmocka_unit_test(its_own_message_may_be_an_argument),
		cmocka_unit_test(a_long_message_is_cut_with_dots_between_characters),
		cmocka_unit_test(null_is_a_caller_who_does_not_care),
		cmocka_unit_test(clear_forgets_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
