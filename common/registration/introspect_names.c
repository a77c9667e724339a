/*
 * introspect_names.c - names in the file that must be there: columns, the handler.
 */
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "migration/plan.h"
#include "migration/tree.h"
#include "registration/introspect_private.h"
#include "sql.h"

/* ------------------------------------------------------------ columns */

static void report_column(const struct introspection *in, int line, const char *what, const char *column, struct problems *problems)
{
	const char **names = calloc(in->table.nr_columns + 1, sizeof(*names));
	const char *nearest = NULL;

	for (size_t i = 0; names != NULL && i < in->table.nr_columns; i++)
		names[i] = in->columns[i].name;
	if (names != NULL)
		nearest = text_nearest(column, names);
	if (nearest != NULL)
		(void)problems_add(problems, line, "%s: table '%s' has no column '%s'; did you mean '%s'?", what, in->table.name, column,
				   nearest);
	else
		(void)problems_add(
			problems, line,
			"%s: table '%s' has no column '%s'; expected one of its columns, or one to be added first (ALTER TABLE … ADD COLUMN)",
			what, in->table.name, column);
	free(names);
}

static bool is_key(const struct introspection *in, const struct plan_column *column)
{
	for (size_t i = 0; i < in->table.nr_keys; i++) {
		if (in->table.keys[i] == column)
			return true;
	}
	return false;
}

static void check_set(const struct introspection *in, const struct migration_set *s, struct problems *problems)
{
	const struct plan_column *column = plan_find_column(&in->table, s->column);

	if (column == NULL)
		report_column(in, s->line, "'set'", s->column, problems);
	else if (!pg_bool(in->res_columns, (int)(column - in->columns), "writable"))
		(void)problems_add(problems, s->line,
				   "'set': PostgreSQL itself computes column '%s' (GENERATED ALWAYS); expected another column", s->column);
	else if (is_key(in, column))
		(void)problems_add(
			problems, s->line,
			"'set': column '%s' is part of the key that the table is walked by; expected '-- drover: key' with columns that stay as they are",
			s->column);
}

/* Columns that an expression reads. Where it has a subquery they may be another table's: the server looks at those. */
static int check_expression(const struct introspection *in, int line, const char *what, const char *text, struct problems *problems,
			    struct err *err)
{
	static const char *const system[] = { "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", NULL };
	struct plan_facts facts;
	int rc;

	if (text == NULL)
		return 0;
	rc = plan_facts_of(&in->table, text, &facts, err);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < facts.names.columns.n && !facts.names.subquery; i++) {
		const char *name = facts.names.columns.v[i], *qualifier = facts.names.qualifiers.v[i];

		if (*qualifier != '\0' && strcmp(qualifier, in->table.name) != 0)
			continue;
		if (plan_find_column(&in->table, name) == NULL && !text_one_of(name, system) && strcmp(name, in->table.name) != 0)
			report_column(in, line, what, name, problems);
	}
	tree_facts_free(&facts.names);
	return 0;
}

int introspect_names(const struct migration_file *f, struct introspection *in, struct problems *problems, struct err *err)
{
	int rc = check_expression(in, f->pending.line, "'pending'", f->pending.text, problems, err);

	if (rc == 0)
		rc = check_expression(in, f->where.line, "'where'", f->where.text, problems, err);
	for (size_t i = 0; i < f->nr_sets && rc == 0; i++) {
		check_set(in, &f->sets[i], problems);
		rc = check_expression(in, f->sets[i].line, "'set'", f->sets[i].expression, problems, err);
	}
	return rc;
}

/* ------------------------------------------------------------ the handler */

/* Unquoted parts of "schema.name", from the file's own parser: there are one or two. */
static int look_up(struct pg_sync *c, const char *handler, PGresult **ret, struct err *err)
{
	static const char split[] = "SELECT pg_catalog.to_json(pg_catalog.parse_ident($1))::text AS parts";
	const char *params[2] = { handler, NULL };
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	json_t *parts;
	int rc = pg_exec(c, split, 1, params, &res, err);

	if (rc != 0)
		return rc;
	parts = json_loads(pg_str(res, 0, "parts"), 0, NULL);
	params[0] = json_array_size(parts) > 1 ? json_string_value(json_array_get(parts, 0)) : NULL;
	params[1] = json_string_value(json_array_get(parts, json_array_size(parts) - 1));
	rc = pg_exec(c, SQL_REGISTER_HANDLER, 2, params, ret, err);
	json_decref(parts);
	return rc;
}

int introspect_handler(struct pg_sync *c, const struct migration_file *f, struct introspection *in, struct problems *problems,
		       struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	CLEANUP(buf_free) struct buf seen = BUF_INIT(2000);
	int rc, fit = 0;

	if (f->handler.text == NULL)
		return 0;
	rc = look_up(c, f->handler.text, &res, err);
	if (rc != 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		bool usable = pg_bool(res, i, "procedure") && !pg_null(res, i, "type");

		(void)buf_printf(&seen, "%s%s%s", i > 0 ? ", " : "", pg_bool(res, i, "procedure") ? "procedure " : "function ",
				 pg_str(res, i, "signature"));
		if (!usable)
			continue;
		/* Of several that are called the same, the one for text[] reads every key. */
		if (fit++ == 0 || strcmp(pg_str(res, i, "element"), "text") == 0) {
			free(in->handler_type);
			in->handler_type = strdup(pg_str(res, i, "type"));
			if (in->handler_type == NULL)
				return err_set(err, ST_NOMEM, "out of memory");
		}
	}
	in->table.handler_type = in->handler_type;
	if (fit > 0)
		return 0;
	(void)problems_add(
		problems, f->handler.line,
		"'handler': there is no procedure '%s' that takes one array%s%s; expected, for example, CREATE PROCEDURE %s(keys text[])",
		f->handler.text, seen.len > 0 ? ", only " : "", seen.data, f->handler.text);
	return err_set(err, ST_INPUT, "there is no such handler");
}
