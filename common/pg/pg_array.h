/*
 * pg_array.h - PostgreSQL's one-dimensional array literals, "{1,\"a b\",NULL}", read piece by piece and written.
 */
#ifndef DROVER_PG_PG_ARRAY_H
#define DROVER_PG_PG_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

struct pg_array {
	const char *at;   /* next byte to read; the literal is borrowed */
	struct buf *item; /* holds the element read last; borrowed */
	bool done;
};

/* @literal NULL: an empty array. @item is where elements are unpacked: initialised, with the ceiling for one element. */
MUST_CHECK int pg_array_open(struct pg_array *a, const char *literal, struct buf *item, struct err *err);

/**
 * The next element: 1 and *@ret (borrowed until the next call; NULL for NULL), 0 at the end.
 * ST_INPUT: no such literal; ST_LIMIT: over the buffer's ceiling; ST_NOMEM.
 */
MUST_CHECK int pg_array_next(struct pg_array *a, const char **ret, struct err *err);

/* Append an element, quoted as needed, with the comma or brace before it; pg_array_end() adds the last brace ("{}" if there was none). */
int pg_array_add(struct buf *out, bool first, const char *item);
int pg_array_end(struct buf *out, bool empty);

#endif
