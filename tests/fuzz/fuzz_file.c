/*
 * fuzz_file.c - migration files: the parser, the placeholders, and the plan that comes of what was taken for good.
 *
 * Beyond not crashing: whatever the file says, each statement of its plan is still one statement.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "migration/plain.h"
#include "migration/plan.h"
#include "migration/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* @placed: a statement of the user's, where a placeholder may stand in a place that takes a name alone: the server will refuse it. */
static void is_one_statement(const char *sql, bool placed)
{
	struct err err = ERR_INIT;
	json_t *stmts = NULL;
	size_t offset;

	/* "nested too deeply" is the one way in which a whole may be refused whose parts were not. */
	if (tree_parse(sql, &stmts, &offset, &err) != 0) {
		assert(placed || strstr(err.msg, "too deeply") != NULL || strstr(err.msg, "longer than") != NULL ||
		       strstr(err.msg, "memory exhausted") != NULL);
		return;
	}
	assert(json_array_size(stmts) == 1);
	json_decref(stmts);
}

static void add_columns(struct plan_table *t, struct plan_column *columns, const struct migration_set *sets, size_t n)
{
	for (size_t i = 0; i < n && i < MIGRATION_SETS_MAX; i++)
		columns[t->nr_columns++] = (struct plan_column){ .name = sets[i].column, .type = "text", .varlena = true };
}

static void check_plan(const struct migration_file *f)
{
	struct plan_column columns[MIGRATION_SETS_MAX + 1] = { { .name = "id", .type = "bigint", .not_null = true, .integer = true } };
	struct plan_table t = {
		.schema = "public", .name = f->table_name, .columns = columns, .nr_columns = 1, .keys = { &columns[0] }, .nr_keys = 1
	};
	struct err err = ERR_INIT;
	struct problems problems;
	json_t *plan = NULL, *script, *step;
	const char *name;
	size_t i;

	t.handler_type = "text[]";
	t.visible = true;
	add_columns(&t, columns, f->sets, f->nr_sets);
	if (f->plain != NULL)
		add_columns(&t, columns, f->plain->sets, f->plain->nr_sets);
	problems_init(&problems);
	if (plan_make(f, &t, f->mode, 1, &plan, &problems, &err) == 0) {
		json_object_foreach(json_object_get(plan, "scripts"), name, script) {
			json_array_foreach(script, i, step)
				is_one_statement(json_string_value(json_object_get(step, "sql")),
						 strcmp(json_string_value(json_object_get(step, "role")), "transform") == 0);
		}
		json_object_foreach(json_object_get(plan, "statements"), name, step)
			is_one_statement(json_string_value(step), false);
		json_decref(plan);
	}
	problems_free(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct migration_file *f = NULL;
	struct err err = ERR_INIT;
	struct problems problems;
	struct buf shown = BUF_INIT(1000000);

	if (size == 0)
		return 0;
	problems_init(&problems);
	if (migration_file_parse("fuzz.sql", (const char *)data, size, &f, &problems, &err) == 0) {
		assert(problems.total == 0);
		check_plan(f);
	} else {
		assert(f == NULL && err.msg[0] != '\0');
		(void)problems_print(&problems, "fuzz.sql", &shown);
	}
	migration_file_free(f);
	problems_free(&problems);
	buf_free(&shown);
	return 0;
}
