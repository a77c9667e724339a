/*
 * file_directives.c - the lines "-- drover: NAME VALUE".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/strvec.h"
#include "core/text.h"
#include "ledger/settings.h"
#include "migration/file_private.h"

struct directive {
	const char *name;
	int (*parse)(struct parser *p, const struct directive *d, int line, const char *value);
	size_t offset;        /* of the struct migration_value or line in struct migration_file, where the parser needs it */
	const char *expected; /* after "expected " */
	const char *example;  /* after "-- drover: " */
	const char *setting;  /* which it is, with its bounds; NULL: none */
};

#define VALUE_OF(p, d) ((struct migration_value *)(void *)((char *)(p)->f + (d)->offset))

static int wrong(struct parser *p, const struct directive *d, int line, const char *why)
{
	(void)problems_add(p->problems, line, "'%s': %s; expected %s, for example '-- drover: %s'", d->name, why, d->expected, d->example);
	return 0;
}

static int twice(struct parser *p, const struct directive *d, int line, int before)
{
	(void)problems_add(p->problems, line, "'%s' is given twice, first on line %d; expected one", d->name, before);
	return 0;
}

static int keep(struct migration_value *v, int line, const char *text)
{
	v->line = line;
	v->text = strdup(text);
	return v->text == NULL ? ST_NOMEM : 0;
}

/* ------------------------------------------------------------ names */

/* An identifier as PostgreSQL would keep it; NULL if the token is none, or out of memory. */
static char *unquote(const char *text, const struct scan_token *t)
{
	size_t n = t->end - t->start, len = 0;
	const char *s = text + t->start;
	char *name;

	if (n == 0 || t->comment || (strchr("\"_", *s) == NULL && ((unsigned char)*s & 0x80) == 0 && ((*s | 32) < 'a' || (*s | 32) > 'z')))
		return NULL;
	if (s[n - 1] == '\'' || (n > 1 && s[1] == '&')) /* E'..', U&"..": not a plain name */
		return NULL;
	name = malloc(n + 1);
	if (name == NULL)
		return NULL;
	if (*s != '"') {
		for (; len < n; len++)
			name[len] = s[len] >= 'A' && s[len] <= 'Z' ? (char)(s[len] | 32) : s[len];
	} else {
		for (size_t i = 1; i + 1 < n; i++) {
			name[len++] = s[i];
			if (s[i] == '"')
				i++;
		}
	}
	name[len] = '\0';
	return name;
}

/* The first tokens of @text that make a name; *@ret_next is the token after it. */
static size_t name_at(const char *text, const struct scan_tokens *tokens, size_t *ret_next, char *ret_parts[], size_t max)
{
	size_t i = *ret_next, n = 0;

	while (i < tokens->n) {
		char *part = n < max ? unquote(text, &tokens->v[i]) : NULL;

		if (part == NULL)
			break;
		ret_parts[n++] = part;
		*ret_next = ++i;
		if (i + 1 >= tokens->n || !scan_is(text, &tokens->v[i], "."))
			return n;
		i++;
	}
	while (n > 0) {
		free(ret_parts[--n]);
		ret_parts[n] = NULL;
	}
	return 0;
}

static size_t skip_comments(const struct scan_tokens *tokens, size_t i)
{
	while (i < tokens->n && tokens->v[i].comment)
		i++;
	return i;
}

size_t parse_name(const char *text, char *ret_parts[], size_t max)
{
	struct scan_tokens tokens = { 0 };
	struct err err = ERR_INIT;
	size_t offset, next = 0, n;

	if (scan_sql(text, &tokens, &offset, &err) != 0)
		return 0;
	n = name_at(text, &tokens, &next, ret_parts, max);
	if (n > 0 && skip_comments(&tokens, next) != tokens.n) {
		while (n > 0)
			free(ret_parts[--n]);
	}
	scan_free(&tokens);
	return n;
}

static int parse_table(struct parser *p, const struct directive *d, int line, const char *value)
{
	char *parts[2];
	size_t n;

	if (p->f->table.text != NULL)
		return twice(p, d, line, p->f->table.line);
	n = parse_name(value, parts, ARRAY_SIZE(parts));
	if (n == 0) {
		p->seen_table_error = true;
		return wrong(p, d, line, "this is not a table's name (names with capitals, spaces or other signs need double quotes)");
	}
	p->f->table_name = parts[n - 1];
	if (n == 2)
		p->f->table_schema = parts[0];
	return keep(&p->f->table, line, value);
}

static int add_key(struct parser *p, const struct directive *d, int line, char *column)
{
	struct migration_file *f = p->f;

	for (size_t i = 0; i < f->nr_keys; i++) {
		if (strcmp(f->keys[i], column) == 0) {
			(void)problems_add(p->problems, line, "'key': column '%s' is named twice", column);
			free(column);
			return 0;
		}
	}
	if (f->nr_keys == MIGRATION_KEYS_MAX) {
		free(column);
		return wrong(p, d, line, "more than four columns");
	}
	f->keys[f->nr_keys++] = column;
	return 0;
}

static int parse_key(struct parser *p, const struct directive *d, int line, const char *value)
{
	struct scan_tokens tokens = { 0 };
	struct err err = ERR_INIT;
	size_t offset, at = 0;
	char *column;

	if (p->f->key_line > 0)
		return twice(p, d, line, p->f->key_line);
	p->f->key_line = line;
	if (scan_sql(value, &tokens, &offset, &err) != 0)
		return wrong(p, d, line, err.msg);
	for (;;) {
		if (name_at(value, &tokens, &at, &column, 1) != 1) {
			(void)wrong(p, d, line, "this is not a list of columns");
			break;
		}
		(void)add_key(p, d, line, column);
		at = skip_comments(&tokens, at);
		if (at == tokens.n)
			break;
		if (!scan_is(value, &tokens.v[at++], ",")) {
			(void)wrong(p, d, line, "expected a comma between columns");
			break;
		}
	}
	scan_free(&tokens);
	return 0;
}

static int parse_handler(struct parser *p, const struct directive *d, int line, const char *value)
{
	static const char word[] = "procedure";
	const char *name = value + sizeof(word) - 1;
	char *parts[2];
	size_t n = 0;

	if (p->f->handler.text != NULL)
		return twice(p, d, line, p->f->handler.line);
	if (strncasecmp(value, word, sizeof(word) - 1) == 0 && strspn(name, " \t") > 0)
		n = parse_name(name + strspn(name, " \t"), parts, ARRAY_SIZE(parts));
	if (n == 0) {
		p->f->handler.line = line;
		return wrong(p, d, line, "this is not a procedure");
	}
	while (n > 0)
		free(parts[--n]);
	return keep(&p->f->handler, line, name + strspn(name, " \t"));
}

/* ------------------------------------------------------------ expressions */

int parse_check_expression(struct parser *p, int line, const char *shown, const char *text, const char *example)
{
	struct tree_facts facts;
	struct err err = ERR_INIT;
	json_t *tree = NULL;
	size_t offset;
	int rc = tree_parse_expression(text, &tree, &offset, &err);

	if (rc == ST_NOMEM)
		return rc;
	if (rc != 0) {
		(void)problems_add(p->problems, line, "%s: %s; expected one SQL expression, for example '-- drover: %s'", shown, err.msg,
				   example);
		return 0;
	}
	tree_facts_init(&facts);
	rc = tree_facts_read(&facts, tree, &err);
	if (rc != 0)
		(void)problems_add(p->problems, line, "%s: %s", shown, err.msg);
	else if (facts.parameter)
		(void)problems_add(p->problems, line, "%s: a parameter like $1 has no value here; expected one SQL expression", shown);
	tree_facts_free(&facts);
	json_decref(tree);
	return 0;
}

static int parse_predicate(struct parser *p, const struct directive *d, int line, const char *value)
{
	struct migration_value *v = VALUE_OF(p, d);
	char shown[40];

	if (v->text != NULL)
		return twice(p, d, line, v->line);
	(void)snprintf(shown, sizeof(shown), "'%s'", d->name);
	if (parse_check_expression(p, line, shown, value, d->example) != 0)
		return ST_NOMEM;
	return keep(v, line, value);
}

static int add_set(struct parser *p, int line, char *column, const char *expression)
{
	struct migration_file *f = p->f;
	struct migration_set *grown;

	for (size_t i = 0; i < f->nr_sets; i++) {
		if (strcmp(f->sets[i].column, column) == 0) {
			(void)problems_add(p->problems, line, "'set': column '%s' is set twice, first on line %d", column, f->sets[i].line);
			free(column);
			return 0;
		}
	}
	grown = f->nr_sets < MIGRATION_SETS_MAX ? reallocarray(f->sets, f->nr_sets + 1, sizeof(*grown)) : NULL;
	if (grown == NULL) {
		free(column);
		return f->nr_sets < MIGRATION_SETS_MAX ?
			       ST_NOMEM :
			       (problems_add(p->problems, line, "'set': more than %d columns", MIGRATION_SETS_MAX), 0);
	}
	f->sets = grown;
	f->sets[f->nr_sets] = (struct migration_set){ .column = column, .expression = strdup(expression), .line = line };
	return f->sets[f->nr_sets++].expression == NULL ? ST_NOMEM : 0;
}

static int parse_set(struct parser *p, const struct directive *d, int line, const char *value)
{
	CLEANUP(buf_free) struct buf shown = BUF_INIT(1000);
	struct scan_tokens tokens = { 0 };
	struct err err = ERR_INIT;
	size_t offset, at = 0;
	const char *expression = NULL;
	char *column = NULL;

	p->seen_set_error = true;
	if (scan_sql(value, &tokens, &offset, &err) != 0)
		return wrong(p, d, line, err.msg);
	if (name_at(value, &tokens, &at, &column, 1) == 1 && at < tokens.n && scan_is(value, &tokens.v[at], "="))
		expression = value + tokens.v[at].end + strspn(value + tokens.v[at].end, " \t");
	scan_free(&tokens);
	if (expression == NULL || *expression == '\0') {
		free(column);
		return wrong(p, d, line, expression == NULL ? "this does not begin with one column and '='" : "there is nothing after '='");
	}
	(void)buf_printf(&shown, "'set' of column '%s'", column);
	if (parse_check_expression(p, line, shown.data, expression, d->example) != 0) {
		free(column);
		return ST_NOMEM;
	}
	return add_set(p, line, column, expression);
}

/* ------------------------------------------------------------ settings */

static int parse_mode(struct parser *p, const struct directive *d, int line, const char *value)
{
	if (p->f->mode_line > 0)
		return twice(p, d, line, p->f->mode_line);
	p->f->mode_line = line;
	if (strcmp(value, "batch") == 0)
		p->f->mode = MIGRATION_BATCH;
	else if (strcmp(value, "row") == 0)
		p->f->mode = MIGRATION_ROW;
	else
		return wrong(p, d, line, "this is not a mode");
	return 0;
}

static int parse_ledger(struct parser *p, const struct directive *d, int line, const char *value)
{
	if (p->f->ledger)
		return twice(p, d, line, p->f->ledger_line);
	p->f->ledger = true;
	p->f->ledger_line = line;
	return *value == '\0' ? 0 : wrong(p, d, line, "it takes no value");
}

/* Held to the setting's bounds, and kept as the setting would be printed. */
static int take_setting(struct parser *p, const struct directive *d, int line, const char *value)
{
	CLEANUP(buf_free) struct buf printed = BUF_INIT(1000);
	enum setting_id id = (enum setting_id)(settings_find(d->setting) - setting_table);
	struct err err = ERR_INIT;
	struct settings s;

	settings_defaults(&s);
	if (settings_set(&s, d->setting, value, &err) != 0)
		return wrong(p, d, line, err.msg);
	return settings_print(&s, id, &printed) == 0 ? keep(VALUE_OF(p, d), line, printed.data) : ST_NOMEM;
}

static int parse_setting(struct parser *p, const struct directive *d, int line, const char *value)
{
	struct migration_value *v = VALUE_OF(p, d);

	if (v->line > 0)
		return twice(p, d, line, v->line);
	v->line = line;
	return take_setting(p, d, line, value);
}

/* In seconds where it has no unit, as everywhere but in the setting. */
static int parse_duration(struct parser *p, const struct directive *d, int line, const char *value)
{
	struct migration_value *v = VALUE_OF(p, d);
	struct err err = ERR_INIT;
	char decimal[24];
	uint64_t ms;

	if (v->line > 0)
		return twice(p, d, line, v->line);
	v->line = line;
	if (text_parse_duration_ms(value, &ms, &err) != 0)
		return wrong(p, d, line, err.msg);
	(void)snprintf(decimal, sizeof(decimal), "%llu", (unsigned long long)ms);
	return take_setting(p, d, line, decimal);
}

static int parse_mark(struct parser *p, const struct directive *d, int line, const char *value)
{
	enum migration_section s = SECTION_EXPAND;

	while (strcmp(migration_section_name(s), d->name) != 0)
		s++;
	if (p->f->sections[s].line > 0)
		return twice(p, d, line, p->f->sections[s].line);
	p->f->sections[s].line = line;
	return *value == '\0' ? 0 : wrong(p, d, line, "a section's mark takes no value");
}

#define AT(member) offsetof(struct migration_file, member)

static const struct directive directives[] = {
	{ "table", parse_table, 0, "a table, with or without schema", "table public.orders", NULL },
	{ "key", parse_key, 0, "one to four columns of a unique index", "key tenant_id, id", NULL },
	{ "set", parse_set, 0, "one column, '=' and one SQL expression", "set total_cents = round(total * 100)", NULL },
	{ "pending", parse_predicate, AT(pending), "a predicate that is false once a row is migrated", "pending total_cents IS NULL",
	  NULL },
	{ "where", parse_predicate, AT(where), "a predicate", "where deleted_at IS NULL", NULL },
	{ "mode", parse_mode, 0, "'batch' or 'row'", "mode row", NULL },
	{ "handler", parse_handler, 0, "the word 'procedure' and its name", "handler procedure migrate_orders", NULL },
	{ "batch-size", parse_setting, AT(batch_size), "a number of rows", "batch-size 1000", "batch_size" },
	{ "tries", parse_setting, AT(tries), "a number of attempts", "tries 3", "tries" },
	{ "backoff", parse_setting, AT(backoff), "seconds before each further attempt", "backoff 1,5,30", "backoff" },
	{ "timeout", parse_duration, AT(timeout), "a duration", "timeout 60s", "query_timeout_ms" },
	{ "lock-timeout", parse_duration, AT(lock_timeout), "a duration", "lock-timeout 500ms", "lock_timeout_ms" },
	{ "ledger", parse_ledger, 0, "no value", "ledger", NULL },
	{ "expand", parse_mark, 0, "no value", "expand", NULL },
	{ "backfill", parse_mark, 0, "no value", "backfill", NULL },
	{ "verify", parse_mark, 0, "no value", "verify", NULL },
	{ "contract", parse_mark, 0, "no value", "contract", NULL },
	{ "rollback", parse_mark, 0, "no value", "rollback", NULL },
};

static int unknown(struct parser *p, int line, const char *name)
{
	const char *names[ARRAY_SIZE(directives) + 1] = { NULL };
	const char *nearest;

	for (size_t i = 0; i < ARRAY_SIZE(directives); i++)
		names[i] = directives[i].name;
	nearest = text_nearest(name, names);
	if (nearest != NULL)
		(void)problems_add(p->problems, line, "there is no directive '%s'; did you mean '%s'?", name, nearest);
	else
		(void)problems_add(
			p->problems, line,
			"there is no directive '%s'; expected table, key, set, pending, where, mode, handler, batch-size, tries, backoff, "
			"timeout, lock-timeout, ledger, or a section: expand, backfill, verify, contract, rollback",
			name);
	return 0;
}

int parse_directive(struct parser *p, int line, const char *name, const char *value, size_t after)
{
	for (size_t i = 0; i < ARRAY_SIZE(directives); i++) {
		const struct directive *d = &directives[i];
		bool mark = d->parse == parse_mark;
		int rc;

		if (strcmp(d->name, name) != 0)
			continue;
		if (*value == '\0' && !mark && d->parse != parse_ledger) {
			if (d->parse == parse_set)
				p->seen_set_error = true;
			else if (d->parse == parse_table)
				p->seen_table_error = true;
			return wrong(p, d, line, "it has no value");
		}
		rc = d->parse(p, d, line, value);
		for (enum migration_section s = 0; mark && s < SECTION_NR; s++) {
			if (p->f->sections[s].line == line)
				p->section_start[s] = after;
		}
		return rc;
	}
	return unknown(p, line, name);
}
