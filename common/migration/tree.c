/*
 * tree.c - parse trees: exactly one expression, and what a tree mentions.
 */
#include "migration/tree.h"

#include <pg_query.h>
#include <string.h>
#include <strings.h>

#include "core/buf.h"
#include "core/text.h"
#include "migration/file.h"
#include "migration/scan.h"

#define NAMES_MAX 10000
#define DEPTH_MAX 1000 /* of a tree */

static int check_size(const char *sql, size_t *ret_offset, struct err *err)
{
	struct scan_tokens tokens = { 0 };
	int rc = scan_sql(sql, &tokens, ret_offset, err);

	if (rc != 0)
		return rc;
	if (tokens.n > TREE_TOKENS_MAX) {
		*ret_offset = tokens.v[TREE_TOKENS_MAX].start;
		rc = err_set(err, ST_INPUT, "longer than %d words", TREE_TOKENS_MAX);
	}
	scan_free(&tokens);
	return rc;
}

int tree_parse(const char *sql, json_t **ret, size_t *ret_offset, struct err *err)
{
	PgQueryParseResult res;
	json_error_t why;
	json_t *root;
	int rc = check_size(sql, ret_offset, err);

	if (rc != 0)
		return rc;
	res = pg_query_parse(sql);
	*ret_offset = 0;
	if (res.error != NULL) {
		*ret_offset = scan_byte_of(sql, res.error->cursorpos);
		rc = err_set(err, ST_INPUT, "%s", res.error->message);
		pg_query_free_parse_result(res);
		return rc;
	}
	root = json_loads(res.parse_tree, 0, &why);
	pg_query_free_parse_result(res);
	if (root == NULL)
		return err_set(err, ST_INPUT, "nested too deeply");
	*ret = json_incref(json_object_get(root, "stmts"));
	json_decref(root);
	if (!json_is_array(*ret))
		return err_set(err, ST_INPUT, "the SQL parser's answer could not be read");
	return 0;
}

const char *tree_kind(json_t *node, json_t **ret)
{
	void *first = json_is_object(node) ? json_object_iter(node) : NULL;

	if (first == NULL)
		return NULL;
	if (ret != NULL)
		*ret = json_object_iter_value(first);
	return json_object_iter_key(first);
}

bool tree_has_only(json_t *node, const char *const *allowed)
{
	const char *key;
	json_t *value;

	json_object_foreach(node, key, value) {
		if (!text_one_of(key, allowed))
			return false;
	}
	return true;
}

/* SELECT with one unnamed column and nothing else: its value, borrowed. */
static json_t *only_target(json_t *stmts)
{
	static const char *const allowed[] = { "targetList", "limitOption", "op", NULL };
	json_t *select, *target, *value;
	const char *kind;

	if (json_array_size(stmts) != 1)
		return NULL;
	kind = tree_kind(json_object_get(json_array_get(stmts, 0), "stmt"), &select);
	if (kind == NULL || strcmp(kind, "SelectStmt") != 0 || !tree_has_only(select, allowed))
		return NULL;
	value = json_object_get(select, "op");
	if (value != NULL && strcmp(json_string_value(value), "SETOP_NONE") != 0)
		return NULL;
	value = json_object_get(select, "targetList");
	if (json_array_size(value) != 1)
		return NULL;
	kind = tree_kind(json_array_get(value, 0), &target);
	if (kind == NULL || strcmp(kind, "ResTarget") != 0 || json_object_get(target, "name") != NULL ||
	    json_object_get(target, "indirection") != NULL)
		return NULL;
	return json_object_get(target, "val");
}

/* "*" and "t.*" are columns of a SELECT but no expressions. */
static bool is_star(json_t *node)
{
	json_t *ref, *fields;
	const char *kind = tree_kind(node, &ref);

	if (kind == NULL || strcmp(kind, "ColumnRef") != 0)
		return false;
	fields = json_object_get(ref, "fields");
	kind = tree_kind(json_array_get(fields, json_array_size(fields) - 1), NULL);
	return kind != NULL && strcmp(kind, "A_Star") == 0;
}

static int parse_in(const char *before, const char *text, const char *after, json_t **ret, size_t *ret_offset, struct err *err)
{
	CLEANUP(buf_free) struct buf sql = BUF_INIT(MIGRATION_FILE_MAX + 100);
	json_t *stmts = NULL, *value;
	int rc;

	(void)buf_puts(&sql, before);
	(void)buf_puts(&sql, text);
	(void)buf_puts(&sql, after);
	*ret_offset = 0;
	if (!buf_ok(&sql))
		return err_set(err, ST_LIMIT, "too long");
	rc = tree_parse(sql.data, &stmts, ret_offset, err);
	*ret_offset = *ret_offset > strlen(before) ? *ret_offset - strlen(before) : 0;
	if (rc != 0)
		return rc;
	value = only_target(stmts);
	if (value == NULL || is_star(value)) {
		*ret_offset = 0;
		rc = err_set(err, ST_INPUT, "it is not one expression");
	} else
		*ret = json_incref(value);
	json_decref(stmts);
	return rc;
}

int tree_parse_expression(const char *text, json_t **ret, size_t *ret_offset, struct err *err)
{
	json_t *bare = NULL, *wrapped = NULL;
	int rc;

	/* By itself first: "true) OR (true" is one expression only within parentheses. */
	rc = parse_in("SELECT ", text, "\n", &bare, ret_offset, err);
	if (rc != 0)
		return rc;
	rc = parse_in("SELECT (\n", text, "\n)", &wrapped, ret_offset, err);
	json_decref(bare);
	if (rc == 0)
		*ret = wrapped;
	return rc;
}

/* ------------------------------------------------------------ what a tree mentions */

static bool visit(json_t *node, tree_visit_cb cb, void *arg, int depth)
{
	const char *key;
	json_t *value;
	size_t i;

	if (depth > DEPTH_MAX)
		return false;
	json_array_foreach(node, i, value) {
		if (!visit(value, cb, arg, depth + 1))
			return false;
	}
	json_object_foreach(node, key, value) {
		if ((json_is_object(value) && !cb(arg, key, value)) || !visit(value, cb, arg, depth + 1))
			return false;
	}
	return true;
}

bool tree_visit(json_t *tree, tree_visit_cb cb, void *arg)
{
	return visit(tree, cb, arg, 0);
}

struct sought {
	const char *name;
	json_int_t at;
	bool found;
};

static bool seek_relation(void *arg, const char *kind, json_t *node)
{
	struct sought *s = arg;
	const char *name = strcmp(kind, "RangeVar") == 0 ? json_string_value(json_object_get(node, "relname")) : NULL;

	s->found = name != NULL && strcmp(name, s->name) == 0 && json_integer_value(json_object_get(node, "location")) == s->at;
	return !s->found;
}

bool tree_names_relation(json_t *tree, const char *name, size_t at)
{
	struct sought s = { .name = name, .at = (json_int_t)at };

	(void)tree_visit(tree, seek_relation, &s);
	return s.found;
}

void tree_facts_init(struct tree_facts *f)
{
	memset(f, 0, sizeof(*f));
	strvec_init(&f->columns, NAMES_MAX);
	strvec_init(&f->qualifiers, NAMES_MAX);
	strvec_init(&f->functions, NAMES_MAX);
	strvec_init(&f->operators, NAMES_MAX);
}

void tree_facts_free(struct tree_facts *f)
{
	strvec_free(&f->columns);
	strvec_free(&f->qualifiers);
	strvec_free(&f->functions);
	strvec_free(&f->operators);
}

const char *tree_string(json_t *node)
{
	json_t *s;
	const char *kind = tree_kind(node, &s), *text;

	if (kind == NULL || strcmp(kind, "String") != 0)
		return NULL;
	text = json_string_value(json_object_get(s, "sval"));
	return text != NULL ? text : json_string_value(json_object_get(s, "str"));
}

/* The names of an array of String nodes but the last @spare, with dots between. */
static void join_names(json_t *names, size_t spare, struct buf *out)
{
	size_t n = json_array_size(names);

	for (size_t i = 0; i + spare < n; i++) {
		const char *name = tree_string(json_array_get(names, i));

		if (i > 0)
			(void)buf_putc(out, '.');
		(void)buf_puts(out, name != NULL ? name : "");
	}
}

static void read_column(struct tree_facts *f, json_t *ref)
{
	CLEANUP(buf_free) struct buf qualifier = BUF_INIT(MIGRATION_FILE_MAX);
	json_t *fields = json_object_get(ref, "fields");
	size_t n = json_array_size(fields);
	const char *name = n > 0 ? tree_string(json_array_get(fields, n - 1)) : NULL;

	if (name == NULL) {
		f->whole_row = true;
		return;
	}
	join_names(fields, 1, &qualifier);
	(void)strvec_push(&f->columns, name);
	(void)strvec_push(&f->qualifiers, qualifier.data);
}

static void read_function(struct tree_facts *f, json_t *call)
{
	static const char *const clocks[] = { "now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday", "age",
					      NULL };
	CLEANUP(buf_free) struct buf name = BUF_INIT(MIGRATION_FILE_MAX);
	json_t *names = json_object_get(call, "funcname");
	const char *last = tree_string(json_array_get(names, json_array_size(names) - 1));

	join_names(names, 0, &name);
	(void)strvec_push(&f->functions, name.data);
	/* age(x) is against today, age(x, y) is not. */
	if (last != NULL && text_one_of(last, clocks) && (strcmp(last, "age") != 0 || json_array_size(json_object_get(call, "args")) == 1))
		f->clock = true;
}

static void read_operator(struct tree_facts *f, json_t *expr)
{
	CLEANUP(buf_free) struct buf name = BUF_INIT(MIGRATION_FILE_MAX);
	json_t *names = json_object_get(expr, "name");
	const char *last = tree_string(json_array_get(names, json_array_size(names) - 1));

	/* "BETWEEN" and the like stand for comparisons. */
	if (last == NULL || strspn(last, "+-*/<>=~!@#%^&|`?") != strlen(last))
		return;
	join_names(names, 0, &name);
	(void)strvec_push(&f->operators, name.data);
}

/* 'now'::timestamptz */
static bool is_clock_literal(json_t *cast)
{
	static const char *const words[] = { "now", "today", "tomorrow", "yesterday" };
	json_t *constant, *value;
	const char *kind = tree_kind(json_object_get(cast, "arg"), &constant), *text;

	if (kind == NULL || strcmp(kind, "A_Const") != 0)
		return false;
	value = json_object_get(constant, "sval");
	text = json_string_value(json_object_get(value, "sval"));
	if (text == NULL)
		text = tree_string(json_object_get(constant, "val"));
	if (text == NULL)
		return false;
	text += strspn(text, " ");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strncasecmp(text, words[i], strlen(words[i])) == 0)
			return true;
	}
	return false;
}

static bool read_node(void *arg, const char *kind, json_t *node)
{
	struct tree_facts *f = arg;
	const char *op;

	if (strcmp(kind, "ColumnRef") == 0)
		read_column(f, node);
	else if (strcmp(kind, "FuncCall") == 0)
		read_function(f, node);
	else if (strcmp(kind, "A_Expr") == 0)
		read_operator(f, node);
	else if (strcmp(kind, "SubLink") == 0)
		f->subquery = true;
	else if (strcmp(kind, "ParamRef") == 0)
		f->parameter = true;
	else if (strcmp(kind, "TypeCast") == 0 && is_clock_literal(node))
		f->clock = true;
	else if (strcmp(kind, "SQLValueFunction") == 0) {
		op = json_string_value(json_object_get(node, "op"));
		if (op != NULL && (strstr(op, "TIME") != NULL || strstr(op, "DATE") != NULL))
			f->clock = true;
	}
	return true;
}

int tree_facts_read(struct tree_facts *f, json_t *tree, struct err *err)
{
	if (!tree_visit(tree, read_node, f))
		return err_set(err, ST_INPUT, "nested too deeply");
	if (!strvec_ok(&f->columns) || !strvec_ok(&f->qualifiers) || !strvec_ok(&f->functions) || !strvec_ok(&f->operators))
		return err_set(err, ST_LIMIT, "mentions too many names, or there is no memory for them");
	return 0;
}

bool tree_facts_read_column(const struct tree_facts *f, const char *table, const char *column)
{
	/* A reference spelled like the table is its whole row. */
	return f->whole_row || strvec_has(&f->columns, column) || strvec_has(&f->columns, table);
}
