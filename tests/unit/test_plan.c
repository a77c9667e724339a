/*
 * Plans: which form a migration takes, what is derived, and that nothing of the user's breaks out of its place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migration/plan.h"
#include "migration/tree.h"

#define T "-- drover: table t\n"
#define BACKFILL T "-- drover: pending b IS NULL\n-- drover: backfill\n"

static const struct plan_column columns[] = {
	{ .name = "id", .type = "bigint", .not_null = true, .integer = true, .in_order = true, .locking = true },
	{ .name = "a", .type = "text", .varlena = true },
	{ .name = "b", .type = "integer", .integer = true },
	{ .name = "At", .type = "timestamp with time zone", .datetime = true },
	{ .name = "n", .type = "integer", .integer = true, .not_null = true },
	{ .name = "code", .type = "text", .varlena = true, .locking = true },
};

static const struct plan_routine routines[] = {
	{ .name = "lower", .local = true }, { .name = "mine", .local = false }, { .name = "random", .local = true, .moving = true },
	{ .name = "+", .local = true },     { .name = "=", .local = true },     { .name = ">", .local = true },
	{ .name = "||", .local = true },
};

static struct plan_table table_of(size_t keys)
{
	struct plan_table t = {
		.schema = "public",
		.name = "t",
		.columns = columns,
		.nr_columns = ARRAY_SIZE(columns),
		.keys = { &columns[0], &columns[3] },
		.nr_keys = keys,
		.routines = routines,
		.nr_routines = ARRAY_SIZE(routines),
		.handler_type = "text[]",
		.visible = true,
	};

	return t;
}

static struct migration_file *parse(const char *text)
{
	struct migration_file *f = NULL;
	struct err err = ERR_INIT;
	struct problems problems;

	problems_init(&problems);
	if (migration_file_parse("m.sql", text, strlen(text), &f, &problems, &err) != 0)
		fail_msg("%s", err.msg);
	problems_free(&problems);
	return f;
}

static json_t *make(const char *text, const struct plan_table *t, enum migration_mode mode)
{
	struct migration_file *f = parse(text);
	struct err err = ERR_INIT;
	struct problems problems;
	json_t *plan = NULL;

	problems_init(&problems);
	if (plan_make(f, t, mode, 7, &plan, &problems, &err) != 0)
		fail_msg("%s: %s", text, problems.n > 0 ? problems.v[0].text : err.msg);
	problems_free(&problems);
	migration_file_free(f);
	return plan;
}

/* "lock transform check" */
static void roles(json_t *plan, const char *script, char *ret, size_t size)
{
	json_t *step;
	size_t i;

	*ret = '\0';
	json_array_foreach(json_object_get(json_object_get(plan, "scripts"), script), i, step) {
		(void)strncat(ret, i > 0 ? " " : "", size - strlen(ret) - 1);
		(void)strncat(ret, json_string_value(json_object_get(step, "role")), size - strlen(ret) - 1);
	}
}

static const char *sql_of(json_t *plan, const char *script, size_t i)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(json_object_get(plan, "scripts"), script), i), "sql"));
}

static void every_migration_has_the_form_that_is_safe(void **state)
{
	static const struct {
		const char *why, *text;
		size_t keys;
		enum migration_mode mode;
		bool triggers;
		const char *range, *list, *replay;
	} rows[] = {
		{ "a set", T "-- drover: set b = n + 1\n", 1, MIGRATION_BATCH, false, "apply", "apply", "lock transform check outcome" },
		{ "a set over two columns of key", T "-- drover: set b = n\n", 2, MIGRATION_BATCH, false, "apply", "lock transform check",
		  "lock transform check outcome" },
		{ "triggers after the update", T "-- drover: set b = n\n", 1, MIGRATION_BATCH, true, "lock transform check",
		  "lock transform check", "lock transform check outcome" },
		{ "a subquery in the value", T "-- drover: set b = (SELECT 1)\n", 1, MIGRATION_BATCH, false, "lock pick transform check",
		  "lock pick transform check", "lock pick transform check outcome" },
		{ "a subquery in the predicate", T "-- drover: set b = n\n-- drover: pending EXISTS (SELECT)\n", 1, MIGRATION_BATCH, false,
		  "lock pick transform check", "lock pick transform check", "lock pick transform check outcome" },
		{ "a function of the user's in the value", T "-- drover: set a = mine(n)\n-- drover: pending a IS NULL\n", 1,
		  MIGRATION_BATCH, false, "lock transform check", "lock transform check", "lock transform check outcome" },
		{ "an unknown operator", T "-- drover: set b = n\n-- drover: pending b @@@ n\n", 1, MIGRATION_BATCH, false,
		  "lock pick transform check", "lock pick transform check", "lock pick transform check outcome" },
		{ "ledger-only", T "-- drover: set b = b + 1\n-- drover: ledger\n", 1, MIGRATION_BATCH, false, "apply", "apply",
		  "lock transform outcome" },
		{ "ledger-only rows", T "-- drover: set b = b + 1\n-- drover: ledger\n", 1, MIGRATION_ROW, false, "receipts receipts apply",
		  "receipts apply", "lock transform outcome" },
		{ "a handler", T "-- drover: handler procedure p\n-- drover: pending b IS NULL\n", 1, MIGRATION_BATCH, false,
		  "lock transform check", "lock transform check", "lock transform check outcome" },
		{ "two statements",
		  T "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = 1 FROM :batch x;DELETE FROM u USING :batch;", 2,
		  MIGRATION_BATCH, false, "lock transform transform check", "lock transform transform check",
		  "lock transform transform check outcome" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_table t = table_of(rows[i].keys);
		char seen[200];
		json_t *plan;

		t.update_triggers = rows[i].triggers;
		plan = make(rows[i].text, &t, rows[i].mode);
		roles(plan, "range", seen, sizeof(seen));
		if (strcmp(seen, rows[i].range) != 0)
			fail_msg("%s: range: %s", rows[i].why, seen);
		roles(plan, "list", seen, sizeof(seen));
		if (strcmp(seen, rows[i].list) != 0)
			fail_msg("%s: list: %s", rows[i].why, seen);
		roles(plan, "replay", seen, sizeof(seen));
		if (strcmp(seen, rows[i].replay) != 0)
			fail_msg("%s: replay: %s", rows[i].why, seen);
		assert_int_equal(json_is_true(json_object_get(plan, "row_local")),
				 strcmp(rows[i].range, "apply") == 0 || strstr(rows[i].range, " apply") != NULL);
		json_decref(plan);
	}
}

static void a_section_amounts_to_a_set_if_it_updates_this_table_by_its_whole_key(void **state)
{
	static const struct {
		const char *text;
		size_t keys;
		bool hidden, triggers, apply;
	} rows[] = {
		{ "UPDATE t SET b = n FROM :batch x WHERE t.id = x.id;", 1, false, false, true },
		{ "UPDATE t SET b = n WHERE id = ANY (:keys);", 1, false, false, true },
		{ "UPDATE public.t y SET b = y.n FROM :batch x WHERE y.id = x.id;", 1, true, false, true },
		{ "UPDATE t SET b = n FROM :batch x WHERE x.\"At\" = t.\"At\" AND t.id = x.id;", 2, false, false, true },
		{ "UPDATE t SET b = n FROM :batch x WHERE t.id = x.id;", 2, false, false, false },
		{ "UPDATE t SET b = n FROM :batch x WHERE t.id = x.id AND t.n = x.n;", 1, false, false, false },
		{ "UPDATE t SET b = n FROM :batch x WHERE t.n = x.n;", 1, false, false, false },
		{ "UPDATE u SET b = n FROM :batch x WHERE u.id = x.id;", 1, false, false, false },
		{ "UPDATE s.t SET b = n FROM :batch x WHERE t.id = x.id;", 1, false, false, false },
		/* another table may be found by that name */
		{ "UPDATE t SET b = n FROM :batch x WHERE t.id = x.id;", 1, true, false, false },
		{ "UPDATE t SET id = n FROM :batch x WHERE t.id = x.id;", 1, false, false, false },
		{ "UPDATE t SET b = t.nope FROM :batch x WHERE t.id = x.id;", 1, false, false, false },
		{ "UPDATE t SET b = t.xmax::text::int FROM :batch x WHERE t.id = x.id;", 1, false, false, false },
		/* as of a set */
		{ "UPDATE t SET b = n FROM :batch x WHERE t.id = x.id;", 1, false, true, false },
		{ "UPDATE t SET a = mine(n) FROM :batch x WHERE t.id = x.id;", 1, false, false, false },
		{ "UPDATE t SET b = (SELECT 1) FROM :batch x WHERE t.id = x.id;", 1, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_table t = table_of(rows[i].keys);
		char text[300], seen[200];
		json_t *plan;

		t.visible = !rows[i].hidden;
		t.update_triggers = rows[i].triggers;
		(void)snprintf(text, sizeof(text), BACKFILL "%s", rows[i].text);
		plan = make(text, &t, MIGRATION_BATCH);
		roles(plan, "range", seen, sizeof(seen));
		if (strcmp(seen, rows[i].apply ? "apply" : "lock transform check") != 0)
			fail_msg("%s: %s", rows[i].text, seen);
		roles(plan, "replay", seen, sizeof(seen));
		assert_string_equal(seen, "lock transform check outcome");
		/* The user's own text is what is checked first. */
		assert_string_equal(json_object_iter_key(json_object_iter(json_object_get(plan, "scripts"))), "replay");
		json_decref(plan);
	}
}

static void a_stronger_lock_is_taken_where_foreign_keys_may_look(void **state)
{
	static const struct {
		const char *text;
		bool strong;
	} rows[] = {
		{ T "-- drover: set b = (SELECT 1)\n", false },
		{ T "-- drover: set code = mine(a)\n", true },
		{ T "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = 1 FROM :batch;", false },
		{ BACKFILL "UPDATE t SET code = mine(a) FROM :batch x WHERE t.id = x.id;", true },
		{ T "-- drover: pending b IS NULL\n-- drover: backfill\nDELETE FROM t USING :batch b WHERE t.id = b.id;", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_table t = table_of(1);
		json_t *plan = make(rows[i].text, &t, MIGRATION_BATCH);

		assert_int_equal(strstr(sql_of(plan, "range", 0), "FOR UPDATE") != NULL, rows[i].strong);
		assert_int_equal(strstr(sql_of(plan, "range", 0), "FOR NO KEY UPDATE") != NULL, !rows[i].strong);
		json_decref(plan);
	}
}

static void large_ranges_are_done_by_turns_where_new_versions_find_room_in_their_pages(void **state)
{
	static const struct {
		const char *why, *text;
		size_t keys;
		enum migration_mode mode;
		bool triggers, shuffled;
		enum { NEVER, POSSIBLE, PAY } turns;
	} rows[] = {
		{ "a set", T "-- drover: set b = n + 1\n", 1, MIGRATION_BATCH, false, false, PAY },
		{ "in several statements", T "-- drover: set b = n\n", 1, MIGRATION_BATCH, true, false, PAY },
		{ "pages are visited in any order", T "-- drover: set b = n\n", 1, MIGRATION_BATCH, false, true, POSSIBLE },
		{ "keys of two columns", T "-- drover: set b = n\n", 2, MIGRATION_BATCH, false, false, NEVER },
		{ "jobs of one row", T "-- drover: set b = n\n", 1, MIGRATION_ROW, false, false, NEVER },
		{ "nothing says which are done", T "-- drover: set b = b + 1\n-- drover: ledger\n", 1, MIGRATION_BATCH, false, false,
		  NEVER },
		{ "a section", BACKFILL "INSERT INTO u SELECT FROM :batch;update t SET b = 1 FROM :batch;", 1, MIGRATION_BATCH, false,
		  false, PAY },
		{ "one that only adds rows", BACKFILL "INSERT INTO u SELECT FROM :batch;", 1, MIGRATION_BATCH, false, false, POSSIBLE },
		{ "a procedure", T "-- drover: handler procedure p\n-- drover: pending b IS NULL\n", 1, MIGRATION_BATCH, false, false,
		  POSSIBLE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_column own[ARRAY_SIZE(columns)];
		struct plan_table t = table_of(rows[i].keys);
		json_t *plan;

		memcpy(own, columns, sizeof(own));
		own[0].in_order = !rows[i].shuffled;
		t.keys[0] = &own[0];
		t.update_triggers = rows[i].triggers;
		plan = make(rows[i].text, &t, rows[i].mode);
		if (json_is_true(json_object_get(plan, "turns")) != (rows[i].turns != NEVER) ||
		    json_is_true(json_object_get(plan, "turns_pay")) != (rows[i].turns == PAY) ||
		    (strstr(sql_of(plan, "range", 0), "drover.even") != NULL) != (rows[i].turns != NEVER))
			fail_msg("%s: %s", rows[i].why, sql_of(plan, "range", 0));
		assert_null(strstr(sql_of(plan, "list", 0), "drover.even"));
		json_decref(plan);
	}
}

static void what_cannot_be_derived_is_asked_for(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ T "-- drover: set b = b + 1\n", "reads the column itself" },
		{ T "-- drover: set b = t.b\n", "reads the column itself" },
		{ T "-- drover: set b = length(t::text)\n", "reads the column itself" },
		{ T "-- drover: set b = length(t.*::text)\n", "reads the column itself" },
		{ T "-- drover: set n = b\n", "cannot be NULL" },
		{ T "-- drover: set \"At\" = now()\n", "reads the clock" },
		{ T "-- drover: set \"At\" = CURRENT_TIMESTAMP\n", "reads the clock" },
		{ T "-- drover: set \"At\" = ' NOW'::timestamptz\n", "reads the clock" },
		{ T "-- drover: set a = age(\"At\")::text\n", "reads the clock" },
		{ T "-- drover: set b = random()\n", "a random source" },
		{ T "-- drover: set a = 'x'\n-- drover: set \"At\" = now()\n", "'set' of column 'At'" },
		{ T "-- drover: key id, \"At\"\n-- drover: pending b IS NULL\n-- drover: backfill\n\nSELECT :keys;\n",
		  ":keys is an array and the key has several" },
		{ T "-- drover: key id, \"At\"\n-- drover: pending b IS NULL\n-- drover: handler procedure p\n", "gets one array of keys" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct migration_file *f = parse(rows[i].text);
		struct plan_table t = table_of(f->nr_keys > 0 ? f->nr_keys : 1);
		struct err err = ERR_INIT;
		struct problems problems;
		json_t *plan = NULL;

		problems_init(&problems);
		assert_int_equal(plan_make(f, &t, MIGRATION_BATCH, 7, &plan, &problems, &err), ST_INPUT);
		assert_int_equal(problems.n, 1);
		if (strstr(problems.v[0].text, rows[i].want) == NULL)
			fail_msg("%s: %s", rows[i].text, problems.v[0].text);
		problems_free(&problems);
		migration_file_free(f);
	}
}

static void several_columns_keep_what_is_written(void **state)
{
	struct plan_table t = table_of(1);
	json_t *plan = make(T "-- drover: set a = 'x'\n-- drover: set b = n\n", &t, MIGRATION_BATCH);
	const char *sql = sql_of(plan, "range", 0);

	(void)state;
	assert_non_null(
		strstr(sql, "\"a\" = CASE WHEN \"public\".\"t\".\"a\" IS NULL THEN (\n'x'\n)::text ELSE \"public\".\"t\".\"a\" END"));
	assert_non_null(strstr(
		sql,
		"(\n(\"public\".\"t\".\"a\" IS NULL AND (\n'x'\n)::text IS NOT NULL) OR (\"public\".\"t\".\"b\" IS NULL AND (\nn\n)::integer IS NOT NULL)\n) IS TRUE"));
	json_decref(plan);
}

/* Every statement must still be one statement, whatever the names and values are. */
static void all_statements_parse(json_t *plan)
{
	json_t *script, *step, *sql, *stmts;
	struct err err = ERR_INIT;
	const char *name;
	size_t i, offset;

	json_object_foreach(json_object_get(plan, "scripts"), name, script) {
		json_array_foreach(script, i, step) {
			const char *text = json_string_value(json_object_get(step, "sql"));

			if (tree_parse(text, &stmts, &offset, &err) != 0)
				fail_msg("%s: %s at: %s", name, err.msg, text + offset);
			assert_int_equal(json_array_size(stmts), 1);
			json_decref(stmts);
		}
	}
	json_object_foreach(json_object_get(plan, "statements"), name, sql) {
		if (tree_parse(json_string_value(sql), &stmts, &offset, &err) != 0)
			fail_msg("%s: %s at: %s", name, err.msg, json_string_value(sql) + offset);
		assert_int_equal(json_array_size(stmts), 1);
		json_decref(stmts);
	}
}

static void nothing_breaks_out_of_its_place(void **state)
{
	static const char *const names[] = { "t",     "T t", "a\"b", "\"",  "'",        "--", "/*",    "{table}",
					     "{key}", "$1",  ";",    "a.b", "\xc3\xbc", "k1", "drover" };
	static const char *const texts[] = {
		T "-- drover: set a = 'x' -- {key}\n-- drover: pending a IS NULL -- {pending} --\n-- drover: where b > 1 -- x\n",
		T "-- drover: set a = '{key}' || $$ {table} $$\n-- drover: ledger\n",
		T "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET a = '{table}' FROM :batch;\n",
		T "-- drover: ledger\n-- drover: handler procedure \"p;q\"\n",
	};

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		for (size_t i = 0; i < ARRAY_SIZE(texts) * 4; i++) {
			struct plan_column own[ARRAY_SIZE(columns)];
			struct plan_table t = table_of(strstr(texts[i % ARRAY_SIZE(texts)], "handler") != NULL ? 1 : 1 + i / 4 % 2);
			json_t *plan;

			memcpy(own, columns, sizeof(own));
			own[0].name = own[4].name = names[n];
			own[3].collation = "pg_catalog.\"C\"";
			t.columns = own;
			t.keys[0] = &own[0];
			t.keys[1] = &own[3];
			t.schema = t.name = names[n];
			plan = make(texts[i % ARRAY_SIZE(texts)], &t, i / 8 % 2 == 0 ? MIGRATION_BATCH : MIGRATION_ROW);
			all_statements_parse(plan);
			json_decref(plan);
		}
	}
}

static void identifiers_are_quoted_in_one_way(void **state)
{
	struct buf out = BUF_INIT(100);

	(void)state;
	(void)plan_add_identifier(&out, "a\"b c");
	assert_string_equal(out.data, "\"a\"\"b c\"");
	buf_free(&out);
}

static void names_that_the_server_is_asked_about(void **state)
{
	struct migration_file *f = parse(
		T "-- drover: set a = lower(x) || app.f(y) OPERATOR(pg_catalog.+) 1\n-- drover: pending a IS NULL AND b BETWEEN 1 AND 2\n");
	struct strvec functions, operators;
	struct err err = ERR_INIT;

	(void)state;
	strvec_init(&functions, 100);
	strvec_init(&operators, 100);
	assert_int_equal(plan_names(f, &functions, &operators, &err), 0);
	assert_int_equal(functions.n, 2);
	assert_true(strvec_has(&functions, "lower"));
	assert_true(strvec_has(&functions, "app.f"));
	assert_int_equal(operators.n, 2);
	assert_true(strvec_has(&operators, "pg_catalog.+"));
	strvec_free(&functions);
	strvec_free(&operators);
	migration_file_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_migration_has_the_form_that_is_safe),
		cmocka_unit_test(a_section_amounts_to_a_set_if_it_updates_this_table_by_its_whole_key),
		cmocka_unit_test(a_stronger_lock_is_taken_where_foreign_keys_may_look),
		cmocka_unit_test(large_ranges_are_done_by_turns_where_new_versions_find_room_in_their_pages),
		cmocka_unit_test(what_cannot_be_derived_is_asked_for),
		cmocka_unit_test(several_columns_keep_what_is_written),
		cmocka_unit_test(nothing_breaks_out_of_its_place),
		cmocka_unit_test(identifiers_are_quoted_in_one_way),
		cmocka_unit_test(names_that_the_server_is_asked_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
