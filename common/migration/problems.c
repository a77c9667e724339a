/*
 * problems.c - the mistakes found in a migration file.
 */
#include "migration/problems.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

#define PROBLEM_TEXT_MAX 4000  /* bytes */
#define PROBLEM_SHORT_MAX 500U /* bytes of the first, in the summary */

void problems_init(struct problems *p)
{
	memset(p, 0, sizeof(*p));
}

void problems_free(struct problems *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].text);
	problems_init(p);
}

int problems_add(struct problems *p, int line, const char *fmt, ...)
{
	struct buf text = BUF_INIT(PROBLEM_TEXT_MAX);
	va_list ap;

	p->total++;
	if (p->n == PROBLEMS_MAX)
		return ST_INPUT;
	va_start(ap, fmt);
	(void)buf_vprintf(&text, fmt, ap);
	va_end(ap);
	p->v[p->n].line = line;
	p->v[p->n].text = buf_ok(&text) ? buf_detach(&text) : strdup("this mistake is too long to be shown");
	buf_free(&text);
	if (p->v[p->n].text != NULL)
		p->n++;
	return ST_INPUT;
}

/* By line; those of one line stay in the order in which they were found. */
static void sort_by_line(struct problems *p)
{
	for (size_t i = 1; i < p->n; i++) {
		struct problem moved = p->v[i];
		size_t j = i;

		for (; j > 0 && p->v[j - 1].line > moved.line; j--)
			p->v[j] = p->v[j - 1];
		p->v[j] = moved;
	}
}

int problems_print(struct problems *p, const char *file, struct buf *out)
{
	sort_by_line(p);
	for (size_t i = 0; i < p->n; i++) {
		(void)text_add_printable(out, file);
		if (p->v[i].line > 0)
			(void)buf_printf(out, ":%d", p->v[i].line);
		(void)buf_puts(out, ": ");
		(void)text_add_printable(out, p->v[i].text); /* it may quote the file, which may hold anything */
		(void)buf_putc(out, '\n');
	}
	if (p->total > p->n)
		(void)buf_printf(out, "%s: and %zu more\n", file, p->total - p->n);
	return buf_ok(out) ? 0 : ST_LIMIT;
}

int problems_result(struct problems *p, const char *file, struct err *err)
{
	const char *text = p->n > 0 ? p->v[0].text : "";
	int shown;

	if (p->total == 0)
		return 0;
	sort_by_line(p);
	if (p->n > 0)
		text = p->v[0].text;
	shown = (int)(strlen(text) < PROBLEM_SHORT_MAX ? strlen(text) : PROBLEM_SHORT_MAX);
	if (p->total == 1 && p->v[0].line == 0)
		return err_set(err, ST_INPUT, "'%s': %.*s", file, shown, text);
	if (p->total == 1)
		return err_set(err, ST_INPUT, "'%s' line %d: %.*s", file, p->v[0].line, shown, text);
	if (p->n > 0 && p->v[0].line > 0)
		return err_set(err, ST_INPUT, "%zu mistakes in '%s'; the first, line %d: %.*s", p->total, file, p->v[0].line, shown, text);
	return err_set(err, ST_INPUT, "%zu mistakes in '%s'; the first: %.*s", p->total, file, shown, text);
}
