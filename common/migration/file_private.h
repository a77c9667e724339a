/*
 * file_private.h - what the parts of the file parser share.
 */
#ifndef DROVER_MIGRATION_FILE_PRIVATE_H
#define DROVER_MIGRATION_FILE_PRIVATE_H

#include "migration/file.h"
#include "migration/scan.h"
#include "migration/template.h"
#include "migration/tree.h"

struct parser {
	struct migration_file *f;
	struct problems *problems;
	const char *text;            /* the whole file */
	char *neutral;               /* the same with placeholders made plain names: for the SQL parser */
	struct scan_tokens tokens;   /* of text; none if it could not be scanned */
	struct placeholders holders; /* in text */
	bool scanned;
	bool seen_set_error, seen_table_error; /* given, but wrong: do not also report it as missing */
	size_t section_end[SECTION_NR];        /* bytes: from the end of its mark to the next one */
	size_t section_start[SECTION_NR];      /* 0: the file has none */
};

/* Both return 0 or ST_NOMEM; mistakes go to p->problems. */
MUST_CHECK int parse_directive(struct parser *p, int line, const char *name, const char *value, size_t after);
MUST_CHECK int parse_section(struct parser *p, enum migration_section s);

/* A name of up to @max parts ("schema"."table"), unquoted. Returns the number of parts, the caller's to free(); 0 if it is none. */
size_t parse_name(const char *text, char *ret_parts[], size_t max);

/* Add the mistake of a value that is no expression. @shown: '"pending"', say. */
MUST_CHECK int parse_check_expression(struct parser *p, int line, const char *shown, const char *text, const char *example);

#endif
