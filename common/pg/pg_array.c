#include "pg/pg_array.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static int malformed(struct err *err)
{
	return err_set(err, ST_INPUT, "malformed array from PostgreSQL");
}

int pg_array_open(struct pg_array *a, const char *literal, struct buf *item, struct err *err)
{
	a->item = item;
	a->at = literal;
	a->done = literal == NULL;
	if (a->done)
		return 0;
	if (literal[0] != '{')
		return malformed(err);
	a->at = literal + 1;
	if (a->at[0] == '}') {
		if (a->at[1] != '\0')
			return malformed(err);
		a->done = true;
	}
	return 0;
}

static int over(const struct pg_array *a, int rc, struct err *err)
{
	if (rc == ST_LIMIT)
		return err_set(err, rc, "a value of an array is longer than %zu bytes", a->item->max);
	return err_set(err, rc, "out of memory");
}

/* Runs of plain bytes are copied at once: keys come by the ten thousand. */
static int read_quoted(struct pg_array *a, struct err *err)
{
	for (;;) {
		size_t n = strcspn(a->at, "\"\\");
		int rc = buf_add(a->item, a->at, n);

		if (rc != 0)
			return over(a, rc, err);
		a->at += n;
		if (*a->at == '"') {
			a->at++;
			return 0;
		}
		if (*a->at == '\0' || a->at[1] == '\0')
			return malformed(err);
		rc = buf_putc(a->item, a->at[1]);
		if (rc != 0)
			return over(a, rc, err);
		a->at += 2;
	}
}

int pg_array_next(struct pg_array *a, const char **ret, struct err *err)
{
	bool null = false;
	int rc;

	if (a->done)
		return 0;
	buf_reset(a->item);
	if (*a->at == '"') {
		a->at++;
		rc = read_quoted(a, err);
		if (rc != 0)
			return rc;
	} else {
		size_t n = strcspn(a->at, ",{}\"");

		if (n == 0 || memchr(a->at, '\\', n) != NULL)
			return malformed(err);
		null = n == 4 && strncasecmp(a->at, "null", 4) == 0;
		rc = buf_add(a->item, a->at, n);
		if (rc != 0)
			return over(a, rc, err);
		a->at += n;
	}
	if (*a->at == '}' && a->at[1] == '\0')
		a->done = true;
	else if (*a->at != ',')
		return malformed(err);
	else
		a->at++;
	*ret = null ? NULL : a->item->data;
	return 1;
}

static bool needs_quotes(const char *item)
{
	if (item[0] == '\0' || strcasecmp(item, "null") == 0)
		return true;
	for (const char *p = item; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("-_.:+", *p) == NULL)
			return true;
	return false;
}

int pg_array_add(struct buf *out, bool first, const char *item)
{
	buf_putc(out, first ? '{' : ',');
	if (item == NULL)
		return buf_puts(out, "NULL");
	if (!needs_quotes(item))
		return buf_puts(out, item);
	buf_putc(out, '"');
	while (*item != '\0') {
		size_t n = strcspn(item, "\"\\");

		buf_add(out, item, n);
		item += n;
		if (*item != '\0') {
			buf_putc(out, '\\');
			buf_putc(out, *item++);
		}
	}
	return buf_putc(out, '"');
}

int pg_array_end(struct buf *out, bool empty)
{
	return buf_puts(out, empty ? "{}" : "}");
}
