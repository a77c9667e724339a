/*
 * template.h - the placeholders :batch and :keys in a migration's statements.
 *
 * They are found among the tokens of PostgreSQL's scanner, so never within a string, a comment or a dollar quote, nor after "::".
 * Directly within square brackets a colon belongs to an array's slice ("a[lo:keys]") and is left alone.
 */
#ifndef DROVER_MIGRATION_TEMPLATE_H
#define DROVER_MIGRATION_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"
#include "migration/scan.h"

struct placeholder {
	size_t start, end; /* bytes; end is exclusive */
	bool keys;         /* :keys, otherwise :batch */
	bool alias;        /* the user's own alias follows */
};

struct placeholders {
	struct placeholder *v;
	size_t n;
};

MUST_CHECK int template_find(const char *text, const struct scan_tokens *tokens, struct placeholders *ret, struct err *err);
/* The same of a text that nobody else needs the tokens of. ST_INPUT: it cannot be scanned. */
MUST_CHECK int template_find_in(const char *text, struct placeholders *ret, struct err *err);
void template_free(struct placeholders *p);

/* Make plain names of them, in place and without moving a byte, so that the text can be parsed. */
void template_neutralize(char *text, const struct placeholders *p);

/* Append @text with @batch (a relation, in parentheses) and @keys (an expression) in their places. ST_INPUT, ST_LIMIT, ST_NOMEM. */
MUST_CHECK int template_fill(const char *text, const char *batch, const char *keys, struct buf *out, struct err *err);

#endif
