/*
 * plain.c - a backfill section that amounts to a `set`.
 *
 * The parser says what the statement is made of and where; an assignment's expression is then taken from the text, with the table's own name
 * in the place of what the statement calls it. Parsed again it must be the same: whatever is not known for certain is not plain.
 */
#include "migration/plain.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/text.h"
#include "migration/plan.h"
#include "migration/template.h"
#include "migration/tree.h"

#define TOKENS_MAX 4000 /* of a statement; the server is asked about the names in it */

struct reading {
	char *text; /* the statement, its placeholder made a plain name */
	int line;
	struct scan_tokens tokens;
	struct placeholder holder; /* there is one */
	json_t *update;            /* UpdateStmt */
	const char *target;        /* what the statement calls the table */
	const char *batch;         /* and :batch; NULL where it is :keys */
	bool *qualifier;           /* by byte of the text: there stands the table's name, before a column */
	struct plain_update *u;
};

static bool is(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static size_t location(json_t *node)
{
	return (size_t)json_integer_value(json_object_get(node, "location"));
}

static bool is_placeholder(const struct reading *r, json_t *node)
{
	return location(node) == r->holder.start + 1;
}

/* The byte where the token before the one that begins at @at begins, comments left out; and where the one that begins at @at or next ends. */
static size_t before(const struct reading *r, size_t at)
{
	size_t found = 0;

	for (size_t i = 0; i < r->tokens.n && r->tokens.v[i].start < at; i++)
		found = r->tokens.v[i].comment ? found : r->tokens.v[i].start;
	return found;
}

static size_t behind(const struct reading *r, size_t at)
{
	for (size_t i = 0; i < r->tokens.n; i++) {
		if (r->tokens.v[i].start >= at && !r->tokens.v[i].comment)
			return r->tokens.v[i].end;
	}
	return strlen(r->text);
}

/* ------------------------------------------------------------ which table, which rows */

/* {"relname": "x", "alias": {"aliasname": "y"}}: y, or x; NULL if it is more than a relation and its name. */
static const char *name_of(json_t *relation)
{
	static const char *const allowed[] = { "schemaname", "relname", "inh", "relpersistence", "alias", "location", NULL };
	static const char *const alias_allowed[] = { "aliasname", NULL };
	json_t *alias = json_object_get(relation, "alias");

	if (!tree_has_only(relation, allowed) || !tree_has_only(alias, alias_allowed) || !json_is_true(json_object_get(relation, "inh")))
		return NULL;
	return json_string_value(alias != NULL ? json_object_get(alias, "aliasname") : json_object_get(relation, "relname"));
}

static bool read_relations(struct reading *r)
{
	json_t *from = json_object_get(r->update, "fromClause"), *batch = NULL;
	const char *kind = tree_kind(json_array_get(from, 0), &batch);

	r->target = name_of(json_object_get(r->update, "relation"));
	if (r->holder.keys)
		return r->target != NULL && from == NULL;
	if (json_array_size(from) == 1 && is(kind, "RangeVar") && is_placeholder(r, batch))
		r->batch = name_of(batch);
	return r->target != NULL && r->batch != NULL && !is(r->target, r->batch);
}

/* "x.column" or "column": what x is; an empty string without one; NULL if it is anything else. */
static const char *qualifier_of(json_t *ref, const char **ret_column)
{
	json_t *fields = json_object_get(ref, "fields");
	size_t n = json_array_size(fields);

	*ret_column = tree_string(json_array_get(fields, n - 1));
	if (n == 0 || n > 2 || *ret_column == NULL)
		return NULL;
	return n == 1 ? "" : tree_string(json_array_get(fields, 0));
}

static bool is_operator(json_t *expr, const char *form)
{
	json_t *names = json_object_get(expr, "name");

	return is(json_string_value(json_object_get(expr, "kind")), form) && json_array_size(names) == 1 &&
	       is(tree_string(json_array_get(names, 0)), "=");
}

/* x.id = y.id, or id = ANY (:keys) */
static bool read_comparison(struct reading *r, json_t *expr)
{
	json_t *left = NULL, *right = NULL;
	const char *kinds[] = { tree_kind(json_object_get(expr, "lexpr"), &left), tree_kind(json_object_get(expr, "rexpr"), &right) };
	const char *column, *other, *a, *b;
	bool same;

	if (!is(kinds[0], "ColumnRef") || !is(kinds[1], "ColumnRef"))
		return false;
	a = qualifier_of(left, &column);
	b = qualifier_of(right, &other);
	if (a == NULL || b == NULL || strvec_has(&r->u->keys, column))
		return false;
	if (r->holder.keys)
		same = is_operator(expr, "AEXPR_OP_ANY") && (*a == '\0' || is(a, r->target)) && is_placeholder(r, right);
	else
		same = is_operator(expr, "AEXPR_OP") && is(column, other) &&
		       ((is(a, r->target) && is(b, r->batch)) || (is(a, r->batch) && is(b, r->target)));
	return same && strvec_push(&r->u->keys, column) == 0;
}

/* One comparison, or several between ANDs. */
static bool read_where(struct reading *r)
{
	json_t *where = NULL, *part, *expr = NULL;
	const char *kind = tree_kind(json_object_get(r->update, "whereClause"), &where);
	size_t i;

	if (is(kind, "A_Expr"))
		return read_comparison(r, where);
	if (!is(kind, "BoolExpr") || !is(json_string_value(json_object_get(where, "boolop")), "AND_EXPR"))
		return false;
	json_array_foreach(json_object_get(where, "args"), i, part) {
		if (!is(tree_kind(part, &expr), "A_Expr") || !read_comparison(r, expr))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------ what becomes of them */

/* Notes where the table's name stands before a column. False for what is not known to be the same in another statement. */
static bool mark_qualifier(void *arg, const char *kind, json_t *node)
{
	static const char *const refused[] = { "SubLink", "SetToDefault", NULL };
	struct reading *r = arg;
	const char *qualifier, *column;

	if (strcmp(kind, "ColumnRef") != 0)
		return !text_one_of(kind, refused);
	qualifier = qualifier_of(node, &column);
	if (is(qualifier, "")) /* a relation's name alone is its whole row, unless a column is called the same */
		return !is(column, r->target) && !is(column, r->batch);
	if (!is(qualifier, r->target))
		return false;
	r->qualifier[location(node)] = true;
	return true;
}

/* Take away what depends on where the expression stands: its places in the text. */
static bool strip(void *arg, const char *kind, json_t *node)
{
	(void)arg;
	(void)kind;
	(void)json_object_del(node, "location");
	return true;
}

/* As rename_in() should have it. */
static bool rename_qualifier(void *arg, const char *kind, json_t *node)
{
	const struct reading *r = arg;
	json_t *first = NULL;

	if (strcmp(kind, "ColumnRef") == 0 && json_array_size(json_object_get(node, "fields")) == 2) {
		(void)tree_kind(json_array_get(json_object_get(node, "fields"), 0), &first);
		(void)json_object_set_new(first, json_object_iter_key(json_object_iter(first)), json_string(r->u->table));
	}
	return true;
}

/* The text from @start to @end with the table's own name in front of columns. NULL: not the same as @value then, or no memory. */
static char *rename_in(struct reading *r, size_t start, size_t end, json_t *value)
{
	struct buf out = BUF_INIT(MIGRATION_FILE_MAX);
	struct err err = ERR_INIT;
	json_t *tree = NULL;
	size_t offset;
	bool same;

	for (size_t i = 0; i < r->tokens.n; i++) {
		const struct scan_token *t = &r->tokens.v[i];

		if (t->start < start || t->end > end || !r->qualifier[t->start])
			continue;
		(void)buf_add(&out, r->text + start, t->start - start);
		(void)plan_add_identifier(&out, r->u->table);
		start = t->end;
	}
	if (start < end)
		(void)buf_add(&out, r->text + start, end - start);
	same = buf_ok(&out) && tree_parse_expression(out.data, &tree, &offset, &err) == 0 && tree_visit(value, rename_qualifier, r) &&
	       tree_visit(value, strip, NULL) && tree_visit(tree, strip, NULL) && json_equal(value, tree);
	json_decref(tree);
	if (!same)
		buf_free(&out);
	return same ? buf_detach(&out) : NULL;
}

/* Where the last assignment ends: at the word before the batch, or before the key. */
static size_t end_of_assignments(const struct reading *r)
{
	json_t *where = NULL, *key = NULL;

	(void)tree_kind(json_object_get(r->update, "whereClause"), &where);
	(void)tree_kind(json_object_get(where, "lexpr"), &key);
	return before(r, r->holder.keys ? location(key) : r->holder.start + 1);
}

static bool read_assignment(struct reading *r, json_t *target, size_t end)
{
	static const char *const allowed[] = { "name", "val", "location", NULL };
	struct migration_set *s = &r->u->sets[r->u->nr_sets];
	json_t *value = json_object_get(target, "val");

	if (!tree_has_only(target, allowed) || !tree_visit(value, mark_qualifier, r))
		return false;
	r->u->nr_sets++;
	s->line = r->line;
	s->column = strdup(json_string_value(json_object_get(target, "name")));
	/* Behind the equals sign. */
	s->expression = rename_in(r, behind(r, behind(r, location(target))), end, value);
	return s->column != NULL && s->expression != NULL;
}

static bool read_assignments(struct reading *r)
{
	json_t *list = json_object_get(r->update, "targetList"), *target = NULL, *next = NULL;
	size_t n = json_array_size(list);

	r->u->sets = calloc(n + 1, sizeof(*r->u->sets));
	r->qualifier = calloc(strlen(r->text) + 1, sizeof(*r->qualifier));
	if (r->u->sets == NULL || r->qualifier == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		(void)tree_kind(json_array_get(list, i), &target);
		(void)tree_kind(json_array_get(list, i + 1), &next);
		if (!read_assignment(r, target, i + 1 < n ? before(r, location(next)) : end_of_assignments(r)))
			return false;
	}
	return n > 0;
}

/* ------------------------------------------------------------ the whole */

static bool read_update(struct reading *r, json_t *stmts)
{
	static const char *const allowed[] = { "relation", "targetList", "whereClause", "fromClause", NULL };
	const char *kind = tree_kind(json_object_get(json_array_get(stmts, 0), "stmt"), &r->update);
	json_t *relation = json_object_get(r->update, "relation");
	const char *schema = json_string_value(json_object_get(relation, "schemaname"));

	if (json_array_size(stmts) != 1 || !is(kind, "UpdateStmt") || !tree_has_only(r->update, allowed) || !read_relations(r))
		return false;
	r->u->table = strdup(json_string_value(json_object_get(relation, "relname")));
	r->u->schema = schema != NULL ? strdup(schema) : NULL;
	return r->u->table != NULL && (schema == NULL || r->u->schema != NULL) && read_where(r) && read_assignments(r);
}

/* Find the statement's one placeholder, make a name of it and see the tokens then. *@ret_one: there was one. */
static int find_placeholder(struct reading *r, bool *ret_one, struct err *err)
{
	struct placeholders found = { 0 };
	size_t offset;
	int rc = template_find_in(r->text, &found, err);

	if (rc == 0 && found.n == 1) {
		r->holder = found.v[0];
		template_neutralize(r->text, &found);
		rc = scan_sql(r->text, &r->tokens, &offset, err);
		*ret_one = rc == 0 && r->tokens.n < TOKENS_MAX; /* two of them have become one */
	}
	template_free(&found);
	return rc;
}

static int read_section(struct reading *r, bool *ret_plain, struct err *err)
{
	json_t *stmts = NULL;
	bool one = false;
	size_t offset;
	int rc;

	if (r->text == NULL || r->u == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	strvec_init(&r->u->keys, MIGRATION_KEYS_MAX);
	rc = find_placeholder(r, &one, err);
	if (rc == 0 && one)
		rc = tree_parse(r->text, &stmts, &offset, err);
	*ret_plain = rc == 0 && one && read_update(r, stmts);
	json_decref(stmts);
	return rc;
}

int plain_read(const struct migration_statements *section, struct plain_update **ret, struct err *err)
{
	struct plain_update *u;
	struct reading r = { 0 };
	bool plain = false;
	char *text;
	int rc;

	*ret = NULL;
	if (section->n != 1)
		return 0;
	r.line = section->v[0].line;
	r.text = text = strdup(section->v[0].text);
	r.u = u = calloc(1, sizeof(*u));
	rc = read_section(&r, &plain, err);
	scan_free(&r.tokens);
	free(r.qualifier);
	free(text);
	if (plain)
		*ret = u;
	else
		plain_free(u);
	if (rc != ST_INPUT)
		return rc;
	err_clear(err);
	return 0;
}

void plain_free(struct plain_update *u)
{
	if (u == NULL)
		return;
	for (size_t i = 0; i < u->nr_sets; i++) {
		free(u->sets[i].column);
		free(u->sets[i].expression);
	}
	strvec_free(&u->keys);
	free(u->sets);
	free(u->schema);
	free(u->table);
	free(u);
}
