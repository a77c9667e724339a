/*
 * check.c - have the server parse what it will run later.
 *
 * PREPARE does that without running or even planning it, so that a producer with the right to read alone may register. Each
 * statement stands behind a savepoint: all mistakes are found, not the first alone.
 */
#include "registration/check.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/buf.h"
#include "migration/plan.h"
#include "migration/scan.h"
#include "pg/pg_status.h"
#include "sql.h"

#define SQL_MAX ((size_t)32 * 1024 * 1024) /* bytes */

static const char prepare[] = "PREPARE drover_check AS ";

struct checked {
	const char *sql;    /* what is prepared */
	const char *shown;  /* "'pending'" */
	int line;           /* in the file, of the first line of ... */
	size_t user_offset; /* ... the user's text within sql */
	bool many_lines;    /* the user's text has lines of its own, and a position in it says which */
};

/* The line in the file of an error's position in the statement. */
static int line_of(const struct checked *k, const PGresult *failed)
{
	const char *position = PQresultErrorField(failed, PG_DIAG_STATEMENT_POSITION);
	size_t offset;

	if (!k->many_lines || position == NULL)
		return k->line;
	offset = scan_byte_of(k->sql, atoi(position) - (int)strlen(prepare));
	return offset < k->user_offset ? k->line : k->line + scan_line_of(k->sql + k->user_offset, offset - k->user_offset) - 1;
}

static void report(const struct checked *k, const PGresult *failed, struct problems *problems)
{
	const char *message = PQresultErrorField(failed, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(failed, PG_DIAG_MESSAGE_HINT);

	if (message == NULL)
		message = "refused by the server";
	/* The one type that people compare and that cannot be compared. */
	if (strstr(message, "operator does not exist: json ") != NULL || strstr(message, "equality operator for type json") != NULL)
		hint = "json values cannot be compared: compare (column)::jsonb or (column)::text, or make the column jsonb";
	(void)problems_add(problems, line_of(k, failed), "%s: %s%s%s", k->shown, message, hint != NULL ? "; " : "",
			   hint != NULL ? hint : "");
}

static int check_one(struct pg_sync *c, const struct checked *k, struct problems *problems, struct err *err)
{
	CLEANUP(buf_free) struct buf sql = BUF_INIT(SQL_MAX);
	int rc;

	(void)buf_puts(&sql, prepare);
	(void)buf_puts(&sql, k->sql);
	if (!buf_ok(&sql))
		return err_set(err, ST_LIMIT, "a statement of the migration is too long");
	rc = pg_exec(c, "SAVEPOINT drover_check", 0, NULL, NULL, err);
	if (rc != 0)
		return rc;
	rc = pg_exec(c, sql.data, 0, NULL, NULL, err);
	if (rc == 0)
		return pg_exec(c, "DEALLOCATE drover_check", 0, NULL, NULL, err);
	if (rc != ST_SQL || pg_classify(err->sqlstate, NULL) == PG_CLASS_CONFLICT)
		return rc;
	report(k, pg_sync_failed(c), problems);
	err_clear(err);
	return pg_exec(c, "ROLLBACK TO SAVEPOINT drover_check", 0, NULL, NULL, err);
}

/* ------------------------------------------------------------ expressions */

/* @before, the user's expression on lines of its own, in parentheses. */
static int check_expression(struct pg_sync *c, const char *before, const char *text, const char *shown, int line, struct problems *problems,
			    struct err *err)
{
	CLEANUP(buf_free) struct buf sql = BUF_INIT(SQL_MAX);
	struct checked k = { .shown = shown, .line = line };

	if (text == NULL)
		return 0;
	(void)buf_printf(&sql, "%s (\n%s\n)", before, text);
	k.sql = sql.data;
	return buf_ok(&sql) ? check_one(c, &k, problems, err) : err_set(err, ST_LIMIT, "an expression of the migration is too long");
}

int check_file(struct pg_sync *c, const struct migration_file *f, const struct introspection *in, struct problems *problems,
	       struct err *err)
{
	CLEANUP(buf_free) struct buf before = BUF_INIT(2000);
	int rc;

	(void)buf_printf(&before, "SELECT FROM %s WHERE", in->quoted);
	rc = check_expression(c, before.data, f->pending.text, "'pending'", f->pending.line, problems, err);
	if (rc == 0)
		rc = check_expression(c, before.data, f->where.text, "'where'", f->where.line, problems, err);
	for (size_t i = 0; i < f->nr_sets && rc == 0; i++) {
		buf_reset(&before);
		(void)buf_printf(&before, "UPDATE %s SET ", in->quoted);
		(void)plan_add_identifier(&before, f->sets[i].column);
		(void)buf_puts(&before, " =");
		rc = check_expression(c, before.data, f->sets[i].expression, "'set'", f->sets[i].line, problems, err);
	}
	return rc;
}

/* ------------------------------------------------------------ statements */

/* CALL and DO cannot be prepared by SQL; the handler was looked up. */
static bool can_be_prepared(const char *sql)
{
	struct scan_tokens tokens = { 0 };
	size_t offset, i = 0;
	bool can = true;

	if (scan_sql(sql, &tokens, &offset, NULL) != 0)
		return true;
	while (i < tokens.n && tokens.v[i].comment)
		i++;
	if (i < tokens.n) {
		const struct scan_token *t = &tokens.v[i];
		size_t n = t->end - t->start;

		can = !(n == 4 && strncasecmp(sql + t->start, "CALL", n) == 0) && !(n == 2 && strncasecmp(sql + t->start, "DO", n) == 0) &&
		      !(n == 3 && strncasecmp(sql + t->start, "SET", n) == 0);
	}
	scan_free(&tokens);
	return can;
}

static int check_step(struct pg_sync *c, const struct migration_file *f, json_t *step, struct problems *problems, struct err *err)
{
	const char *role = json_string_value(json_object_get(step, "role"));
	struct checked k = {
		.sql = json_string_value(json_object_get(step, "sql")),
		.shown = "the statement",
		.line = (int)json_integer_value(json_object_get(step, "line")),
	};

	k.many_lines = strcmp(role, "transform") == 0 && f->nr_sets == 0;
	return can_be_prepared(k.sql) ? check_one(c, &k, problems, err) : 0;
}

int check_plan(struct pg_sync *c, const struct migration_file *f, json_t *plan, struct problems *problems, struct err *err)
{
	size_t before = problems->total, i;
	const char *name;
	json_t *script, *step, *sql;
	int rc = 0;

	/* The user's statements are the same in all scripts: look at the others only if they are well. */
	json_object_foreach(json_object_get(plan, "scripts"), name, script) {
		json_array_foreach(script, i, step) {
			if (rc == 0 && problems->total == before)
				rc = check_step(c, f, step, problems, err);
		}
	}
	json_object_foreach(json_object_get(plan, "statements"), name, sql) {
		struct checked k = { .sql = json_string_value(sql), .shown = name };

		if (rc == 0 && problems->total == before)
			rc = check_one(c, &k, problems, err);
	}
	return rc;
}
