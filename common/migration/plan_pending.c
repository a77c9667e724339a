/*
 * plan_pending.c - what can be told about expressions once the server said what it knows of their functions, and the predicate
 * that is derived where none is given.
 */
#include <stdlib.h>
#include <string.h>

#include "migration/plain.h"
#include "migration/plan_private.h"

const struct plan_column *plan_find_column(const struct plan_table *t, const char *name)
{
	for (size_t i = 0; i < t->nr_columns; i++) {
		if (strcmp(t->columns[i].name, name) == 0)
			return &t->columns[i];
	}
	return NULL;
}

static int read_expression(const char *expression, struct tree_facts *facts, struct err *err)
{
	json_t *tree = NULL;
	size_t offset;
	int rc = tree_parse_expression(expression, &tree, &offset, err);

	if (rc != 0)
		return rc;
	rc = tree_facts_read(facts, tree, err);
	json_decref(tree);
	return rc;
}

int plan_names(const struct migration_file *f, struct strvec *functions, struct strvec *operators, struct err *err)
{
	struct tree_facts facts;
	int rc = 0;

	tree_facts_init(&facts);
	for (size_t i = 0; i < f->nr_sets && rc == 0; i++)
		rc = read_expression(f->sets[i].expression, &facts, err);
	for (size_t i = 0; f->plain != NULL && i < f->plain->nr_sets && rc == 0; i++)
		rc = read_expression(f->plain->sets[i].expression, &facts, err);
	if (rc == 0 && f->pending.text != NULL)
		rc = read_expression(f->pending.text, &facts, err);
	if (rc == 0 && f->where.text != NULL)
		rc = read_expression(f->where.text, &facts, err);
	for (size_t i = 0; i < facts.functions.n; i++) {
		if (!strvec_has(functions, facts.functions.v[i]))
			(void)strvec_push(functions, facts.functions.v[i]);
	}
	for (size_t i = 0; i < facts.operators.n; i++) {
		if (!strvec_has(operators, facts.operators.v[i]))
			(void)strvec_push(operators, facts.operators.v[i]);
	}
	tree_facts_free(&facts);
	if (rc == 0 && (!strvec_ok(functions) || !strvec_ok(operators)))
		rc = err_set(err, ST_LIMIT, "the migration uses too many functions");
	return rc;
}

static const struct plan_routine *find_routine(const struct plan_table *t, const char *name)
{
	for (size_t i = 0; i < t->nr_routines; i++) {
		if (strcmp(t->routines[i].name, name) == 0)
			return &t->routines[i];
	}
	return NULL;
}

static void judge(const struct plan_table *t, const struct strvec *names, struct plan_facts *facts)
{
	for (size_t i = 0; i < names->n; i++) {
		const struct plan_routine *r = find_routine(t, names->v[i]);

		facts->local = facts->local && r != NULL && r->local;
		facts->moving = facts->moving || (r != NULL && r->moving);
	}
}

int plan_facts_of(const struct plan_table *t, const char *expression, struct plan_facts *ret, struct err *err)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	tree_facts_init(&ret->names);
	rc = read_expression(expression, &ret->names, err);
	ret->local = !ret->names.subquery;
	ret->moving = ret->names.clock;
	judge(t, &ret->names.functions, ret);
	judge(t, &ret->names.operators, ret);
	if (rc != 0)
		tree_facts_free(&ret->names);
	return rc;
}

/* Why no predicate can be derived from this `set`; NULL if one can. */
static const char *underivable(const struct plan_table *t, const struct migration_set *s, const struct plan_column *column,
			       const struct plan_facts *facts)
{
	if (facts->moving)
		return "its expression reads the clock, a random source or a sequence";
	/* The table's name alone is its whole row, unless a column is called the same. */
	if (tree_facts_read_column(&facts->names, plan_find_column(t, t->name) == NULL ? t->name : s->column, s->column))
		return "its expression reads the column itself";
	if (column->not_null)
		return "the column cannot be NULL";
	return NULL;
}

static void add_derived(const struct plan_column *column, const struct migration_set *s, bool first, const char *table, struct buf *out)
{
	(void)buf_printf(out, "%s(%s.", first ? "" : " OR ", table);
	(void)plan_add_identifier(out, column->name);
	/* Without the column's modifier: it cannot make a value NULL, but casting to it may raise. */
	(void)buf_printf(out, " IS NULL AND (\n%s\n)::%s IS NOT NULL)", s->expression, column->type);
}

int plan_derive_pending(const struct migration_file *f, const struct plan_table *t, char **ret, struct problems *problems, struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(PLAN_SQL_MAX), table = BUF_INIT(1000);
	const struct plan_fill c = { .t = t };
	bool good = true;

	plan_add_table(&c, NULL, &table);
	for (size_t i = 0; i < f->nr_sets; i++) {
		const struct migration_set *s = &f->sets[i];
		const struct plan_column *column = plan_find_column(t, s->column);
		struct plan_facts facts;
		const char *why;
		int rc;

		if (column == NULL)
			return 0; /* reported by the registration */
		rc = plan_facts_of(t, s->expression, &facts, err);
		if (rc != 0)
			return rc;
		why = underivable(t, s, column, &facts);
		tree_facts_free(&facts.names);
		if (why == NULL) {
			add_derived(column, s, i == 0, table.data, &text);
			continue;
		}
		good = false;
		(void)problems_add(
			problems, s->line,
			"which rows are still to be done cannot be told from 'set' of column '%s': %s; expected '-- drover: pending PREDICATE', "
			"true before and false after, or '-- drover: ledger' where there is none",
			s->column, why);
	}
	if (!good)
		return 0;
	*ret = buf_detach(&text);
	return *ret == NULL ? err_set(err, ST_NOMEM, "out of memory") : 0;
}
