/*
 * buf.h - a growing byte string with a ceiling.
 *
 * Every buffer is given its ceiling when it is made; nothing in the program
 * appends without bound. `data` is never NULL and always NUL-terminated.
 * A failed append (ceiling or memory) marks the buffer `failed`, leaves it
 * empty, and makes all later appends fail, so that a run of appends can be
 * checked once at its end with buf_ok().
 */
#ifndef DROVER_CORE_BUF_H
#define DROVER_CORE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/util.h"

struct buf {
	char *data;  /* NUL-terminated; never NULL */
	size_t len;  /* bytes, without the NUL */
	size_t cap;  /* bytes allocated; 0: `data` is a constant "" */
	size_t max;  /* ceiling for len */
	bool failed; /* an append did not fit or memory ran out */
};

extern char buf_empty[1];

/* clang-format off */
#define BUF_INIT(ceiling) { .data = buf_empty, .max = (ceiling) }
/* clang-format on */

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);  /* fine on a freed or fresh buffer; usable again afterwards */
void buf_reset(struct buf *b); /* empty, memory kept, `failed` forgotten */

int buf_add(struct buf *b, const void *bytes, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list ap);

/* False once any append failed. */
static inline bool buf_ok(const struct buf *b)
{
	return !b->failed;
}

/* The string, now the caller's to free(); the buffer is empty afterwards. NULL if it had failed. */
char *buf_detach(struct buf *b);

/* Append a whole file ("-" is standard input). ST_IO, ST_LIMIT, ST_NOMEM. */
MUST_CHECK int buf_read_file(struct buf *b, const char *path, struct err *err);

#endif
