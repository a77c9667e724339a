/*
 * plan.c - the SQL that a migration becomes: which templates, in which order, for which job.
 */
#include "migration/plan.h"

#include <stdlib.h>
#include <string.h>

#include "migration/moment.h"
#include "migration/plain.h"
#include "migration/plan_private.h"
#include "migration/template.h"
#include "plan_sql.h"

struct plan {
	struct plan_fill fill;
	json_t *json;
	struct problems *problems;
	struct err *err;
	bool pending_local; /* where and pending look at their own row alone */
	bool apply;         /* one statement does it all */
};

/* ------------------------------------------------------------ statements */

static int add_statement(struct plan *p, const char *name, const struct plan_fill *c, const char *text)
{
	CLEANUP(buf_free) struct buf sql = BUF_INIT(PLAN_SQL_MAX);
	int rc = plan_fill(c, text, &sql, p->err);

	if (rc != 0)
		return rc;
	if (json_object_set_new(json_object_get(p->json, "statements"), name, json_string(sql.data)) != 0)
		return err_set(p->err, ST_NOMEM, "out of memory");
	return 0;
}

/*
 * Only one statement, and that ours, can run again and again in a transaction and nobody notice. And only ranges of one column's keys are
 * left where they end: a comparison of rows goes on to the end of its first column's value (nbtree, before PostgreSQL 18).
 */
static bool has_pieces(const struct plan *p)
{
	return p->apply && json_array_size(json_object_get(json_object_get(p->json, "scripts"), "range")) == 1 &&
	       !p->fill.t->statement_triggers && p->fill.t->nr_keys == 1;
}

static int add_statements(struct plan *p)
{
	static const struct {
		const char *name;
		const char *text;
		enum plan_scope scope;
		bool blind, sweep, predicate, unlocked; /* predicate: not for a ledger-only migration */
	} all[] = {
		{ "scan", PLAN_SCAN, PLAN_RANGE, false, false, false, false },
		{ "scan_blind", PLAN_SCAN, PLAN_RANGE, true, false, false, false },
		{ "scan_leaps", PLAN_SCAN_KEYS, PLAN_RANGE, false, false, true, false },
		{ "sweep", PLAN_SCAN, PLAN_RANGE, false, true, true, false },
		{ "sweep_blind", PLAN_SCAN, PLAN_RANGE, true, true, true, false },
		{ "split_range", PLAN_SPLIT, PLAN_RANGE, false, false, false, false },
		{ "split_range_blind", PLAN_SPLIT, PLAN_RANGE, true, false, false, false },
		{ "split_list", PLAN_SPLIT, PLAN_LIST, false, false, false, false },
		{ "split_list_blind", PLAN_SPLIT, PLAN_LIST, true, false, false, false },
		{ "image_range", PLAN_ROW_IMAGE, PLAN_RANGE, false, false, false, false },
		{ "image_range_unlocked", PLAN_ROW_IMAGE, PLAN_RANGE, false, false, false, true },
		{ "image_range_blind", PLAN_ROW_IMAGE, PLAN_RANGE, true, false, false, false },
		{ "image_range_blind_unlocked", PLAN_ROW_IMAGE, PLAN_RANGE, true, false, false, true },
		{ "image_list", PLAN_ROW_IMAGE, PLAN_LIST, false, false, false, false },
		{ "image_list_unlocked", PLAN_ROW_IMAGE, PLAN_LIST, false, false, false, true },
		{ "image_list_blind", PLAN_ROW_IMAGE, PLAN_LIST, true, false, false, false },
		{ "image_list_blind_unlocked", PLAN_ROW_IMAGE, PLAN_LIST, true, false, false, true },
		{ "slice_range", PLAN_SLICE, PLAN_RANGE, false, false, false, false },
		{ "pieces_range", PLAN_PIECES, PLAN_RANGE, false, false, false, false },
		{ "close", PLAN_CLOSE, PLAN_RANGE, false, false, false, false },
		{ "missing", PLAN_MISSING, PLAN_RANGE, false, false, false, false },
		{ "gather", PLAN_GATHER, PLAN_RANGE, false, false, true, false },
		{ "gathered", PLAN_GATHERED, PLAN_RANGE, false, false, true, false },
		{ "verify", PLAN_VERIFY, PLAN_RANGE, false, false, true, false },
		{ "verify_blind", PLAN_VERIFY, PLAN_RANGE, true, false, true, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct plan_fill c = p->fill;
		bool rows;
		int rc;

		if (all[i].text == PLAN_PIECES && !has_pieces(p))
			continue;
		if ((all[i].predicate && p->fill.f->ledger) || (all[i].text == PLAN_SCAN_KEYS && c.mode == MIGRATION_ROW))
			continue;
		c.scope = all[i].scope;
		c.blind = all[i].blind;
		c.sweep = all[i].sweep;
		c.unlocked = all[i].unlocked;
		c.any_order = all[i].text == PLAN_GATHER;
		/* Windows without a predicate become batches. */
		rows = all[i].text == PLAN_SCAN && c.mode == MIGRATION_ROW && !c.blind;
		rc = add_statement(p, all[i].name, &c, rows ? PLAN_SCAN_ROWS : all[i].text);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ------------------------------------------------------------ scripts */

static int add_sql(struct plan *p, json_t *script, const char *sql, const char *role, int line)
{
	if (json_array_append_new(script, json_pack("{s:s, s:s, s:i}", "sql", sql, "role", role, "line", line)) != 0)
		return err_set(p->err, ST_NOMEM, "out of memory");
	return 0;
}

static int add_step(struct plan *p, json_t *script, const struct plan_fill *c, const char *text, const char *role, int line)
{
	CLEANUP(buf_free) struct buf sql = BUF_INIT(PLAN_SQL_MAX);
	int rc = plan_fill(c, text, &sql, p->err);

	return rc != 0 ? rc : add_sql(p, script, sql.data, role, line);
}

static int add_backfill(struct plan *p, json_t *script)
{
	const struct migration_statements *list = &p->fill.f->sections[SECTION_BACKFILL];
	CLEANUP(buf_free) struct buf batch = BUF_INIT(PLAN_SQL_MAX), keys = BUF_INIT(PLAN_SQL_MAX);

	plan_add_batch(&p->fill, &batch);
	plan_add_keys(&p->fill, &keys);
	for (size_t i = 0; i < list->n; i++) {
		CLEANUP(buf_free) struct buf sql = BUF_INIT(PLAN_SQL_MAX);
		int rc = template_fill(list->v[i].text, batch.data, keys.data, &sql, p->err);

		if (rc == 0)
			rc = add_sql(p, script, sql.data, "transform", list->v[i].line);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int add_handler(struct plan *p, json_t *script)
{
	CLEANUP(buf_free) struct buf sql = BUF_INIT(PLAN_SQL_MAX);

	/* The array literal reads as an array of any type that the key's text is a value of. */
	(void)buf_printf(&sql, "CALL %s(pg_catalog.current_setting('drover.keys1')::%s)", p->fill.f->handler.text, p->fill.t->handler_type);
	return add_sql(p, script, sql.data, "transform", p->fill.f->handler.line);
}

static int predicate_line(const struct migration_file *f)
{
	return f->pending.line > 0 ? f->pending.line : f->where.line > 0 ? f->where.line : f->nr_sets > 0 ? f->sets[0].line : f->table.line;
}

/* lock, pick, the user's own work, check */
static int add_general(struct plan *p, json_t *script, struct plan_fill c)
{
	const struct migration_file *f = p->fill.f;
	bool numbers = c.scope != PLAN_LIST && c.t->nr_keys == 1 && c.t->keys[0]->integer;
	struct plan_fill picked = c; /* from those that were locked */
	int rc, line = predicate_line(f);

	c.restore = true;
	c.locks = true;
	c.last_pick = p->pending_local;
	rc = add_step(p, script, &c, PLAN_LOCK, "lock", line);
	c.locks = false;
	c.last_pick = true;
	picked.restore = picked.last_pick = true;
	picked.scope = PLAN_LIST;
	if (rc == 0 && !p->pending_local)
		rc = add_step(p, script, &picked, PLAN_PICK, "pick", line);
	if (rc == 0 && f->nr_sets > 0)
		rc = add_step(p, script, &c, PLAN_UPDATE, "transform", f->sets[0].line);
	else if (rc == 0 && f->handler.text != NULL)
		rc = add_handler(p, script);
	else if (rc == 0)
		rc = add_backfill(p, script);
	if (rc == 0 && p->fill.t->deferred_triggers)
		rc = add_sql(p, script, "SET CONSTRAINTS ALL IMMEDIATE", "transform", line);
	if (rc == 0 && !f->ledger)
		rc = add_step(p, script, &c, numbers ? PLAN_CHECK_RANGE : PLAN_CHECK, "check", line);
	return rc;
}

/* A range of whole numbers, with a predicate that says what is done, can be done by turns: drover.take_turn(). */
static bool has_turns(const struct plan_fill *c)
{
	return c->mode == MIGRATION_BATCH && c->pending != NULL && c->t->nr_keys == 1 && c->t->keys[0]->integer;
}

static int add_script(struct plan *p, const char *name, enum plan_scope scope)
{
	bool replay = strcmp(name, "replay") == 0, receipts = p->fill.f->ledger && p->fill.mode == MIGRATION_ROW && !replay;
	json_t *script = json_array();
	struct plan_fill c = p->fill;
	int rc = 0;

	if (json_object_set_new(json_object_get(p->json, "scripts"), name, script) != 0)
		return err_set(p->err, ST_NOMEM, "out of memory");
	c.scope = scope;
	c.turns = scope == PLAN_RANGE && has_turns(&c);
	if (receipts && scope == PLAN_RANGE)
		rc = add_step(p, script, &c, PLAN_ENLIST, "receipts", 0);
	if (receipts)
		c.scope = PLAN_LIST;
	if (rc == 0 && receipts)
		rc = add_step(p, script, &c, PLAN_RECEIPTS, "receipts", 0);
	/* Rows of a list are locked in key order by one index scan only where the key is one column. */
	if (rc == 0 && p->apply && !replay && (c.scope != PLAN_LIST || c.t->nr_keys == 1))
		rc = add_step(p, script, &c, PLAN_APPLY, "apply", p->fill.sets[0].line);
	else if (rc == 0)
		rc = add_general(p, script, c);
	if (rc == 0 && replay)
		rc = add_step(p, script, &c, PLAN_OUTCOME, "outcome", 0);
	return rc;
}

/* ------------------------------------------------------------ what the migration is */

/* @columns: it has to read columns of the table alone, too: "t.x" may be a function x(t). */
static int is_local(struct plan *p, const char *expression, bool columns, bool *ret)
{
	struct plan_facts facts;
	int rc = expression == NULL ? 0 : plan_facts_of(p->fill.t, expression, &facts, p->err);

	if (rc != 0 || expression == NULL)
		return rc;
	*ret = *ret && facts.local;
	for (size_t i = 0; columns && i < facts.names.columns.n; i++)
		*ret = *ret && plan_find_column(p->fill.t, facts.names.columns.v[i]) != NULL;
	tree_facts_free(&facts.names);
	return 0;
}

/* Could the lock be too weak: does the work change a column of a unique index, or delete rows? */
static bool wants_strong_lock(const struct plan_fill *c)
{
	for (size_t i = 0; i < c->nr_sets; i++) {
		const struct plan_column *column = plan_find_column(c->t, c->sets[i].column);

		if (column != NULL && column->locking)
			return true;
	}
	for (size_t i = 0; i < c->f->sections[SECTION_BACKFILL].n; i++) {
		const char *text = c->f->sections[SECTION_BACKFILL].v[i].text;

		/* A word in a string too: a stronger lock than needed is no mistake. */
		if (strcasestr(text, "delete") != NULL || strcasestr(text, "merge") != NULL)
			return true;
	}
	return false;
}

/* New versions of rows that lie side by side find room where others were. A wrong guess costs some time and nothing else. */
static bool turns_pay(const struct plan_fill *c)
{
	const struct migration_statements *list = &c->f->sections[SECTION_BACKFILL];
	bool updates = c->f->nr_sets > 0;

	for (size_t i = 0; i < list->n; i++)
		updates = updates || strcasestr(list->v[i].text, "update") != NULL;
	return updates && has_turns(c) && c->t->keys[0]->in_order;
}

static bool is_timeless(const json_t *plan)
{
	return !moment_in_any(json_object_get(plan, "scripts")) && !moment_in_any(json_object_get(plan, "statements"));
}

/* A section that updates this table by its whole key, which stays as it is, amounts to a `set`. */
static void take_section(struct plan_fill *c)
{
	const struct plain_update *u = c->f->plain;
	bool plain = u != NULL && strcmp(u->table, c->t->name) == 0 &&
		     (u->schema != NULL ? strcmp(u->schema, c->t->schema) == 0 : c->t->visible) && u->keys.n == c->t->nr_keys;

	for (size_t i = 0; plain && i < c->t->nr_keys; i++)
		plain = strvec_has(&u->keys, c->t->keys[i]->name);
	for (size_t i = 0; plain && i < u->nr_sets; i++)
		plain = !strvec_has(&u->keys, u->sets[i].column);
	if (plain) {
		c->sets = u->sets;
		c->nr_sets = u->nr_sets;
	}
}

static int judge(struct plan *p, char **ret_derived)
{
	const struct migration_file *f = p->fill.f;
	bool sets_local = true;
	int rc = 0;

	if (f->ledger)
		p->fill.pending = NULL;
	else if (f->pending.text != NULL)
		p->fill.pending = f->pending.text;
	else {
		rc = plan_derive_pending(f, p->fill.t, ret_derived, p->problems, p->err);
		p->fill.pending = *ret_derived;
		p->fill.keep_written = f->nr_sets > 1;
	}
	p->pending_local = true;
	if (rc == 0)
		rc = is_local(p, p->fill.pending, false, &p->pending_local);
	if (rc == 0)
		rc = is_local(p, f->where.text, false, &p->pending_local);
	for (size_t i = 0; i < p->fill.nr_sets && rc == 0; i++)
		rc = is_local(p, p->fill.sets[i].expression, f->plain != NULL, &sets_local);
	p->apply = p->fill.nr_sets > 0 && p->pending_local && sets_local && !p->fill.t->update_triggers;
	p->fill.strong = wants_strong_lock(&p->fill);
	return rc;
}

/* One array cannot name rows by several columns. */
static void check_keys_placeholder(struct plan *p)
{
	const struct migration_statements *list = &p->fill.f->sections[SECTION_BACKFILL];

	if (p->fill.f->handler.text != NULL && p->fill.t->nr_keys > 1)
		(void)problems_add(
			p->problems, p->fill.f->handler.line,
			"'handler': a procedure gets one array of keys and the key has several columns; expected a 'backfill' section "
			"with :batch, a relation of them, or '-- drover: key COLUMN', one that is unique by itself");
	for (size_t i = 0; i < list->n && p->fill.t->nr_keys > 1; i++) {
		struct placeholders found = { 0 };

		if (template_find_in(list->v[i].text, &found, NULL) != 0)
			continue;
		for (size_t k = 0; k < found.n; k++) {
			if (found.v[k].keys)
				(void)problems_add(
					p->problems, list->v[i].line + scan_line_of(list->v[i].text, found.v[k].start) - 1,
					":keys is an array and the key has several columns; expected :batch, a relation of them");
		}
		template_free(&found);
	}
}

static int add_key(struct plan *p)
{
	json_t *list = json_object_get(p->json, "key");

	for (size_t i = 0; i < p->fill.t->nr_keys; i++) {
		const struct plan_column *key = p->fill.t->keys[i];

		if (json_array_append_new(list,
					  json_pack("{s:s, s:s, s:b}", "name", key->name, "type", key->type, "dense", key->integer)) != 0)
			return err_set(p->err, ST_NOMEM, "out of memory");
	}
	return 0;
}

int plan_make(const struct migration_file *f, const struct plan_table *t, enum migration_mode mode, int migration_id, json_t **ret,
	      struct problems *problems, struct err *err)
{
	struct plan p = {
		.fill = { .f = f, .t = t, .mode = mode, .migration_id = migration_id, .sets = f->sets, .nr_sets = f->nr_sets },
		.json = json_pack("{s:i, s:{}, s:{}, s:[], s:b}", "version", PLAN_VERSION, "scripts", "statements", "key", "row_local", 0),
		.problems = problems,
		.err = err,
	};
	size_t before = problems->total;
	char *derived = NULL;
	int rc;

	if (p.json == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	take_section(&p.fill);
	rc = judge(&p, &derived);
	if (rc == 0)
		check_keys_placeholder(&p);
	if (rc == 0 && problems->total > before)
		rc = err_set(err, ST_INPUT, "the migration has mistakes");
	/* First the one that has the user's statements as they are: they are checked in this order, and mistakes are shown as they stand in the file. */
	if (rc == 0)
		rc = add_script(&p, "replay", PLAN_LIST);
	if (rc == 0)
		rc = add_script(&p, "range", PLAN_RANGE);
	if (rc == 0)
		rc = add_script(&p, "list", PLAN_LIST);
	/* Without a predicate nothing says which rows of a range are not done yet, and which were not found. */
	if (rc == 0 && mode == MIGRATION_ROW && !f->ledger)
		rc = add_script(&p, "run", PLAN_RUN);
	if (rc == 0)
		rc = add_statements(&p);
	if (rc == 0)
		rc = add_key(&p);
	if (rc == 0 && (json_object_set_new(p.json, "row_local", json_boolean(p.apply)) != 0 ||
			json_object_set_new(p.json, "turns", json_boolean(has_turns(&p.fill))) != 0 ||
			json_object_set_new(p.json, "turns_pay", json_boolean(turns_pay(&p.fill))) != 0 ||
			json_object_set_new(p.json, "timeless", json_boolean(is_timeless(p.json))) != 0))
		rc = err_set(err, ST_NOMEM, "out of memory");
	free(derived);
	if (rc != 0) {
		json_decref(p.json);
		return rc;
	}
	*ret = p.json;
	return 0;
}
