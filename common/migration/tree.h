/*
 * tree.h - what PostgreSQL's parser makes of a text, and what can be read off it without a database.
 */
#ifndef DROVER_MIGRATION_TREE_H
#define DROVER_MIGRATION_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"

#define TREE_TOKENS_MAX 20000 /* of one text: the parser recurses, so its input is bounded */

/* Parse statements. On ST_INPUT *@ret_offset is the byte of the mistake. *@ret: array of {"stmt": {...}, ...}; json_decref() it. */
MUST_CHECK int tree_parse(const char *sql, json_t **ret, size_t *ret_offset, struct err *err);

/**
 * Parse exactly one expression: nothing before, after, or beside it, and nothing that would not be one within parentheses as well.
 * *@ret: the expression; json_decref() it. On ST_INPUT *@ret_offset is the byte in @text.
 */
MUST_CHECK int tree_parse_expression(const char *text, json_t **ret, size_t *ret_offset, struct err *err);

/* "SelectStmt" of {"SelectStmt": {...}}, and what belongs to it in *@ret (may be NULL). NULL if it is no node. */
const char *tree_kind(json_t *node, json_t **ret);

/* Does the object have no keys but these (NULL-terminated)? */
bool tree_has_only(json_t *node, const char *const *allowed);

/* The text of {"String": {"sval": "x"}} (or "str", as older parsers have it); NULL if it is something else. */
const char *tree_string(json_t *node);

/* Called with each object within the tree and the key that it stands under, which is its kind where it is a node. False: no more. */
typedef bool (*tree_visit_cb)(void *arg, const char *kind, json_t *node);

/* False if the callback stopped it, or the tree is nested too deeply. */
bool tree_visit(json_t *tree, tree_visit_cb cb, void *arg);

/* Is this relation named (FROM and the like) by the word at this byte of the text that was parsed? */
bool tree_names_relation(json_t *tree, const char *name, size_t at);

/* What an expression or statement mentions. Names are unquoted, "schema.name" where they are qualified. */
struct tree_facts {
	struct strvec columns;    /* last part of each reference, of those that are not "x.*" */
	struct strvec qualifiers; /* what stands before the last part, for the same references; "" for none */
	struct strvec functions;
	struct strvec operators;
	bool whole_row; /* x.* */
	bool subquery;
	bool clock;     /* current_timestamp, now() and their kind */
	bool parameter; /* $1 and its kind */
};

void tree_facts_init(struct tree_facts *f);
void tree_facts_free(struct tree_facts *f);
MUST_CHECK int tree_facts_read(struct tree_facts *f, json_t *tree, struct err *err); /* adds to what is there */

/* Could the expression read this column of the table (also as a whole row)? */
bool tree_facts_read_column(const struct tree_facts *f, const char *table, const char *column);

#endif
