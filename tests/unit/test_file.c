/*
 * Migration files: what is read from a good one, and every mistake of a bad one with its line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "migration/file.h"

#define T "-- drover: table t\n"
#define S "-- drover: set a = 1\n"
#define BACKFILL T "-- drover: pending a IS NULL\n-- drover: backfill\n"

static struct migration_file *good(const char *text)
{
	struct migration_file *f = NULL;
	struct err err = ERR_INIT;
	struct problems problems;
	struct buf shown = BUF_INIT(100000);

	problems_init(&problems);
	if (migration_file_parse("dir/m.sql", text, strlen(text), &f, &problems, &err) != 0) {
		(void)problems_print(&problems, "m.sql", &shown);
		fail_msg("%s\n%s", err.msg, shown.data);
	}
	problems_free(&problems);
	return f;
}

/* What is printed for a bad file; the caller's to free. */
static char *bad(const char *path, const char *text, size_t len)
{
	struct migration_file *f = NULL;
	struct err err = ERR_INIT;
	struct problems problems;
	struct buf shown = BUF_INIT(100000);
	int rc;

	problems_init(&problems);
	rc = migration_file_parse(path, text, len, &f, &problems, &err);
	if (rc != ST_INPUT)
		fail_msg("taken for good (%d): %s", rc, text);
	assert_null(f);
	assert_int_equal(problems_print(&problems, "m.sql", &shown), 0);
	problems_free(&problems);
	return buf_detach(&shown);
}

static void every_directive_is_read(void **state)
{
	struct migration_file *f = good("\xef\xbb\xbf-- A migration.\r\n"
					"-- drover: table   \"My Schema\".\"quo\"\"te\"  -- the one\r\n"
					"--drover: key Tenant, \"Id\"\r\n"
					"  -- drover: set \"A b\" = lower(x) || '-- drover: table y'\n"
					"-- drover: set C = $$ it's $$\n"
					"-- drover: pending c IS NULL\n-- drover: where d > 1\n-- drover: mode row\n"
					"-- drover: batch-size 500\n-- drover: tries 3\n-- drover: backoff 1,5,30\n"
					"-- drover: timeout 1.5m\n-- drover: lock-timeout 200ms\n"
					"-- drover: verify\nSELECT 1;\n");

	(void)state;
	assert_string_equal(f->name, "m");
	assert_string_equal(f->table_schema, "My Schema");
	assert_string_equal(f->table_name, "quo\"te");
	assert_int_equal(f->table.line, 2);
	assert_int_equal(f->nr_keys, 2);
	assert_string_equal(f->keys[0], "tenant");
	assert_string_equal(f->keys[1], "Id");
	assert_int_equal(f->nr_sets, 2);
	assert_string_equal(f->sets[0].column, "A b");
	assert_string_equal(f->sets[0].expression, "lower(x) || '-- drover: table y'");
	assert_string_equal(f->sets[1].column, "c");
	assert_int_equal(f->sets[1].line, 5);
	assert_string_equal(f->pending.text, "c IS NULL");
	assert_string_equal(f->where.text, "d > 1");
	assert_int_equal(f->mode, MIGRATION_ROW);
	assert_string_equal(f->batch_size.text, "500");
	assert_string_equal(f->tries.text, "3");
	assert_string_equal(f->backoff.text, "1,5,30");
	assert_string_equal(f->timeout.text, "90000");
	assert_string_equal(f->lock_timeout.text, "200");
	assert_int_equal(f->sections[SECTION_VERIFY].n, 1);
	assert_int_equal(f->sections[SECTION_VERIFY].v[0].line, 15);
	migration_file_free(f);
}

static void sections_are_split_into_statements(void **state)
{
	struct migration_file *f = good(
		BACKFILL "\n-- why\nINSERT INTO x SELECT ';' FROM :batch -- ; not here\n;\n"
			 "/* ; -- drover: table other\n-- drover: table other\n*/ UPDATE t SET a = $q$ ; -- drover: set z = 1\n"
			 "-- drover: set z = 1\n$q$ WHERE id = ANY (:keys);;\n"
			 "-- drover: tries 2\n"
			 "CALL p(:keys)\n"
			 "-- drover: rollback\nALTER TABLE t DROP COLUMN a;\n"
			 "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;\n");
	const struct migration_statements *b = &f->sections[SECTION_BACKFILL], *r = &f->sections[SECTION_ROLLBACK];

	(void)state;
	assert_int_equal(f->nr_sets, 0);
	assert_int_equal(b->n, 3);
	assert_string_equal(b->v[0].text, "INSERT INTO x SELECT ';' FROM :batch");
	assert_int_equal(b->v[0].line, 6);
	assert_int_equal(b->v[1].line, 10);
	assert_string_equal(b->v[2].text, "CALL p(:keys)");
	assert_string_equal(f->tries.text, "2");
	assert_int_equal(r->n, 2);
	migration_file_free(f);
}

static void every_mistake_is_reported_with_its_line(void **state)
{
	static const struct {
		const char *text;
		const char *want[6]; /* parts of what is printed */
	} rows[] = {
		/* what is missing, double, unknown */
		{ "", { "m.sql: there is no 'table'; expected", "nothing says what is to be done" } },
		{ T, { "nothing says what is to be done" } },
		{ S, { "there is no 'table'" } },
		{ T T S, { "m.sql:2: 'table' is given twice, first on line 1" } },
		{ T S S, { "m.sql:3: 'set': column 'a' is set twice, first on line 2" } },
		{ T S "-- drover: pendign a IS NULL\n", { "m.sql:3: there is no directive 'pendign'; did you mean 'pending'?" } },
		{ T S "-- drover: frobnicate\n", { "m.sql:3: there is no directive 'frobnicate'; expected table, key" } },
		{ T S "-- drover:\n", { "m.sql:3: a directive without a name" } },
		{ T S "-- drover where a > 1\n", { "m.sql:3: this looks like a directive" } },
		{ T S "-- Drover: where a > 1\n", { "m.sql:3: this looks like a directive" } },
		{ T S "-- drover: where\n", { "m.sql:3: 'where': it has no value; expected a predicate, for example '-- drover: where" } },
		{ T "-- drover: set\n", { "m.sql:2: 'set': it has no value" } },
		/* all at once, in order */
		{ "-- drover: tabel t\n-- drover: set a b\n-- drover: mode fast\n-- drover: tries 0\n",
		  { "m.sql: there is no 'table'", "m.sql:1: there is no directive 'tabel'; did you mean 'table'?", "m.sql:2: 'set'",
		    "m.sql:3: 'mode'", "m.sql:4: 'tries'" } },
		/* values */
		{ "-- drover: table a.b.c\n" S, { "m.sql:1: 'table': this is not a table's name" } },
		{ "-- drover: table a b\n" S, { "m.sql:1: 'table'" } },
		{ "-- drover: table t; DROP TABLE t\n" S, { "m.sql:1: 'table'" } },
		{ "-- drover: table \"t\n" S, { "m.sql:1: 'table'" } },
		{ "-- drover: table 't'\n" S, { "m.sql:1: 'table'" } },
		{ T S "-- drover: key a,\n", { "m.sql:3: 'key': this is not a list of columns" } },
		{ T S "-- drover: key a b\n", { "m.sql:3: 'key': expected a comma" } },
		{ T S "-- drover: key a, a\n", { "m.sql:3: 'key': column 'a' is named twice" } },
		{ T S "-- drover: key a, b, c, d, e\n", { "m.sql:3: 'key': more than four columns" } },
		{ T S "-- drover: mode rows\n", { "m.sql:3: 'mode': this is not a mode; expected 'batch' or 'row'" } },
		{ T S "-- drover: batch-size 0\n", { "m.sql:3: 'batch-size'" } },
		{ T S
		  "-- drover: batch-size 200000\n-- drover: tries 5000\n-- drover: timeout 1ms\n-- drover: backoff 1,x\n-- drover: lock-timeout 0s\n",
		  { "m.sql:3: 'batch-size': batch_size: 200000 is out of bounds: 1 to 100000 rows",
		    "m.sql:4: 'tries': tries: 5000 is out of bounds: 1 to 1000",
		    "m.sql:5: 'timeout': query_timeout_ms: 1 is out of bounds: 100 to", "m.sql:6: 'backoff'",
		    "m.sql:7: 'lock-timeout': lock_timeout_ms: 0 is out of bounds: 10 to" } },
		{ T S "-- drover: batch-size 1e3\n", { "m.sql:3: 'batch-size'" } },
		{ T S "-- drover: timeout 0\n", { "m.sql:3: 'timeout'" } },
		{ T S "-- drover: timeout soon\n", { "m.sql:3: 'timeout'" } },
		{ T S "-- drover: backoff 1,,2\n", { "m.sql:3: 'backoff'" } },
		{ T S "-- drover: ledger yes\n", { "m.sql:3: 'ledger': it takes no value" } },
		{ T "-- drover: ledger\n-- drover: handler migrate\n",
		  { "m.sql:3: 'handler': this is not a procedure; expected the word 'procedure'" } },
		{ T "-- drover: ledger\n-- drover: handler procedure p(1)\n", { "m.sql:3: 'handler'" } },
		{ T "-- drover: ledger\n-- drover: handler procedure a.b.c\n", { "m.sql:3: 'handler'" } },
		/* exactly one expression */
		{ T S "-- drover: where true) OR (true\n",
		  { "m.sql:3: 'where': syntax error at or near \")\"; expected one SQL expression" } },
		{ T S "-- drover: where 1; DROP TABLE t\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where true FROM x\n", { "m.sql:3: 'where': it is not one expression" } },
		{ T S "-- drover: where true, false\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where a AS b\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where a b\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where DISTINCT a\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where ALL a\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where true UNION SELECT true\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where true LIMIT 1\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where true FOR UPDATE\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where true INTO x\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where true GROUP BY a\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where *\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where t.*\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where -- nothing\n", { "m.sql:3: 'where'" } },
		{ T S "-- drover: where a = 'x\n", { "m.sql:3: 'where': unterminated quoted string" } },
		{ T S "-- drover: where a = $$x\n", { "m.sql:3: 'where': unterminated dollar-quoted string" } },
		{ T S "-- drover: where true /* \n", { "m.sql:3: 'where': unterminated" } },
		{ T S "-- drover: where a = $1\n", { "m.sql:3: 'where': a parameter like $1" } },
		{ T S "-- drover: where a = :batch\n", { "m.sql:3: 'where': syntax error" } },
		{ T "-- drover: set a = 1, b = 2\n", { "m.sql:2: 'set' of column 'a': it is not one expression" } },
		{ T "-- drover: set a\n", { "m.sql:2: 'set': this does not begin with one column and '='" } },
		{ T "-- drover: set a =\n", { "m.sql:2: 'set': there is nothing after '='" } },
		{ T "-- drover: set a.b = 1\n", { "m.sql:2: 'set'" } },
		{ T "-- drover: set a[1] = 1\n", { "m.sql:2: 'set'" } },
		{ T "-- drover: set (a, b) = (1, 2)\n", { "m.sql:2: 'set'" } },
		{ T "-- drover: set a = 1 WHERE true\n", { "m.sql:2: 'set' of column 'a'" } },
		/* what does not go together */
		{ T S "-- drover: ledger\n-- drover: pending a = 1\n",
		  { "m.sql:3: 'ledger' means that there is no predicate, but 'pending' is given on line 4" } },
		{ T S "-- drover: backfill\nUPDATE t SET a = 1 FROM :batch b;\n",
		  { "m.sql:3: 'set' (line 2) and a section 'backfill' (line 3) are given; expected one of" } },
		{ T "-- drover: handler procedure p\n", { "m.sql:2: nothing says which rows are still to be done" } },
		/* sections */
		{ T "SELECT 1;\n" S, { "m.sql:2: SQL outside a section" } },
		{ BACKFILL, { "m.sql:3: section 'backfill' is empty" } },
		{ BACKFILL "UPDATE t SET a = 1;\n", { "m.sql:4: this statement names neither :batch nor :keys" } },
		{ BACKFILL "UPDATE t SET a = ':batch';\n", { "m.sql:4: this statement names neither" } },
		{ BACKFILL "UPDATE t SET a = $1 FROM :batch;\n", { "m.sql:4: a parameter like $1" } },
		{ BACKFILL "UPDATE t SET a = 1\n FROM :keys b WHERE t.id = b.id;\nDELETE FROM t USING :bacth b WHERE t.id = b.id;\n"
			   "SELECT 1 FROM :rows;\n",
		  { "m.sql:5: :keys is an array, as for '= ANY (:keys)', and no relation; did you mean :batch?",
		    "m.sql:6: section 'backfill': there is no placeholder :bacth; did you mean :batch?",
		    "m.sql:7: section 'backfill': there is no placeholder :rows; expected :batch or :keys" } },
		{ BACKFILL "\nCOMMIT;\n", { "m.sql:5: this statement cannot be part of a backfill" } },
		{ BACKFILL "VACUUM t;\nTRUNCATE t;\nSET search_path = x;\n",
		  { "m.sql:4: this statement cannot", "m.sql:5: this statement cannot", "m.sql:6: this statement cannot" } },
		{ BACKFILL "UPDATE t SET a 1 FROM :batch;\nUPDATE t\n   SETT a = 1\n  FROM :batch;\n",
		  { "m.sql:4: section 'backfill': syntax error at or near \"1\"",
		    "m.sql:6: section 'backfill': syntax error at or near \"a\"" } },
		{ BACKFILL "UPDATE t SET a = 'x FROM :batch;\n", { "m.sql:4: unterminated quoted string" } },
		{ BACKFILL "UPDATE t SET a = 1 FROM :batch;\n-- drover: backfill\n",
		  { "m.sql:5: 'backfill' is given twice, first on line 3" } },
		{ T S "-- drover: verify\nSELECT FROM :batch;\n", { "m.sql:3: section 'verify': :batch and :keys have a meaning" } },
		{ T S "-- drover: rollback now\nSELECT 1;\n", { "m.sql:3: 'rollback': a section's mark takes no value" } },
		/* bytes */
		{ T S "-- \xff\n", { "m.sql:3: the file is not UTF-8" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *shown = bad("m.sql", rows[i].text, strlen(rows[i].text));
		const char *at = shown;

		for (size_t k = 0; k < ARRAY_SIZE(rows[i].want) && rows[i].want[k] != NULL; k++) {
			at = strstr(at, rows[i].want[k]);
			if (at == NULL)
				fail_msg("row %zu: '%s' is not in:\n%s\nfor:\n%s", i, rows[i].want[k], shown, rows[i].text);
		}
		free(shown);
	}
}

static void comments_at_the_end_of_an_expression_are_harmless(void **state)
{
	struct migration_file *f = good(T "-- drover: set a = b -- not c\n-- drover: where d /* e */ > 1\n");

	(void)state;
	assert_string_equal(f->sets[0].expression, "b -- not c");
	migration_file_free(f);
}

static void prose_about_drover_is_no_directive(void **state)
{
	struct migration_file *f = good("-- drover's work\n-- droverize\n-- See drover: it is good\n" T S);

	(void)state;
	migration_file_free(f);
}

static void the_file_s_name_is_checked(void **state)
{
	static const char *const names[] = {
		"a b.sql",
		"ü.sql",
		".sql",
		"-x.sql",
		"x/",
		"a'b.sql",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.sql"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *shown = bad(names[i], T S, strlen(T S));

		assert_non_null(strstr(shown, "the file's name is the migration's name"));
		free(shown);
	}
}

static void a_nul_byte_is_no_end(void **state)
{
	static const char text[] = T S "\0-- drover: where false\n";
	char *shown = bad("m.sql", text, sizeof(text) - 1);

	(void)state;
	assert_non_null(strstr(shown, "m.sql:3: the file has a NUL byte"));
	free(shown);
}

static void deep_and_long_texts_are_refused_not_followed(void **state)
{
	static const char *const pieces[] = { "NOT ", "a || ", "(", "-", "f(", "a OR ", "CASE WHEN true THEN ", "a, " };

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(pieces); p++) {
		struct buf text = BUF_INIT(MIGRATION_FILE_MAX);
		struct migration_file *f = NULL;
		struct problems problems;
		struct err err = ERR_INIT;

		(void)buf_puts(&text, T S "-- drover: where ");
		for (int i = 0; i < 30000; i++)
			(void)buf_puts(&text, pieces[p]);
		(void)buf_puts(&text, "a\n");
		problems_init(&problems);
		assert_int_equal(migration_file_parse("m.sql", text.data, text.len, &f, &problems, &err), ST_INPUT);
		problems_free(&problems);
		buf_free(&text);
	}
}

static void a_hundred_mistakes_and_more_are_counted(void **state)
{
	struct buf text = BUF_INIT(MIGRATION_FILE_MAX);
	char *shown;

	(void)state;
	for (int i = 0; i < 150; i++)
		(void)buf_puts(&text, "-- drover: nonsense\n");
	shown = bad("m.sql", text.data, text.len);
	assert_non_null(strstr(shown, "m.sql:100: "));
	assert_non_null(strstr(shown, "m.sql: and 52 more\n"));
	free(shown);
	buf_free(&text);
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
	struct migration_file *f = NULL;
	struct problems problems;
	struct err err = ERR_INIT;

	(void)state;
	problems_init(&problems);
	assert_int_equal(migration_file_read("/nonexistent/m.sql", NULL, &f, &problems, &err), ST_IO);
	assert_int_equal(migration_file_read("-", NULL, &f, &problems, &err), ST_INPUT);
	problems_free(&problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_directive_is_read),
		cmocka_unit_test(sections_are_split_into_statements),
		cmocka_unit_test(every_mistake_is_reported_with_its_line),
		cmocka_unit_test(comments_at_the_end_of_an_expression_are_harmless),
		cmocka_unit_test(prose_about_drover_is_no_directive),
		cmocka_unit_test(the_file_s_name_is_checked),
		cmocka_unit_test(a_nul_byte_is_no_end),
		cmocka_unit_test(deep_and_long_texts_are_refused_not_followed),
		cmocka_unit_test(a_hundred_mistakes_and_more_are_counted),
		cmocka_unit_test(a_file_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
