/*
 * scan.h - the tokens of an SQL text, from PostgreSQL's own scanner.
 */
#ifndef DROVER_MIGRATION_SCAN_H
#define DROVER_MIGRATION_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/util.h"

#define SCAN_TOKENS_MAX 500000

struct scan_token {
	size_t start, end; /* bytes; end is exclusive */
	bool comment;
	bool name; /* may stand as an alias: an identifier, quoted or not, that is no keyword reserved there */
};

struct scan_tokens {
	struct scan_token *v;
	size_t n;
};

/**
 * @text: UTF-8 without NUL bytes inside. On ST_INPUT (an unterminated string, say) *@ret_offset is the byte where it was found
 * and @err has PostgreSQL's message. The tokens are the caller's to scan_free().
 */
MUST_CHECK int scan_sql(const char *text, struct scan_tokens *ret, size_t *ret_offset, struct err *err);
void scan_free(struct scan_tokens *t);

/* Is the token spelled like this (bytes, case matters)? */
bool scan_is(const char *text, const struct scan_token *t, const char *word);

/* What PostgreSQL counts in characters from 1 as bytes from 0. */
size_t scan_byte_of(const char *text, int position);

/* The line of a byte, from 1. */
int scan_line_of(const char *text, size_t offset);

#endif
