/*
 * file_sections.c - the statements of a section.
 */
#include <pg_query.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "migration/file_private.h"

/* What may run on a batch. Everything else either cannot run in a transaction or has no place in every one of thousands. */
static const struct {
	const char *kind;
	bool dml; /* touches rows, so it must say which */
} allowed[] = {
	{ "InsertStmt", true },  { "UpdateStmt", true }, { "DeleteStmt", true }, { "MergeStmt", true },
	{ "SelectStmt", false }, { "CallStmt", false },  { "DoStmt", false },
};

/* The first byte of the statement itself, behind blanks and comments, and the last one's successor. */
static void trim_statement(const struct parser *p, size_t *start, size_t *end)
{
	size_t first = *end, last = *start;

	for (size_t i = 0; i < p->tokens.n; i++) {
		const struct scan_token *t = &p->tokens.v[i];

		if (t->comment || t->start < *start || t->end > *end)
			continue;
		if (t->start < first)
			first = t->start;
		if (t->end > last)
			last = t->end;
	}
	*start = first;
	*end = last > first ? last : first;
}

static int add_statement(struct parser *p, struct migration_statements *list, size_t start, size_t end)
{
	struct migration_statement *grown = reallocarray(list->v, list->n + 1, sizeof(*grown));

	if (grown == NULL)
		return ST_NOMEM;
	list->v = grown;
	list->v[list->n].line = scan_line_of(p->text, start);
	list->v[list->n].text = strndup(p->text + start, end - start);
	return list->v[list->n++].text == NULL ? ST_NOMEM : 0;
}

static bool uses_placeholder(const struct parser *p, size_t start, size_t end)
{
	for (size_t i = 0; i < p->holders.n; i++) {
		if (p->holders.v[i].start >= start && p->holders.v[i].end <= end)
			return true;
	}
	return false;
}

/* An array is no relation: without this, the server would complain about the SQL that was made of it. */
static void check_keys(struct parser *p, json_t *stmts, size_t start, size_t end)
{
	for (size_t i = 0; i < p->holders.n; i++) {
		const struct placeholder *h = &p->holders.v[i];

		if (h->keys && h->start >= start && h->end <= end && tree_names_relation(stmts, "keys", h->start + 1 - start))
			(void)problems_add(p->problems, scan_line_of(p->text, h->start),
					   ":keys is an array, as for '= ANY (:keys)', and no relation; did you mean :batch?");
	}
}

/* The word behind a colon that the parser stumbled over; an empty string if it was something else. */
static void misspelt(const struct parser *p, size_t at, char *ret, size_t size)
{
	ret[0] = '\0';
	for (size_t i = 0; i + 1 < p->tokens.n; i++) {
		const struct scan_token *colon = &p->tokens.v[i], *word = colon + 1;

		if (colon->start == at && scan_is(p->text, colon, ":") && word->start == colon->end)
			(void)snprintf(ret, size, "%.*s", (int)(word->end - word->start), p->text + word->start);
	}
}

static void report_syntax(struct parser *p, enum migration_section s, size_t at, const char *why)
{
	static const char *const names[] = { "batch", "keys", NULL };
	int line = scan_line_of(p->text, at);
	const char *nearest;
	char word[40];

	misspelt(p, at, word, sizeof(word));
	nearest = text_nearest(word, names);
	if (word[0] != '\0' && s == SECTION_BACKFILL && nearest != NULL)
		(void)problems_add(p->problems, line, "section 'backfill': there is no placeholder :%s; did you mean :%s?", word, nearest);
	else if (word[0] != '\0' && s == SECTION_BACKFILL)
		(void)problems_add(p->problems, line, "section 'backfill': there is no placeholder :%s; expected :batch or :keys", word);
	else
		(void)problems_add(p->problems, line, "section '%s': %s (as PostgreSQL %s reads it)", migration_section_name(s), why,
				   PG_MAJORVERSION);
}

/* What a statement of the backfill may be. */
static int check_backfill(struct parser *p, json_t *stmt, int line, bool uses)
{
	const char *kind = tree_kind(stmt, NULL);
	struct tree_facts facts;
	struct err err = ERR_INIT;
	size_t i = 0;

	while (i < ARRAY_SIZE(allowed) && (kind == NULL || strcmp(allowed[i].kind, kind) != 0))
		i++;
	if (i == ARRAY_SIZE(allowed)) {
		(void)problems_add(p->problems, line,
				   "this statement cannot be part of a backfill, which runs in one transaction for each batch; "
				   "expected INSERT, UPDATE, DELETE, MERGE, SELECT, CALL or DO");
		return 0;
	}
	if (allowed[i].dml && !uses)
		(void)problems_add(
			p->problems, line,
			"this statement names neither :batch nor :keys, so every batch would run it on all rows; expected, for example, "
			"'... FROM :batch b WHERE t.id = b.id'");
	tree_facts_init(&facts);
	if (tree_facts_read(&facts, stmt, &err) != 0)
		(void)problems_add(p->problems, line, "%s", err.msg);
	else if (facts.parameter)
		(void)problems_add(p->problems, line, "a parameter like $1 has no value here; expected :batch or :keys");
	tree_facts_free(&facts);
	return 0;
}

/* One statement, from @start to @end of the file: parse it, report its mistakes, keep it. */
static int take_statement(struct parser *p, enum migration_section s, size_t start, size_t end)
{
	struct migration_statements *list = &p->f->sections[s];
	struct err err = ERR_INIT;
	json_t *stmts = NULL;
	size_t offset;
	char *text;
	int rc;

	trim_statement(p, &start, &end);
	if (start == end)
		return 0;
	if (list->n == MIGRATION_STATEMENTS_MAX) {
		(void)problems_add(p->problems, scan_line_of(p->text, start), "more than %d statements in section '%s'",
				   MIGRATION_STATEMENTS_MAX, migration_section_name(s));
		return ST_LIMIT;
	}
	text = strndup(p->neutral + start, end - start);
	if (text == NULL)
		return ST_NOMEM;
	rc = tree_parse(text, &stmts, &offset, &err);
	free(text);
	if (rc == ST_NOMEM)
		return rc;
	if (rc != 0) {
		report_syntax(p, s, start + offset, err.msg);
		return 0;
	}
	if (s == SECTION_BACKFILL)
		check_keys(p, stmts, start, end);
	if (s == SECTION_BACKFILL && json_array_size(stmts) == 1)
		rc = check_backfill(p, json_object_get(json_array_get(stmts, 0), "stmt"), scan_line_of(p->text, start),
				    uses_placeholder(p, start, end));
	json_decref(stmts);
	return rc == 0 ? add_statement(p, list, start, end) : rc;
}

/* Where statements begin and end. By the parser, which knows functions with a body of statements; by the scanner if it finds a mistake. */
static PgQuerySplitResult split(const char *text)
{
	PgQuerySplitResult res = pg_query_split_with_parser(text);

	if (res.error == NULL)
		return res;
	pg_query_free_split_result(res);
	return pg_query_split_with_scanner(text);
}

static size_t count_tokens(const struct parser *p, size_t start, size_t end)
{
	size_t n = 0;

	for (size_t i = 0; i < p->tokens.n; i++)
		n += p->tokens.v[i].start >= start && p->tokens.v[i].end <= end;
	return n;
}

int parse_section(struct parser *p, enum migration_section s)
{
	struct migration_statements *list = &p->f->sections[s];
	size_t start = p->section_start[s], end = p->section_end[s];
	PgQuerySplitResult res;
	char *text;
	int rc = 0;

	if (count_tokens(p, start, end) > TREE_TOKENS_MAX) {
		(void)problems_add(p->problems, list->line, "section '%s' is longer than %d words", migration_section_name(s),
				   TREE_TOKENS_MAX);
		return 0;
	}
	if (s != SECTION_BACKFILL && uses_placeholder(p, start, end))
		(void)problems_add(p->problems, list->line, "section '%s': :batch and :keys have a meaning in the section 'backfill' alone",
				   migration_section_name(s));
	text = strndup(p->neutral + start, end - start);
	if (text == NULL)
		return ST_NOMEM;
	res = split(text);
	for (int i = 0; i < res.n_stmts && rc == 0; i++) {
		size_t at = start + (size_t)res.stmts[i]->stmt_location;

		rc = take_statement(p, s, at, at + (size_t)res.stmts[i]->stmt_len);
	}
	if (res.error != NULL)
		(void)problems_add(p->problems, list->line, "section '%s': %s", migration_section_name(s), res.error->message);
	pg_query_free_split_result(res);
	free(text);
	if (rc == ST_LIMIT)
		rc = 0;
	if (rc == 0 && list->n == 0 && p->problems->total == 0)
		(void)problems_add(p->problems, list->line, "section '%s' is empty; expected statements after its mark, each ended by ';'",
				   migration_section_name(s));
	return rc;
}
