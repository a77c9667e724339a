#include "core/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char buf_empty[1];

#define BUF_FIRST 64 /* bytes of the first allocation */

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf)BUF_INIT(max);
}

static void drop(struct buf *b)
{
	if (b->cap > 0)
		free(b->data);
	b->data = buf_empty;
	b->len = 0;
	b->cap = 0;
}

void buf_free(struct buf *b)
{
	drop(b);
	b->failed = false;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->cap > 0)
		b->data[0] = '\0';
	b->failed = false;
}

static int fail(struct buf *b, int code)
{
	drop(b);
	b->failed = true;
	return code;
}

/* Make room for @n more bytes and the NUL. */
static int reserve(struct buf *b, size_t n)
{
	size_t need, cap;
	char *data;

	if (b->failed || n > b->max || b->len > b->max - n || b->max == SIZE_MAX)
		return fail(b, ST_LIMIT);
	need = b->len + n + 1;
	if (need <= b->cap)
		return 0;
	cap = b->cap > 0 ? b->cap : BUF_FIRST;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (cap > b->max + 1)
		cap = b->max + 1;
	data = realloc(b->cap > 0 ? b->data : NULL, cap);
	if (data == NULL)
		return fail(b, ST_NOMEM);
	b->data = data;
	b->cap = cap;
	return 0;
}

int buf_add(struct buf *b, const void *bytes, size_t n)
{
	int rc = reserve(b, n);

	if (rc != 0)
		return rc;
	if (n > 0)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n, rc;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return fail(b, ST_NOMEM);
	rc = reserve(b, (size_t)n);
	if (rc != 0)
		return rc;
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return rc;
}

char *buf_detach(struct buf *b)
{
	char *s;

	if (b->failed) {
		buf_free(b);
		return NULL;
	}
	if (b->cap == 0)
		return strdup("");
	s = b->data;
	b->cap = 0;
	drop(b);
	return s;
}

static int read_all(struct buf *b, int fd, const char *path, struct err *err)
{
	char chunk[16384];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, ST_IO, "cannot read '%s': %s", path, strerror(errno));
		if (n == 0)
			return 0;
		rc = buf_add(b, chunk, (size_t)n);
		if (rc == ST_LIMIT)
			return err_set(err, rc, "'%s' is larger than the %zu bytes that are read of such a file", path, b->max);
		if (rc != 0)
			return err_set(err, rc, "cannot read '%s': out of memory", path);
	}
}

int buf_read_file(struct buf *b, const char *path, struct err *err)
{
	int fd, rc;

	if (strcmp(path, "-") == 0)
		return read_all(b, STDIN_FILENO, "standard input", err);
	/* Nobody is waited for who might write into a FIFO; a shell's <(...) has its writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fcntl(fd, F_SETFL, 0) != 0) {
		rc = err_set(err, ST_IO, "cannot open '%s': %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	rc = read_all(b, fd, path, err);
	close(fd);
	return rc;
}
