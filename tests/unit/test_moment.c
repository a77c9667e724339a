/*
 * Texts that mean another moment each time they are parsed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/util.h"
#include "migration/moment.h"

static void constants_that_may_be_a_moment(void **state)
{
	static const char *const texts[] = {
		"SELECT 'now'",           "SELECT ' NOW '",
		"SELECT 'today 10:00'",   "SELECT '(now())'::timestamptz",
		"SELECT 'yesterday'",     "SELECT date 'tomorrow'",
		"SELECT '{now}'::date[]", "SELECT $$now$$",
		"SELECT $x$ now $x$",     "SELECT E'\\156ow'",
		"SELECT U&'\\006eow'",    "SELECT 'no'\n'w'",
		"SELECT N'now'",          "SELECT 'a_now'",
		"SELECT 'it''s now'",     "SELECT '[\"now()\",)'::tstzrange",
		"SELECT 'unfinished",     "SELECT x /* ' */ || 'now'",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!moment_in(texts[i]))
			fail_msg("%s", texts[i]);
}

static void all_else_is_not(void **state)
{
	static const char *const texts[] = {
		"SELECT now(), pg_catalog.now ( )",
		"SELECT \"now\", today, t.tomorrow FROM yesterday AS t",
		"SELECT 'known', 'snow', 'nowhere' -- now it's 'now'",
		"SELECT /* 'now' \\ */ $1, $2::text, 'a', 12",
		"UPDATE \"public\".\"it's\" SET a = now() WHERE b = 'x'",
		"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (moment_in(texts[i]))
			fail_msg("%s", texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constants_that_may_be_a_moment),
		cmocka_unit_test(all_else_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
