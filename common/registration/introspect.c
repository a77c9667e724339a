/*
 * introspect.c - what the server says of the table.
 */
#include "registration/introspect.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "pg/pg_array.h"
#include "registration/introspect_private.h"
#include "sql.h"

#define ARRAY_MAX ((size_t)1024 * 1024) /* bytes */

/* Ours while the statements of the plan run: index scans in key order, whatever the statistics say. */
static const char *const planner_ours[][2] = {
	{ "enable_seqscan", "off" },
	{ "enable_bitmapscan", "off" },
	{ "enable_sort", "off" },
	{ "enable_incremental_sort", "off" },
	{ "max_parallel_workers_per_gather", "0" },
	{ "jit", "off" },
};

/* Besides what was captured. The SQL was parsed with the first on; the others keep statements of the plan in their right plan and the proof whole. */
static const char *const always[][2] = {
	{ "standard_conforming_strings", "on" },
	{ "plan_cache_mode", "force_custom_plan" },
	{ "row_security", "off" },
};

void introspect_free(struct introspection *in)
{
	PQclear(in->res_table);
	PQclear(in->res_columns);
	PQclear(in->res_settings);
	PQclear(in->res_routines);
	json_decref(in->settings);
	free(in->columns);
	free(in->routines);
	free(in->quoted);
	free(in->handler_type);
	memset(in, 0, sizeof(*in));
}

/* ------------------------------------------------------------ settings */

static int set_setting(struct introspection *in, const char *name, const char *value, struct err *err)
{
	if (json_object_set_new(in->settings, name, json_string(value)) != 0)
		return err_set(err, ST_NOMEM, "out of memory");
	return 0;
}

static int read_settings(struct pg_sync *c, struct introspection *in, struct err *err)
{
	size_t planner = 0;
	int rc = pg_exec(c, SQL_REGISTER_SETTINGS, 0, NULL, &in->res_settings, err);

	in->settings = json_object();
	for (int i = 0; rc == 0 && i < PQntuples(in->res_settings); i++) {
		const char *name = pg_str(in->res_settings, i, "name"), *value = pg_str(in->res_settings, i, "value");

		if (!pg_bool(in->res_settings, i, "planner")) {
			rc = set_setting(in, name, value, err);
		} else if (planner + 1 < INTROSPECT_PLANNER_MAX) {
			in->planner[planner][0] = name;
			in->planner[planner++][1] = value;
		}
	}
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(planner_ours); i++)
		rc = set_setting(in, planner_ours[i][0], planner_ours[i][1], err);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(always); i++)
		rc = set_setting(in, always[i][0], always[i][1], err);
	in->table.planner = in->planner;
	return rc;
}

int introspect_apply_settings(struct pg_sync *c, const struct introspection *in, struct err *err)
{
	static const char sql[] = "SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.json_each_text($1::json)";
	char *text = json_dumps(in->settings, JSON_COMPACT);
	const char *const params[] = { text };
	int rc = text == NULL ? err_set(err, ST_NOMEM, "out of memory") : pg_exec(c, sql, 1, params, NULL, err);

	free(text);
	return rc;
}

/* The schemas that the search path means here: "$user" is another one for a worker's role. */
static int pin_search_path(struct pg_sync *c, struct introspection *in, struct err *err)
{
	static const char sql[] = "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s), ', ' ORDER BY o) AS path"
				  " FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS u(s, o)";
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = pg_exec(c, sql, 0, NULL, &res, err);

	return rc != 0 ? rc : set_setting(in, "search_path", pg_str(res, 0, "path"), err);
}

/* ------------------------------------------------------------ the table */

static int refuse_kind(const struct migration_file *f, char relkind, struct problems *problems)
{
	const char *what = relkind == 'v' ? "a view: name the table under it" :
			   relkind == 'm' ? "a materialized view: name the table under it" :
			   relkind == 'f' ? "a foreign table: run Drover where its rows are" :
			   relkind == 'S' ? "a sequence" :
			   relkind == 'i' ? "an index" :
			   relkind == 'I' ? "an index" :
					    "no table";

	return problems_add(problems, f->table.line, "'%s' is %s; expected an ordinary or a partitioned table", f->table.text, what);
}

static int check_table(const struct migration_file *f, struct introspection *in, struct problems *problems)
{
	const PGresult *res = in->res_table;

	in->relkind = pg_str(res, 0, "relkind")[0];
	if (in->relkind != 'r' && in->relkind != 'p')
		return refuse_kind(f, in->relkind, problems);
	if (in->relkind == 'r' && pg_bool(res, 0, "has_children"))
		return problems_add(
			problems, f->table.line,
			"table '%s' has tables that inherit from it, whose rows no unique index of it covers; expected each of them to "
			"be migrated by a file of its own, or a partitioned table",
			f->table.text);
	if (pg_bool(res, 0, "temporary"))
		return problems_add(problems, f->table.line, "table '%s' is temporary: workers cannot see it", f->table.text);
	if (pg_bool(res, 0, "system"))
		return problems_add(problems, f->table.line, "table '%s' belongs to PostgreSQL or to Drover itself", f->table.text);
	if (!pg_bool(res, 0, "readable"))
		return problems_add(problems, f->table.line,
				    "no rights on table '%s'; expected, for example, GRANT SELECT ON %s TO this role", f->table.text,
				    in->quoted);
	if (pg_bool(res, 0, "hidden"))
		return problems_add(
			problems, f->table.line,
			"a row-level security policy hides rows of table '%s' from this role; expected a role with BYPASSRLS, or the table's owner",
			f->table.text);
	return 0;
}

static int no_such_table(struct pg_sync *c, const struct migration_file *f, struct problems *problems, struct err *err)
{
	static const char sql[] =
		"SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
		" WHERE c.relkind IN ('r', 'p') AND CASE WHEN $1::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)"
		" AND n.nspname <> 'pg_catalog' ELSE n.nspname = $1 END ORDER BY 1 LIMIT 1000";
	const char *const params[] = { f->table_schema };
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	const char *names[1001] = { NULL };
	const char *nearest;
	int rc = pg_exec(c, sql, 1, params, &res, err);

	if (rc != 0)
		return rc;
	for (int i = 0; i < PQntuples(res) && i < 1000; i++)
		names[i] = pg_str(res, i, "name");
	nearest = text_nearest(f->table_name, names);
	(void)problems_add(problems, f->table.line, "there is no table '%s'%s%s%s", f->table.text,
			   nearest != NULL ? "; did you mean '" : "",
			   nearest != NULL         ? nearest :
			   f->table_schema == NULL ? " in the search path; expected a table, with its schema if need be" :
						     "",
			   nearest != NULL ? "'?" : "");
	return err_set(err, ST_INPUT, "there is no such table");
}

static int read_table(struct pg_sync *c, const struct migration_file *f, struct introspection *in, struct problems *problems,
		      struct err *err)
{
	CLEANUP(buf_free) struct buf name = BUF_INIT(1000);
	const char *params[1];
	int rc;

	if (f->table_schema != NULL) {
		(void)plan_add_identifier(&name, f->table_schema);
		(void)buf_putc(&name, '.');
	}
	(void)plan_add_identifier(&name, f->table_name);
	params[0] = name.data;
	rc = pg_exec(c, SQL_REGISTER_TABLE, 1, params, &in->res_table, err);
	if (rc != 0)
		return rc;
	if (PQntuples(in->res_table) == 0)
		return no_such_table(c, f, problems, err);
	in->oid = (uint32_t)pg_i64(in->res_table, 0, "oid");
	in->table.schema = pg_str(in->res_table, 0, "schema");
	in->table.name = pg_str(in->res_table, 0, "name");
	in->table.visible = pg_bool(in->res_table, 0, "visible");
	in->table.update_triggers = pg_bool(in->res_table, 0, "update_triggers");
	in->table.statement_triggers = pg_bool(in->res_table, 0, "statement_triggers");
	in->table.deferred_triggers = pg_bool(in->res_table, 0, "deferred_triggers");
	in->bytes = pg_i64(in->res_table, 0, "bytes");
	buf_reset(&name);
	(void)plan_add_identifier(&name, in->table.schema);
	(void)buf_putc(&name, '.');
	(void)plan_add_identifier(&name, in->table.name);
	in->quoted = buf_detach(&name);
	if (in->quoted == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	if (check_table(f, in, problems) != 0)
		return err_set(err, ST_INPUT, "the table will not do");
	return 0;
}

static int read_columns(struct pg_sync *c, struct introspection *in, struct err *err)
{
	const char *const params[] = { pg_str(in->res_table, 0, "oid") };
	int n, rc = pg_exec(c, SQL_REGISTER_COLUMNS, 1, params, &in->res_columns, err);

	if (rc != 0)
		return rc;
	n = PQntuples(in->res_columns);
	in->columns = calloc((size_t)n + 1, sizeof(*in->columns));
	if (in->columns == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	for (int i = 0; i < n; i++) {
		const char *kind = pg_str(in->res_columns, i, "kind");

		in->columns[i] = (struct plan_column){
			.name = pg_str(in->res_columns, i, "name"),
			.type = pg_str(in->res_columns, i, "type"),
			.collation = pg_opt(in->res_columns, i, "collation"),
			.not_null = pg_bool(in->res_columns, i, "not_null"),
			.integer = strcmp(kind, "integer") == 0,
			.datetime = strcmp(kind, "datetime") == 0,
			.varlena = pg_bool(in->res_columns, i, "varlena"),
			.in_order = pg_bool(in->res_columns, i, "in_order"),
			.locking = pg_bool(in->res_columns, i, "locking"),
		};
	}
	in->table.columns = in->columns;
	in->table.nr_columns = (size_t)n;
	return 0;
}

/* ------------------------------------------------------------ functions and operators */

static int add_array(const struct strvec *names, struct buf *out)
{
	for (size_t i = 0; i < names->n; i++)
		(void)pg_array_add(out, i == 0, names->v[i]);
	return pg_array_end(out, names->n == 0);
}

static int read_routines(struct pg_sync *c, const struct migration_file *f, struct introspection *in, struct err *err)
{
	CLEANUP(buf_free) struct buf functions = BUF_INIT(ARRAY_MAX), operators = BUF_INIT(ARRAY_MAX);
	CLEANUP(strvec_free) struct strvec function_names, operator_names;
	const char *params[2];
	int n, rc;

	strvec_init(&function_names, 10000);
	strvec_init(&operator_names, 10000);
	rc = plan_names(f, &function_names, &operator_names, err);
	if (rc != 0)
		return rc;
	(void)add_array(&function_names, &functions);
	(void)add_array(&operator_names, &operators);
	if (!buf_ok(&functions) || !buf_ok(&operators))
		return err_set(err, ST_LIMIT, "the migration uses too many functions");
	params[0] = functions.data;
	params[1] = operators.data;
	rc = pg_exec(c, SQL_REGISTER_ROUTINES, 2, params, &in->res_routines, err);
	if (rc != 0)
		return rc;
	n = PQntuples(in->res_routines);
	in->routines = calloc((size_t)n + 1, sizeof(*in->routines));
	if (in->routines == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	for (int i = 0; i < n; i++) {
		in->routines[i].name = pg_str(in->res_routines, i, "name");
		in->routines[i].local = pg_bool(in->res_routines, i, "local");
		in->routines[i].moving = pg_bool(in->res_routines, i, "moving");
	}
	in->table.routines = in->routines;
	in->table.nr_routines = (size_t)n;
	return 0;
}

/* ------------------------------------------------------------ the whole */

/* Text of such a database may be any bytes, of which neither keys nor dead letters can be made. */
static int check_encoding(struct pg_sync *c, struct err *err)
{
	const char *encoding = PQparameterStatus(pg_sync_conn(c), "server_encoding");

	if (encoding == NULL || strcmp(encoding, "SQL_ASCII") != 0)
		return 0;
	return err_set(
		err, ST_REFUSED,
		"the encoding of database '%s' is SQL_ASCII, in which text may be any bytes; Drover needs one that says what they mean: dump it and "
		"restore it with ENCODING 'UTF8'",
		PQdb(pg_sync_conn(c)));
}

int introspect(struct pg_sync *c, const struct migration_file *f, struct introspection *ret, struct problems *problems, struct err *err)
{
	static const char no_path[] = "SELECT pg_catalog.set_config('search_path', '', true)";
	int rc, handler = 0, key = 0;

	memset(ret, 0, sizeof(*ret));
	rc = check_encoding(c, err);
	if (rc == 0)
		rc = read_settings(c, ret, err);
	if (rc == 0)
		rc = introspect_apply_settings(c, ret, err);
	if (rc == 0)
		rc = pin_search_path(c, ret, err);
	if (rc == 0)
		rc = read_table(c, f, ret, problems, err);
	if (rc == 0)
		rc = read_routines(c, f, ret, err);
	/* A handler or key that is not there keeps no other name from being looked at: all are for one message. */
	if (rc == 0)
		handler = introspect_handler(c, f, ret, problems, err);
	if (handler != ST_INPUT)
		rc = rc != 0 ? rc : handler;
	/* Names of types are to be qualified. */
	if (rc == 0)
		rc = pg_exec(c, no_path, 0, NULL, NULL, err);
	if (rc == 0)
		rc = read_columns(c, ret, err);
	if (rc == 0)
		rc = introspect_apply_settings(c, ret, err);
	if (rc == 0)
		key = introspect_key(c, f, ret, problems, err);
	if (key != ST_INPUT)
		rc = rc != 0 ? rc : key;
	if (rc == 0)
		rc = introspect_names(f, ret, problems, err);
	if (rc == 0)
		rc = handler != 0 ? handler : key;
	return rc;
}
