/*
 * problems.h - the mistakes found in a migration file, all of them, each with its line.
 *
 * The parser and the registration add to one list and go on; whoever reads the file prints the list with
 * problems_print(). Messages are one line each: what is wrong, what was expected, an example.
 */
#ifndef DROVER_MIGRATION_PROBLEMS_H
#define DROVER_MIGRATION_PROBLEMS_H

#include <stddef.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

#define PROBLEMS_MAX 100 /* more are counted but not kept */

struct problem {
	int line;   /* in the file, from 1; 0: the file as a whole */
	char *text; /* owned */
};

struct problems {
	struct problem v[PROBLEMS_MAX];
	size_t n;     /* kept */
	size_t total; /* found */
};

void problems_init(struct problems *p);
void problems_free(struct problems *p); /* usable again afterwards */

/* Returns ST_INPUT, so that `return problems_add(...)` works. */
int problems_add(struct problems *p, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "FILE:3: text\n" for each, in the order of their lines. */
int problems_print(struct problems *p, const char *file, struct buf *out);

/* ST_INPUT with a summary in @err ("2 mistakes in 'FILE'; the first: line 3: ..."), or 0 if there are none. */
MUST_CHECK int problems_result(struct problems *p, const char *file, struct err *err);

#endif
