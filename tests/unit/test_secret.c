/* Secrets from the environment and from the files that it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/secret.h"

static const char template[] = "/tmp/drover-secret-XXXXXX";
static char path[sizeof(template)];

static void write_file(const char *text, size_t n)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	memcpy(path, template, sizeof(path));
	fd = mkstemp(path);
	unsetenv("T");
	unsetenv("T_FILE");
	return fd >= 0 ? close(fd) : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

static void nothing_set_is_no_secret(void **state)
{
	char *secret = path;

	(void)state;
	setenv("T_FILE", "", 1);
	assert_int_equal(secret_from_env(&secret, "T", NULL), 0);
	assert_null(secret);
}

static void a_variable_is_taken_as_it_is(void **state)
{
	char *secret = NULL;

	(void)state;
	setenv("T", "a b\n", 1);
	assert_int_equal(secret_from_env(&secret, "T", NULL), 0);
	assert_string_equal(secret, "a b\n");
	secret_free(secret);
}

static void line_ends_at_a_files_end_do_not_count(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = { { "hunter2", "hunter2" }, { "hunter2\n", "hunter2" }, { "hunter2\r\n\n", "hunter2" }, { " a\nb \n", " a\nb " } };

	(void)state;
	setenv("T_FILE", path, 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *secret = NULL;

		write_file(rows[i].text, strlen(rows[i].text));
		assert_int_equal(secret_from_env(&secret, "T", NULL), 0);
		assert_string_equal(secret, rows[i].want);
		secret_free(secret);
	}
}

static void refused(int code, const char *part)
{
	struct err err = ERR_INIT;
	char *secret = NULL;

	assert_int_equal(secret_from_env(&secret, "T", &err), code);
	assert_int_equal(err.code, code);
	assert_null(secret);
	if (strstr(err.msg, part) == NULL || strstr(err.msg, "T_FILE") == NULL)
		fail_msg("%s", err.msg);
}

static void what_is_no_secret_is_refused_by_name(void **state)
{
	static char long_text[SECRET_MAX + 1];

	(void)state;
	setenv("T_FILE", path, 1);
	refused(ST_INPUT, "is empty");
	write_file("\n\n", 2);
	refused(ST_INPUT, "is empty");
	write_file("a\0b", 3);
	refused(ST_INPUT, "is no text");
	memset(long_text, 'x', sizeof(long_text));
	write_file(long_text, SECRET_MAX);
	setenv("T", "also", 1);
	refused(ST_CONFIG, "both T and T_FILE are set");
	unsetenv("T");
	write_file(long_text, sizeof(long_text));
	refused(ST_LIMIT, "has more than");
	setenv("T_FILE", "/tmp", 1);
	refused(ST_IO, "cannot read '/tmp'");
	setenv("T_FILE", "/nowhere/at/all", 1);
	refused(ST_IO, "No such file or directory");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_set_is_no_secret, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_variable_is_taken_as_it_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(line_ends_at_a_files_end_do_not_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_secret_is_refused_by_name, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
