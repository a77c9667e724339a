/*
 * plan_keys.c - placeholders about the table, its key, and which rows a statement is about.
 *
 * Columns of the user's table are always written with the table in front: a template's own names (k1, hit, n ...) can then never
 * be mistaken for them, nor they for those.
 */
#include <stdio.h>
#include <string.h>

#include "migration/plan_private.h"

int plan_add_identifier(struct buf *out, const char *name)
{
	(void)buf_putc(out, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"')
			(void)buf_putc(out, '"');
		(void)buf_putc(out, *name);
	}
	return buf_putc(out, '"');
}

/* ------------------------------------------------------------ columns and keys */

void plan_add_table(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)plan_add_identifier(out, c->t->schema);
	(void)buf_putc(out, '.');
	(void)plan_add_identifier(out, c->t->name);
}

void plan_add_column(const struct plan_fill *c, const struct plan_column *column, struct buf *out)
{
	plan_add_table(c, NULL, out);
	(void)buf_putc(out, '.');
	(void)plan_add_identifier(out, column->name);
}

/* The text of a value, such that its type reads it back whatever DateStyle is. */
void plan_add_text_of(const struct plan_column *key, const char *value, struct buf *out)
{
	if (key->datetime)
		(void)buf_printf(out, "(pg_catalog.to_json(%s) #>> '{}')", value);
	else
		(void)buf_printf(out, "(%s)::text", value);
}

static void add_column_text(const struct plan_fill *c, const struct plan_column *key, struct buf *out)
{
	struct buf column = BUF_INIT(1000);

	plan_add_column(c, key, &column);
	plan_add_text_of(key, column.data, out);
	buf_free(&column);
}

/* Element @i of the text[] @array as a value of the key's column. */
void plan_add_value(const struct plan_fill *c, size_t i, const char *array, struct buf *out)
{
	const struct plan_column *key = c->t->keys[i];

	(void)buf_printf(out, "((%s)[%zu])::%s", array, i + 1, key->type);
	if (key->collation != NULL)
		(void)buf_printf(out, " COLLATE %s", key->collation);
}

/* "(a, b)" of what @each writes for every key column; without parentheses for one. */
void plan_add_row(const struct plan_fill *c, void (*each)(const struct plan_fill *, size_t, const char *, struct buf *), const char *arg,
		  struct buf *out)
{
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", " : c->t->nr_keys > 1 ? "(" : "");
		each(c, i, arg, out);
	}
	if (c->t->nr_keys > 1)
		(void)buf_putc(out, ')');
}

void plan_add_key_column(const struct plan_fill *c, size_t i, const char *arg, struct buf *out)
{
	(void)arg;
	plan_add_column(c, c->t->keys[i], out);
}

static void add_compare(const struct plan_fill *c, const char *op, const char *array, struct buf *out)
{
	plan_add_row(c, plan_add_key_column, NULL, out);
	(void)buf_printf(out, " %s ", op);
	plan_add_row(c, plan_add_value, array, out);
}

static void key(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", " : "");
		plan_add_column(c, c->t->keys[i], out);
	}
}

static void key_desc(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", " : "");
		plan_add_column(c, c->t->keys[i], out);
		(void)buf_puts(out, " DESC");
	}
}

static void key_as(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", " : "");
		plan_add_column(c, c->t->keys[i], out);
		(void)buf_printf(out, " AS k%zu", i + 1);
	}
}

void plan_key_text(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)buf_puts(out, "ARRAY[");
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", " : "");
		add_column_text(c, c->t->keys[i], out);
	}
	(void)buf_putc(out, ']');
}

/* The key of a subquery that has it as PREFIX1 ..: as text[]. */
static void add_alias_text(const struct plan_fill *c, const char *from, const char *prefix, struct buf *out)
{
	char name[100];

	(void)buf_puts(out, "ARRAY[");
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)snprintf(name, sizeof(name), "%s.%s%zu", from, prefix, i + 1);
		(void)buf_puts(out, i > 0 ? ", " : "");
		plan_add_text_of(c->t->keys[i], name, out);
	}
	(void)buf_putc(out, ']');
}

static void k_text(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_alias_text(c, arg, "k", out);
}

static void f_text(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_alias_text(c, arg, "f", out);
}

void plan_add_names(const struct plan_fill *c, const char *prefix, struct buf *out)
{
	for (size_t i = 0; i < c->t->nr_keys; i++)
		(void)buf_printf(out, "%s%s%zu", i > 0 ? ", " : "", prefix, i + 1);
}

static void k(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	plan_add_names(c, "k", out);
}

static void k_of(const struct plan_fill *c, const char *arg, struct buf *out)
{
	for (size_t i = 0; i < c->t->nr_keys; i++)
		(void)buf_printf(out, "%s%s.k%zu", i > 0 ? ", " : "", arg, i + 1);
}

static void columns(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)buf_printf(out, "%zu", c->t->nr_keys);
}

/* ------------------------------------------------------------ which rows */

static void after(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)buf_printf(out, "(%s IS NULL OR ", arg);
	add_compare(c, ">", arg, out);
	(void)buf_putc(out, ')');
}

static void beyond(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_compare(c, ">", arg, out);
}

/* One column of the one row of a relation of ours. */
static void add_only(const struct plan_fill *c, size_t i, const char *relation, struct buf *out)
{
	(void)c;
	(void)buf_printf(out, "(SELECT k%zu FROM %s)", i + 1, relation);
}

static void up_to(const struct plan_fill *c, const char *arg, struct buf *out)
{
	plan_add_row(c, plan_add_key_column, NULL, out);
	(void)buf_puts(out, " <= ");
	plan_add_row(c, add_only, arg, out);
}

static void add_between(const struct plan_fill *c, const char *first, const char *last, struct buf *out)
{
	(void)buf_putc(out, '(');
	add_compare(c, ">=", first, out);
	(void)buf_puts(out, " AND ");
	add_compare(c, "<=", last, out);
	(void)buf_putc(out, ')');
}

static void between(const struct plan_fill *c, const char *arg, struct buf *out)
{
	const char *comma = strchr(arg, ',');
	char first[100];

	(void)snprintf(first, sizeof(first), "%.*s", (int)(comma - arg), arg);
	add_between(c, first, comma + 1, out);
}

/* By how much a key is above another is known of whole numbers alone. Above the last number there is none. */
static void ahead(const struct plan_fill *c, const char *arg, struct buf *out)
{
	const char *op = strchr(arg, ','), *n = strchr(op + 1, ',');

	if (c->t->nr_keys != 1 || !c->t->keys[0]->integer) {
		(void)buf_puts(out, "false");
		return;
	}
	plan_add_key_column(c, 0, NULL, out);
	(void)buf_printf(out, " %.*s CASE WHEN (%.*s)[1]::bigint <= 9223372036854775807 - (%s) THEN (%.*s)[1]::bigint + (%s) END",
			 (int)(n - op - 1), op + 1, (int)(op - arg), arg, n + 1, (int)(op - arg), arg, n + 1);
}

static void add_array(const struct plan_fill *c, const char *setting, size_t i, struct buf *out)
{
	(void)buf_printf(out, "pg_catalog.current_setting('%s%zu')::%s[]", setting, i + 1, c->t->keys[i]->type);
}

/* The keys in a setting as a relation; unnest() of several arrays has no qualified name. */
static void add_relation(const struct plan_fill *c, const char *setting, struct buf *out)
{
	(void)buf_puts(out, "ROWS FROM (");
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", pg_catalog.unnest(" : "pg_catalog.unnest(");
		add_array(c, setting, i, out);
		(void)buf_putc(out, ')');
	}
	(void)buf_putc(out, ')');
}

/* What precedes is one of the keys in a setting. The subquery has the array read once, not once for each row. */
static void add_in_setting(const struct plan_fill *c, const char *setting, struct buf *out)
{
	if (c->t->nr_keys == 1) {
		(void)buf_puts(out, " = ANY ((SELECT ");
		add_array(c, setting, 0, out);
		(void)buf_printf(out, ")::%s[])", c->t->keys[0]->type);
		return;
	}
	(void)buf_puts(out, " IN (SELECT * FROM ");
	add_relation(c, setting, out);
	(void)buf_putc(out, ')');
}

static void in_keys(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	plan_add_row(c, plan_add_key_column, NULL, out);
	add_in_setting(c, "drover.keys", out);
}

static void in_claim(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	plan_add_row(c, plan_add_key_column, NULL, out);
	add_in_setting(c, "drover.claim", out);
}

static void picked(const struct plan_fill *c, const char *arg, struct buf *out)
{
	plan_add_row(c, plan_add_value, arg, out);
	add_in_setting(c, "drover.keys", out);
}

static void asked(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)buf_puts(out, "ROWS FROM (pg_catalog.unnest(pg_catalog.current_setting('drover.windows')::bigint[])");
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, ", pg_catalog.unnest(");
		add_array(c, "drover.claim", i, out);
		(void)buf_putc(out, ')');
	}
	(void)buf_putc(out, ')');
}

/* The rows between the first and the last of a run of row jobs, within their window, but for those that have a dead letter. */
static void add_run(const struct plan_fill *c, struct buf *out)
{
	add_between(c, "pg_catalog.current_setting('drover.run_first')::text[]", "pg_catalog.current_setting('drover.run_last')::text[]",
		    out);
	(void)buf_puts(out, " AND ");
	add_between(c, "pg_catalog.current_setting('drover.first')::text[]", "pg_catalog.current_setting('drover.last')::text[]", out);
	(void)buf_puts(out, " AND ");
	plan_add_row(c, plan_add_key_column, NULL, out);
	if (c->t->nr_keys == 1) {
		(void)buf_puts(out, " <> ALL ((SELECT ");
		add_array(c, "drover.except", 0, out);
		(void)buf_printf(out, ")::%s[])", c->t->keys[0]->type);
		return;
	}
	(void)buf_puts(out, " NOT IN (SELECT * FROM ");
	add_relation(c, "drover.except", out);
	(void)buf_putc(out, ')');
}

static void add_range(const struct plan_fill *c, struct buf *out)
{
	add_between(c, "pg_catalog.current_setting('drover.first')::text[]", "pg_catalog.current_setting('drover.last')::text[]", out);
	if (!c->turns)
		return;
	(void)buf_puts(out, " AND (");
	plan_add_key_column(c, 0, NULL, out);
	(void)buf_printf(out, " & (SELECT pg_catalog.current_setting('drover.even')::%s)) = 0", c->t->keys[0]->type);
}

static void scope(const struct plan_fill *c, const char *arg, struct buf *out)
{
	if (c->scope == PLAN_LIST)
		in_claim(c, arg, out);
	else if (c->scope == PLAN_RUN)
		add_run(c, out);
	else
		add_range(c, out);
}

/* From the first key of a range to the last, of one column of whole numbers. */
static void width(const struct plan_fill *c, const char *arg, struct buf *out)
{
	const char *run = c->scope == PLAN_RUN ? "run_" : "";

	(void)arg;
	(void)buf_printf(out,
			 "(pg_catalog.current_setting('drover.%slast')::text[])[1]::numeric - "
			 "(pg_catalog.current_setting('drover.%sfirst')::text[])[1]::numeric",
			 run, run);
}

static void key_is(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)buf_putc(out, '(');
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? " AND " : "");
		plan_add_column(c, c->t->keys[i], out);
		(void)buf_puts(out, " = ");
		plan_add_value(c, i, arg, out);
	}
	(void)buf_putc(out, ')');
}

/* The one row that a job about a single row has in its scope. */
static void scope_of_one(const struct plan_fill *c, const char *arg, struct buf *out)
{
	if (c->scope != PLAN_LIST || c->t->nr_keys == 1) {
		scope(c, arg, out);
		return;
	}
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? " AND " : "");
		plan_add_key_column(c, i, NULL, out);
		(void)buf_puts(out, " = (");
		add_array(c, "drover.claim", i, out);
		(void)buf_puts(out, ")[1]");
	}
}

static void claimed_keys(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_printf(out, "%sk%zu", i > 0 ? ", " : "", i + 1);
		if (c->t->keys[i]->collation != NULL)
			(void)buf_printf(out, " COLLATE %s AS k%zu", c->t->keys[i]->collation, i + 1);
	}
	(void)buf_puts(out, " FROM ");
	add_relation(c, "drover.claim", out);
	(void)buf_puts(out, " AS claimed(");
	plan_add_names(c, "k", out);
	(void)buf_putc(out, ')');
}

/* The key is that of a row of our relation @arg. */
static void key_is_of(const struct plan_fill *c, const char *arg, struct buf *out)
{
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? " AND " : "");
		plan_add_column(c, c->t->keys[i], out);
		(void)buf_printf(out, " = %s.k%zu", arg, i + 1);
	}
}

/* ------------------------------------------------------------ for the user's statements */

void plan_add_batch(const struct plan_fill *c, struct buf *out)
{
	(void)buf_puts(out, "(SELECT * FROM ");
	add_relation(c, "drover.keys", out);
	(void)buf_puts(out, " AS b(");
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", " : "");
		(void)plan_add_identifier(out, c->t->keys[i]->name);
	}
	(void)buf_puts(out, "))");
}

void plan_add_keys(const struct plan_fill *c, struct buf *out)
{
	(void)buf_puts(out, "((SELECT ");
	add_array(c, "drover.keys", 0, out);
	(void)buf_printf(out, ")::%s[])", c->t->keys[0]->type);
}

const struct plan_placeholder plan_key_placeholders[] = {
	{ "after", after },
	{ "ahead", ahead },
	{ "beyond", beyond },
	{ "between", between },
	{ "asked", asked },
	{ "claimed_keys", claimed_keys },
	{ "columns", columns },
	{ "f_text", f_text },
	{ "in_claim", in_claim },
	{ "in_keys", in_keys },
	{ "k", k },
	{ "k_of", k_of },
	{ "k_text", k_text },
	{ "key", key },
	{ "key_as", key_as },
	{ "key_desc", key_desc },
	{ "key_is", key_is },
	{ "key_is_of", key_is_of },
	{ "key_text", plan_key_text },
	{ "picked", picked },
	{ "scope", scope },
	{ "scope_of_one", scope_of_one },
	{ "table", plan_add_table },
	{ "up_to", up_to },
	{ "width", width },
	{ NULL, NULL },
};
