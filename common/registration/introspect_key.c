/*
 * introspect_key.c - the key that a table is walked by, and why another will not do.
 */
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "migration/plan.h"
#include "registration/introspect_private.h"
#include "sql.h"

struct candidate {
	const PGresult *res;
	int row;
	json_t *columns; /* array of names; NULL if there are expressions */
};

static void add_columns(struct buf *out, const struct candidate *x)
{
	for (size_t i = 0; i < json_array_size(x->columns); i++)
		(void)buf_printf(out, "%s%s", i > 0 ? ", " : "", json_string_value(json_array_get(x->columns, i)));
}

static const struct plan_column *column_of(const struct introspection *in, const char *name, int *ret_row)
{
	for (size_t i = 0; i < in->table.nr_columns; i++) {
		if (strcmp(in->columns[i].name, name) == 0) {
			*ret_row = (int)i;
			return &in->columns[i];
		}
	}
	return NULL;
}

/* Why the index cannot be walked; NULL if it can. */
static const char *unfit(const struct introspection *in, const struct candidate *x)
{
	const PGresult *r = x->res;

	if (x->columns == NULL)
		return "it is on an expression";
	if (!pg_bool(r, x->row, "valid"))
		return "it is not valid (was CREATE INDEX CONCURRENTLY interrupted? REINDEX it)";
	if (pg_bool(r, x->row, "partial"))
		return "it is partial, so it does not cover every row";
	if (pg_bool(r, x->row, "deferrable"))
		return "it is deferrable, so it may hold a key twice for a while";
	if (json_array_size(x->columns) > MIGRATION_KEYS_MAX)
		return "it has more than four columns";
	if (pg_bool(r, x->row, "mixed"))
		return "some of its columns are descending and some ascending";
	if (pg_bool(r, x->row, "other_collation"))
		return "it is sorted by another collation than its column";
	if (pg_bool(r, x->row, "other_opclass"))
		return "it has an operator class that is not the default";
	if (pg_bool(r, x->row, "unseen_type"))
		return "the comparison of its type lies in a schema that is not in the search path";
	for (size_t i = 0; i < json_array_size(x->columns); i++) {
		int row;
		const struct plan_column *column = column_of(in, json_string_value(json_array_get(x->columns, i)), &row);

		if (column == NULL || !column->not_null)
			return "one of its columns may be NULL; ALTER TABLE … ALTER COLUMN … SET NOT NULL";
		if (strcmp(pg_str(in->res_columns, row, "kind"), "array") == 0)
			return "one of its columns is an array";
	}
	return NULL;
}

static bool same_order(const struct migration_file *f, const struct candidate *x)
{
	if (json_array_size(x->columns) != f->nr_keys)
		return false;
	for (size_t i = 0; i < f->nr_keys; i++) {
		if (strcmp(f->keys[i], json_string_value(json_array_get(x->columns, i))) != 0)
			return false;
	}
	return true;
}

static bool same_set(const struct migration_file *f, const struct candidate *x)
{
	if (json_array_size(x->columns) != f->nr_keys)
		return false;
	for (size_t i = 0; i < f->nr_keys; i++) {
		bool found = false;

		for (size_t j = 0; j < f->nr_keys; j++)
			found = found || strcmp(f->keys[i], json_string_value(json_array_get(x->columns, j))) == 0;
		if (!found)
			return false;
	}
	return true;
}

static void take(struct introspection *in, const struct candidate *x)
{
	int row;

	in->table.nr_keys = json_array_size(x->columns);
	for (size_t i = 0; i < in->table.nr_keys; i++)
		in->table.keys[i] = column_of(in, json_string_value(json_array_get(x->columns, i)), &row);
}

/* Report names of `key` that are no columns. Returns how many there are. */
static size_t missing_columns(const struct migration_file *f, const struct introspection *in, struct problems *problems)
{
	size_t missing = 0;

	for (size_t i = 0; i < f->nr_keys; i++) {
		if (plan_find_column(&in->table, f->keys[i]) != NULL)
			continue;
		missing++;
		(void)problems_add(problems, f->key_line, "'key': table '%s' has no column '%s'", f->table.text, f->keys[i]);
	}
	return missing;
}

struct choice {
	bool taken;
	struct buf others;  /* indexes that would do */
	struct buf reasons; /* why those that were meant will not */
};

static void consider(const struct migration_file *f, struct introspection *in, const struct candidate *x, struct choice *c)
{
	const char *why = unfit(in, x), *name = pg_str(x->res, x->row, "name");
	bool primary = pg_bool(x->res, x->row, "is_primary");
	bool meant = f->nr_keys > 0 ? same_order(f, x) : primary;

	if (meant && why == NULL && !c->taken) {
		take(in, x);
		c->taken = true;
	} else if (meant && why != NULL) {
		(void)buf_printf(&c->reasons, "%sindex '%s' will not do: %s", c->reasons.len > 0 ? "; " : "", name, why);
	} else if (why == NULL) {
		if (f->nr_keys > 0 && same_set(f, x))
			(void)buf_printf(&c->reasons, "%sindex '%s' has these columns in another order", c->reasons.len > 0 ? "; " : "",
					 name);
		(void)buf_puts(&c->others, c->others.len > 0 ? "' or '-- drover: key " : "'-- drover: key ");
		add_columns(&c->others, x);
	}
}

static int report(const struct migration_file *f, const struct choice *c, struct problems *problems, struct err *err)
{
	const char *reasons = c->reasons.len > 0 ? c->reasons.data : NULL;
	int line = f->key_line > 0 ? f->key_line : f->table.line;
	CLEANUP(buf_free) struct buf expected = BUF_INIT(4000);

	if (c->others.len > 0)
		(void)buf_printf(&expected, "expected %s'", c->others.data);
	else
		(void)buf_puts(&expected,
			       "expected a unique index on columns that are NOT NULL, for example ALTER TABLE … ADD PRIMARY KEY (id)");
	if (f->nr_keys > 0)
		(void)problems_add(problems, line, "'key': %s; %s",
				   reasons != NULL ?
					   reasons :
					   "no unique index is on exactly these columns, so that they would not name one row each",
				   expected.data);
	else
		(void)problems_add(problems, line, "table '%s' has no %s: %s; %s", f->table.text,
				   reasons != NULL ? "usable key" : "primary key",
				   reasons != NULL ? reasons : "its rows cannot be told apart", expected.data);
	return err_set(err, ST_INPUT, "the table has no usable key");
}

int introspect_key(struct pg_sync *c, const struct migration_file *f, struct introspection *in, struct problems *problems, struct err *err)
{
	const char *const params[] = { pg_str(in->res_table, 0, "oid") };
	struct choice choice = { .others = BUF_INIT(2000), .reasons = BUF_INIT(4000) };
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = 0;

	if (missing_columns(f, in, problems) > 0)
		return err_set(err, ST_INPUT, "the key has no such column");
	rc = pg_exec(c, SQL_REGISTER_INDEXES, 1, params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
		struct candidate x = { .res = res, .row = i };

		if (!pg_null(res, i, "columns"))
			x.columns = json_loads(pg_str(res, i, "columns"), 0, NULL);
		consider(f, in, &x, &choice);
		json_decref(x.columns);
	}
	if (rc == 0 && !choice.taken)
		rc = report(f, &choice, problems, err);
	buf_free(&choice.others);
	buf_free(&choice.reasons);
	return rc;
}
