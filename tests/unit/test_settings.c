/* Settings: the table itself, strict reading of what people type, lenient merging of what the database holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/util.h"
#include "ledger/settings.h"

/* ------------------------------------------------------------ helpers */

static struct settings defaults(void)
{
	struct settings s;

	settings_defaults(&s);
	return s;
}

static void check_refused(const char *name, const char *value, const char *why)
{
	struct settings s = defaults(), before = s;
	struct err err = ERR_INIT;

	assert_int_not_equal(settings_set(&s, name, value, &err), 0);
	if (strstr(err.msg, why) == NULL)
		fail_msg("%s=%s: '%s' does not say '%s'", name, value, err.msg, why);
	assert_memory_equal(&s, &before, sizeof(s));
}

static void check_printed(const char *name, const char *value, const char *want)
{
	struct settings s = defaults();
	struct err err = ERR_INIT;
	struct buf out = BUF_INIT(1000);
	const struct setting *t = settings_find(name);

	assert_non_null(t);
	if (settings_set(&s, name, value, &err) != 0)
		fail_msg("%s=%s: %s", name, value, err.msg);
	assert_true(settings_given(&s, (enum setting_id)(t - setting_table)));
	assert_int_equal(settings_print(&s, (enum setting_id)(t - setting_table), &out), 0);
	assert_string_equal(out.data, want);
	buf_free(&out);
}

/* ------------------------------------------------------------ tests */

static void every_default_reads_and_prints_as_itself(void **state)
{
	(void)state;
	for (int i = 0; i < SETTING_NR; i++) {
		const struct setting *t = &setting_table[i];

		assert_ptr_equal(settings_find(t->name), t);
		assert_true(strlen(t->help) > 10 && t->help[strlen(t->help) - 1] != '.');
		check_printed(t->name, t->def, t->def);
	}
	assert_int_equal(defaults().given, 0);
	assert_int_equal(defaults().tries, 1);
}

static void values_are_kept_in_their_unit(void **state)
{
	(void)state;
	check_printed("query_timeout_ms", "5s", "5000");
	check_printed("query_timeout_ms", "250", "250");
	check_printed("conflict_budget_s", "2h", "7200");
	check_printed("backoff", "500ms,1m", "500ms,60");
	check_printed("breaker", "5%/200", "5%/200");
	check_printed("breaker", "OFF", "off");
	check_printed("is_enabled", "no", "off");
	check_printed("keep_row_image", "1", "on");
}

static void mistakes_change_nothing(void **state)
{
	(void)state;
	check_refused("tries", "0", "1 to 1000");
	check_refused("tries", "", "tries");
	check_refused("tries", "5s", "tries");
	check_refused("tries", "-1", "tries");
	check_refused("query_timeout_ms", "50", "100 to 86400000 ms");
	check_refused("query_timeout_ms", "99999999999999999999", "query_timeout_ms");
	check_refused("conflict_budget_s", "1500ms", "whole number of seconds");
	check_refused("backoff", "", "backoff");
	check_refused("backoff", "1,,2", "backoff");
	check_refused("backoff", "2d", "out of bounds");
	check_refused("is_enabled", "maybe", "neither on nor off");
	check_refused("trys", "1", "did you mean 'tries'");
	check_refused("something_else", "1", "drover config");
	static const char *const breakers[] = { "",          "20",     "20%",   "20/1000",   "%/1000",      "0%/1000",
						"101%/1000", "20%/10", "20%/x", "20%/1000 ", "100000000%/1" };
	for (size_t i = 0; i < ARRAY_SIZE(breakers); i++)
		check_refused("breaker", breakers[i], "20%/1000");
}

static void the_database_s_object_goes_on_top(void **state)
{
	struct settings s = defaults();
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(settings_set(&s, "tries", "7", &err), 0);
	assert_int_equal(settings_apply(&s, "{}", &err), 0);
	assert_int_equal(s.tries, 7);
	assert_int_equal(settings_apply(&s, "{\"tries\": \"3\", \"batch_size\": 50, \"is_enabled\": false, \"of_tomorrow\": [1]}", &err),
			 0);
	assert_int_equal(s.tries, 3);
	assert_int_equal(s.batch_size, 50);
	assert_false(s.is_enabled);
	assert_true(settings_given(&s, SETTING_BATCH_SIZE));
	assert_false(settings_given(&s, SETTING_MAX_BACKLOG));
}

static void a_broken_object_changes_nothing(void **state)
{
	static const char *const broken[] = {
		"", "[]", "null", "{", "{\"tries\": null}", "{\"batch_size\": 5, \"tries\": 0}", "{\"tries\": 1.5}"
	};
	struct settings s = defaults(), before = s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(settings_apply(&s, broken[i], &err), ST_INPUT);
		assert_memory_equal(&s, &before, sizeof(s));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_default_reads_and_prints_as_itself),
		cmocka_unit_test(values_are_kept_in_their_unit),
		cmocka_unit_test(mistakes_change_nothing),
		cmocka_unit_test(the_database_s_object_goes_on_top),
		cmocka_unit_test(a_broken_object_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
