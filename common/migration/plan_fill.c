/*
 * plan_fill.c - fills the templates of sql/plan/.
 *
 * The user's predicates and expressions stand where nothing but the table is in reach, within parentheses, on lines of their own.
 * What was filled in is not looked at again: a text of the user's that looks like a placeholder stays what it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migration/plan_private.h"
#include "plan_sql.h"

static void fill(const struct plan_fill *c, const char *text, struct buf *out);

/* A string literal; ours hold names of settings and their values alone. */
static void add_literal(struct buf *out, const char *text)
{
	(void)buf_putc(out, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			(void)buf_putc(out, '\'');
		(void)buf_putc(out, *text);
	}
	(void)buf_putc(out, '\'');
}

/* ------------------------------------------------------------ predicates */

/* On lines of its own, so that a comment at its end ends there. */
static void add_expression(struct buf *out, const char *text)
{
	(void)buf_printf(out, "(\n%s\n)", text);
}

/* "IS TRUE" hides it from indexes: taken from one of theirs, rows would come in another order than the key's, and all of them for each batch. */
static void add_predicate(const struct plan_fill *c, const char *text, struct buf *out)
{
	add_expression(out, text);
	(void)buf_puts(out, c->any_order ? "" : " IS TRUE");
}

static void meant(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (c->blind || c->f->where.text == NULL)
		(void)buf_puts(out, "true");
	else
		add_predicate(c, c->f->where.text, out);
}

static void pending(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (c->blind || c->pending == NULL)
		(void)buf_puts(out, "true");
	else
		add_predicate(c, c->pending, out);
}

static void still_pending(const struct plan_fill *c, const char *arg, struct buf *out)
{
	if (c->pending == NULL) {
		(void)buf_puts(out, "false");
		return;
	}
	meant(c, arg, out);
	(void)buf_puts(out, " AND ");
	pending(c, arg, out);
}

/* Rows with a dead letter come first: what is wrong with them may make the predicate raise. */
static void add_unless_settled(const struct plan_fill *c, const char *has_failed, struct buf *out)
{
	(void)buf_printf(
		out,
		"CASE WHEN %s::boolean AND EXISTS (SELECT FROM drover.failed_jobs drover_f WHERE drover_f.migration_id = %d AND drover_f.key_hash = drover.key_hash(",
		has_failed, c->migration_id);
	plan_key_text(c, NULL, out);
	(void)buf_puts(out, ") AND drover_f.state IN ('dead', 'queued', 'retrying', 'ignored')) THEN false ELSE ");
	meant(c, NULL, out);
	(void)buf_puts(out, " AND ");
	pending(c, NULL, out);
}

static void hit(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	add_unless_settled(c, "$6", out);
	if (c->sweep) {
		(void)buf_puts(out, " AND NOT EXISTS (SELECT FROM drover_busy WHERE ");
		plan_add_row(c, plan_add_key_column, NULL, out);
		(void)buf_puts(out, " >= ");
		(void)buf_puts(out, c->t->nr_keys > 1 ? "(" : "");
		for (size_t i = 0; i < c->t->nr_keys; i++)
			(void)buf_printf(out, "%sdrover_busy.f%zu", i > 0 ? ", " : "", i + 1);
		(void)buf_puts(out, c->t->nr_keys > 1 ? ")" : "");
		(void)buf_puts(out, " AND ");
		plan_add_row(c, plan_add_key_column, NULL, out);
		(void)buf_puts(out, " <= ");
		(void)buf_puts(out, c->t->nr_keys > 1 ? "(" : "");
		for (size_t i = 0; i < c->t->nr_keys; i++)
			(void)buf_printf(out, "%sdrover_busy.l%zu", i > 0 ? ", " : "", i + 1);
		(void)buf_puts(out, c->t->nr_keys > 1 ? "))" : ")");
	}
	(void)buf_puts(out, " END");
}

/* The batches that a sweep leaves alone: those not finished, from the cursor on. */
static void busy(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (!c->sweep)
		return;
	(void)buf_puts(out, "drover_busy AS MATERIALIZED (\n  SELECT ");
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)buf_puts(out, i > 0 ? ", " : "");
		plan_add_value(c, i, "b.first_key", out);
		(void)buf_printf(out, " AS f%zu, ", i + 1);
		plan_add_value(c, i, "b.last_key", out);
		(void)buf_printf(out, " AS l%zu", i + 1);
	}
	(void)buf_printf(out, "\n    FROM drover.batches b\n   WHERE b.migration_id = %d AND b.state IN ('queued', 'open')\n",
			 c->migration_id);
	(void)buf_printf(
		out,
		"     AND b.number >= (SELECT m.audit_floor FROM drover.migrations m WHERE m.id = %d)\n     AND ($1::text[] IS NULL OR ",
		c->migration_id);
	plan_add_row(c, plan_add_value, "b.last_key", out);
	(void)buf_puts(out, " > ");
	plan_add_row(c, plan_add_value, "$1::text[]", out);
	(void)buf_puts(out, ")\n), ");
}

/* A part of a template that is a template itself; what is after the colon is its {param}. */
static void add_part(const struct plan_fill *c, const char *text, const char *arg, struct buf *out)
{
	struct plan_fill part = *c;

	part.param = arg;
	fill(&part, text, out);
}

static void left(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_part(c, c->pending == NULL ? PLAN_LEFT_LEDGER : PLAN_LEFT, arg, out);
}

static void row_lock(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (!c->unlocked)
		(void)buf_puts(out, " FOR NO KEY UPDATE");
}

static void parts(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_part(c, PLAN_PARTS, arg, out);
}

static void candidates(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_part(c, c->scope == PLAN_LIST && c->t->nr_keys > 1 ? PLAN_CANDIDATES_EACH : PLAN_CANDIDATES, arg, out);
}

static void window(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_part(c, PLAN_WINDOW, arg, out);
}

static void scanned(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_part(c, PLAN_SCANNED, arg, out);
}

static void param(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)buf_puts(out, c->param);
}

static void unsettled(const struct plan_fill *c, const char *arg, struct buf *out)
{
	add_unless_settled(c, arg != NULL ? arg : c->param, out);
	(void)buf_puts(out, " END");
}

/* "IS TRUE" has each receipt looked up by the whole of its key: joined, all receipts of the window might be read for every row. */
static void add_no_receipt(const struct plan_fill *c, void (*add_key)(const struct plan_fill *, const char *, struct buf *),
			   struct buf *out)
{
	(void)buf_printf(
		out,
		"(NOT EXISTS (SELECT FROM drover.row_receipts drover_r WHERE drover_r.migration_id = %d AND drover_r.batch = drover_b.number AND drover_r.key_hash = drover.key_hash(",
		c->migration_id);
	add_key(c, NULL, out);
	(void)buf_puts(out, "))) IS TRUE");
}

static void member_key(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)c;
	(void)arg;
	(void)buf_puts(out, "drover_member.key");
}

static void no_receipt_row(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	add_no_receipt(c, plan_key_text, out);
}

static void no_receipt_member(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	add_no_receipt(c, member_key, out);
}

/* ------------------------------------------------------------ batches */

/* A range says which rows it is only for whole numbers that follow one another, unless a predicate says it. */
static void is_range(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (c->pending != NULL)
		(void)buf_puts(out, "ranges");
	else if (c->t->nr_keys == 1 && c->t->keys[0]->integer)
		(void)buf_puts(out, "k1::numeric - f1::numeric + 1 = rows");
	else
		(void)buf_puts(out, "false");
}

/* What is split off a list are lists. */
static void was_range(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)buf_puts(out, c->scope == PLAN_RANGE ? "true" : "false");
}

/* An array for each column of the keys that a subquery brings in order. */
static void key_lists(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 1; i <= c->t->nr_keys; i++)
		(void)buf_printf(out, "%spg_catalog.array_agg(k%zu) AS a%zu", i > 1 ? ", " : "", i, i);
}

static void first_last(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 1; i <= c->t->nr_keys; i++)
		(void)buf_printf(out, "%sa%zu[(part * size + 1)::integer] AS f%zu, a%zu[least((part + 1) * size, n)::integer] AS k%zu",
				 i > 1 ? ", " : "", i, i, i, i);
}

static void members(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 1; i <= c->t->nr_keys; i++)
		(void)buf_printf(out, "%spg_catalog.unnest(hits.a%zu[parts.o::integer : (parts.o + parts.rows - 1)::integer])",
				 i > 1 ? ", " : "", i);
}

static void found_keys(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 0; c->mode == MIGRATION_ROW && i < c->t->nr_keys; i++) {
		(void)buf_puts(out, ",\n       (SELECT pg_catalog.array_agg(");
		plan_add_text_of(c->t->keys[i], "u.k", out);
		(void)buf_printf(out, " ORDER BY u.o) FROM pg_catalog.unnest(hits.a%zu) WITH ORDINALITY AS u(k, o)) AS keys%zu", i + 1,
				 i + 1);
	}
}

/* Of the keys that one pass collected, an array per column: the one at place @arg ... */
static void hit_at(const struct plan_fill *c, const char *arg, struct buf *out)
{
	for (size_t i = 0; i < c->t->nr_keys; i++)
		(void)buf_printf(out, "%s(every.keys%zu[%s])::text", i > 0 ? ", " : "ARRAY[", i + 1, arg);
	(void)buf_putc(out, ']');
}

/* ... and those at places a to z, as drover.batches keeps a list. */
static void hits_between(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (c->t->nr_keys == 1) {
		(void)buf_puts(out, "(every.keys1[a:z])::text[]");
		return;
	}
	(void)buf_puts(out, "ARRAY(SELECT v FROM ROWS FROM (");
	for (size_t i = 0; i < c->t->nr_keys; i++)
		(void)buf_printf(out, "%spg_catalog.unnest(every.keys%zu[a:z])", i > 0 ? ", " : "", i + 1);
	(void)buf_puts(out, ") WITH ORDINALITY AS u(");
	plan_add_names(c, "k", out);
	(void)buf_puts(out, ", i), pg_catalog.unnest(ARRAY[");
	for (size_t i = 0; i < c->t->nr_keys; i++)
		(void)buf_printf(out, "%s(u.k%zu)::text", i > 0 ? ", " : "", i + 1);
	(void)buf_puts(out, "]) WITH ORDINALITY AS w(v, o) ORDER BY i, o)");
}

/* The texts of the keys in $2 .., each with its place among all of them. */
static void given_keys(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 0; i < c->t->nr_keys; i++)
		(void)buf_printf(out,
				 "%sSELECT v, (o - 1) * %zu + %zu AS i FROM pg_catalog.unnest($%zu::text[]) WITH ORDINALITY AS u(v, o)",
				 i > 0 ? "\n           UNION ALL " : "", c->t->nr_keys, i + 1, i + 2);
}

static void is_dense(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (c->pending == NULL && c->t->nr_keys == 1 && c->t->keys[0]->integer)
		(void)buf_puts(out, "(windows.last_key[1]::numeric - windows.first_key[1]::numeric = z - a)");
	else
		(void)buf_puts(out, c->pending != NULL ? "true" : "false");
}

static void keys(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	plan_add_names(c, "keys", out);
}

/* Whole numbers as such: arrays of them are smaller, and made faster, than of their texts, and look the same when they are sent. */
static void key_arrays(const struct plan_fill *c, const char *arg, struct buf *out)
{
	char name[40];

	(void)arg;
	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)snprintf(name, sizeof(name), "k%zu", i + 1);
		(void)buf_puts(out, i > 0 ? ", pg_catalog.array_agg(" : "pg_catalog.array_agg(");
		if (c->t->keys[i]->integer)
			(void)buf_puts(out, name);
		else
			plan_add_text_of(c->t->keys[i], name, out);
		(void)buf_printf(out, ") AS keys%zu", i + 1);
	}
}

/* ------------------------------------------------------------ what is done to them */

static void assignments(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	for (size_t i = 0; i < c->nr_sets; i++) {
		const struct migration_set *s = &c->sets[i];
		const struct plan_column *column = plan_find_column(c->t, s->column);

		(void)buf_puts(out, i > 0 ? ", " : "");
		(void)plan_add_identifier(out, s->column);
		(void)buf_puts(out, " = ");
		if (!c->keep_written) {
			add_expression(out, s->expression);
			continue;
		}
		(void)buf_puts(out, "CASE WHEN ");
		plan_add_column(c, column, out);
		(void)buf_puts(out, " IS NULL THEN ");
		add_expression(out, s->expression);
		(void)buf_printf(out, "::%s ELSE ", column->type);
		plan_add_column(c, column, out);
		(void)buf_puts(out, " END");
	}
}

static void add_save(const struct plan_fill *c, const char *setting, struct buf *out)
{
	char name[40];

	for (size_t i = 0; i < c->t->nr_keys; i++) {
		(void)snprintf(name, sizeof(name), "k%zu", i + 1);
		(void)buf_printf(out, "%spg_catalog.set_config('%s%zu', coalesce(pg_catalog.array_agg(", i > 0 ? ",\n       " : "", setting,
				 i + 1);
		plan_add_text_of(c->t->keys[i], name, out);
		(void)buf_puts(out, ")::text, '{}'), true)");
	}
}

static void save_claim(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	add_save(c, "drover.claim", out);
}

static void save(const struct plan_fill *c, const char *arg, struct buf *out)
{
	if (!c->last_pick) {
		save_claim(c, arg, out);
		return;
	}
	add_save(c, "drover.keys", out);
	(void)buf_puts(out, ",\n       pg_catalog.set_config('drover.changed', pg_catalog.count(*)::text, true)");
	for (size_t i = 0; c->restore && c->t->planner != NULL && c->t->planner[i][0] != NULL; i++) {
		(void)buf_puts(out, ",\n       pg_catalog.set_config(");
		add_literal(out, c->t->planner[i][0]);
		(void)buf_puts(out, ", ");
		add_literal(out, c->t->planner[i][1]);
		(void)buf_puts(out, ", true)");
	}
}

static void for_lock(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	if (c->locks)
		(void)buf_puts(out, c->strong ? " FOR UPDATE" : " FOR NO KEY UPDATE");
}

static void migration(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)buf_printf(out, "%d", c->migration_id);
}

static void row_bytes(const struct plan_fill *c, const char *arg, struct buf *out)
{
	(void)arg;
	(void)buf_puts(out, "(0");
	for (size_t i = 0; i < c->t->nr_columns; i++) {
		if (!c->t->columns[i].varlena)
			continue;
		(void)buf_puts(out, " + coalesce(pg_catalog.pg_column_size(");
		plan_add_column(c, &c->t->columns[i], out);
		(void)buf_puts(out, "), 0)");
	}
	(void)buf_puts(out, ")");
}

/* ------------------------------------------------------------ filling */

static const struct plan_placeholder own_placeholders[] = {
	{ "assignments", assignments },
	{ "busy", busy },
	{ "candidates", candidates },
	{ "first_last", first_last },
	{ "for_lock", for_lock },
	{ "found_keys", found_keys },
	{ "given_keys", given_keys },
	{ "hit", hit },
	{ "hit_at", hit_at },
	{ "hits_between", hits_between },
	{ "is_dense", is_dense },
	{ "is_range", is_range },
	{ "key_arrays", key_arrays },
	{ "key_lists", key_lists },
	{ "keys", keys },
	{ "left", left },
	{ "meant", meant },
	{ "members", members },
	{ "migration", migration },
	{ "no_receipt_member", no_receipt_member },
	{ "no_receipt_row", no_receipt_row },
	{ "param", param },
	{ "parts", parts },
	{ "pending", pending },
	{ "row_bytes", row_bytes },
	{ "row_lock", row_lock },
	{ "save", save },
	{ "save_claim", save_claim },
	{ "scanned", scanned },
	{ "still_pending", still_pending },
	{ "unsettled", unsettled },
	{ "was_range", was_range },
	{ "window", window },
	{ NULL, NULL },
};

static plan_fill_cb find_placeholder(const char *name)
{
	static const struct plan_placeholder *const tables[] = { plan_key_placeholders, own_placeholders };

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (const struct plan_placeholder *p = tables[t]; p->name != NULL; p++) {
			if (strcmp(p->name, name) == 0)
				return p->fill;
		}
	}
	return NULL;
}

/* "{name}" or "{name:argument}" at @text: writes what it stands for and returns its length, or 0. */
static size_t fill_placeholder(const struct plan_fill *c, const char *text, struct buf *out)
{
	size_t name_len = strspn(text + 1, "abcdefghijklmnopqrstuvwxyz_"), len = 1 + name_len;
	char name[40], arg[200];
	plan_fill_cb found;

	if (name_len == 0 || name_len >= sizeof(name))
		return 0;
	(void)snprintf(name, sizeof(name), "%.*s", (int)name_len, text + 1);
	found = find_placeholder(name);
	if (found == NULL)
		return 0;
	if (text[len] == ':') {
		size_t arg_len = strcspn(text + len + 1, "}");

		(void)snprintf(arg, sizeof(arg), "%.*s", (int)arg_len, text + len + 1);
		len += 1 + arg_len;
		found(c, arg, out);
	} else
		found(c, NULL, out);
	return len + 1;
}

static void fill(const struct plan_fill *c, const char *text, struct buf *out)
{
	while (strncmp(text, "--", 2) == 0) {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	while (*text != '\0') {
		size_t plain = strcspn(text, "{");

		(void)buf_add(out, text, plain);
		text += plain;
		if (*text == '{') {
			size_t n = fill_placeholder(c, text, out);

			if (n == 0)
				(void)buf_putc(out, *text++);
			text += n;
		}
	}
}

int plan_fill(const struct plan_fill *c, const char *text, struct buf *out, struct err *err)
{
	fill(c, text, out);
	while (out->len > 0 && out->data[out->len - 1] == '\n')
		out->data[--out->len] = '\0';
	return buf_ok(out) ? 0 : err_set(err, ST_LIMIT, "a statement of the migration is too long");
}
