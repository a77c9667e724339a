/* What an SQLSTATE means: the classes of the design, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/util.h"
#include "pg/pg_status.h"

static void every_code_has_its_class(void **state)
{
	static const struct {
		const char *sqlstate, *message;
		enum pg_class want;
	} rows[] = {
		{ NULL, NULL, PG_CLASS_OUTAGE },
		{ "", "", PG_CLASS_OUTAGE },
		{ "08006", "", PG_CLASS_OUTAGE },
		{ "57P01", "", PG_CLASS_OUTAGE },
		{ "57P03", "", PG_CLASS_OUTAGE },
		{ "53300", "", PG_CLASS_OUTAGE },
		{ "25006", "", PG_CLASS_OUTAGE },
		{ "25P03", "", PG_CLASS_OUTAGE },
		{ "25P04", "", PG_CLASS_OUTAGE },
		{ "40001", "", PG_CLASS_CONFLICT },
		{ "40P01", "", PG_CLASS_CONFLICT },
		{ "55P03", "", PG_CLASS_CONFLICT },
		{ "55006", "", PG_CLASS_CONFLICT },
		{ "55000", "", PG_CLASS_CONFLICT },
		{ "57014", "", PG_CLASS_CANCELLED },
		{ "0A000", "cannot set transaction read-write mode during recovery", PG_CLASS_OUTAGE },
		{ "0A000", "cached plan must not change result type", PG_CLASS_STALE },
		{ "0A000", "not supported", PG_CLASS_UNKNOWN },
		{ "26000", "", PG_CLASS_STALE },
		{ "42P05", "", PG_CLASS_STALE },
		{ "22012", "", PG_CLASS_DATA },
		{ "23505", "", PG_CLASS_DATA },
		{ "P0001", "", PG_CLASS_DATA },
		{ "54000", "", PG_CLASS_DATA },
		{ "U0001", "made up by the user's code", PG_CLASS_DATA },
		{ "XX000", "invalid memory alloc request size 1073741824", PG_CLASS_DATA },
		{ "XX000", "could not find what should be there", PG_CLASS_UNKNOWN },
		{ "42703", "", PG_CLASS_SUSPECT },
		{ "42501", "new row violates row-level security policy for table \"t\"", PG_CLASS_SUSPECT },
		{ "42501", "permission denied for sequence s", PG_CLASS_DENIED },
		{ "2D000", "", PG_CLASS_WRONG },
		{ "25001", "", PG_CLASS_WRONG },
		{ "53100", "", PG_CLASS_SERVER },
		{ "53200", "", PG_CLASS_SERVER },
		{ "58030", "", PG_CLASS_SERVER },
		{ "XX001", "", PG_CLASS_SERVER },
		{ "XX002", "", PG_CLASS_SERVER },
		{ "DR001", "", PG_CLASS_DONE },
		{ "DR002", "", PG_CLASS_STOPPED },
		{ "DR003", "", PG_CLASS_REVISION },
		{ "DR004", "", PG_CLASS_NO_JOB },
		{ "DR005", "", PG_CLASS_DIVERGES },
		{ "DR006", "", PG_CLASS_UNMARKED },
		{ "28000", "", PG_CLASS_UNKNOWN },
		{ "3F000", "", PG_CLASS_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (pg_classify(rows[i].sqlstate, rows[i].message) != rows[i].want)
			fail_msg("%s is %s, should be %s", rows[i].sqlstate, pg_class_name(pg_classify(rows[i].sqlstate, rows[i].message)),
				 pg_class_name(rows[i].want));
}

static void every_class_has_a_name(void **state)
{
	(void)state;
	for (int c = 0; c < PG_CLASS_NR; c++)
		assert_non_null(pg_class_name((enum pg_class)c));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_code_has_its_class), cmocka_unit_test(every_class_has_a_name) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
