/* Rows and pages: what has been set becomes text or JSON. The values themselves: output_value.c. */
#include "cli/output.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_private.h"
#include "cli/output_private.h"
#include "core/text.h"

#define PAGE_FLUSH (1u << 20) /* bytes of text after which a page is written early */
#define PAGE_MAX (64u << 20)  /* one row can be larger than that, but not than this */
#define GAP 2                 /* blanks between columns */
#define NARROWEST 8           /* columns that clipping leaves */
#define BELOW_UNDER 30        /* prose that would get fewer columns goes below its row */
#define BELOW_INDENT 4

void out_init(struct out *o, FILE *file, enum out_format format, bool color, unsigned width)
{
	*o = (struct out){ .file = file, .format = format, .color = color, .width = width };
	buf_init(&o->line, PAGE_MAX);
	buf_init(&o->page, PAGE_MAX);
}

void out_open(struct out *o, const struct cli_call *call)
{
	bool json = cli_has(call, "--json") && cli_flag(call, "--json");

	out_init(o, stdout, json ? OUT_JSON : OUT_HUMAN, cli_use_color(call, stdout), cli_terminal_width(stdout));
}

void out_close(struct out *o)
{
	buf_free(&o->line);
	buf_free(&o->page);
	free(o->cells);
	o->cells = NULL;
}

static void start(struct out *o, const struct out_column *columns, unsigned n, bool kv)
{
	assert(n > 0 && n <= OUT_COLUMNS_MAX && o->columns == NULL);
	o->columns = columns;
	o->ncolumns = n;
	o->cell = 0;
	o->kv = kv;
	o->header_done = false;
	o->rows = 0;
	o->page_rows = 0;
	o->rc = 0;
	memset(o->widths, 0, sizeof(o->widths));
	buf_reset(&o->line);
	buf_reset(&o->page);
	if (o->format != OUT_HUMAN)
		return;
	o->cells = calloc((size_t)OUT_PAGE_ROWS * n, sizeof(*o->cells));
	if (o->cells == NULL)
		o->rc = ST_NOMEM;
}

void out_table(struct out *o, const struct out_column *columns, unsigned n)
{
	start(o, columns, n, false);
}

void out_kv(struct out *o, const struct out_column *columns, unsigned n)
{
	start(o, columns, n, true);
}

/* ------------------------------------------------------------ text */

static const char *title_of(const struct out_column *c)
{
	return c->title != NULL ? c->title : c->key;
}

static bool is_right(const struct out_column *c)
{
	return c->type == OUT_INT || c->type == OUT_ID || c->type == OUT_NUM || c->type == OUT_DURATION || c->type == OUT_BYTES;
}

static bool is_shown(const struct out_column *c)
{
	return c->where != OUT_ONLY_JSON;
}

/* The column that has to go below the rows, or ncolumns. */
static unsigned column_below(const struct out *o, const unsigned *widths)
{
	unsigned others = 0, below = o->ncolumns;

	for (unsigned i = 0; i < o->ncolumns; i++) {
		if (is_shown(&o->columns[i]) && o->columns[i].below)
			below = i;
		else if (is_shown(&o->columns[i]))
			others += widths[i] + GAP;
	}
	if (below == o->ncolumns || o->width == 0 || others + widths[below] <= o->width || others + BELOW_UNDER <= o->width)
		return o->ncolumns;
	return below;
}

/* Narrow the widest column that may be, one step after the other, until the line fits or nothing can give. */
static void fit(const struct out *o, unsigned *widths, unsigned last, unsigned below)
{
	unsigned total = 0;

	for (unsigned i = 0; i < o->ncolumns; i++)
		if (is_shown(&o->columns[i]) && i != below)
			total += widths[i] + (i != last ? GAP : 0);
	for (int pass = 0; pass < 2 && o->width > 0; pass++) {
		while (total > o->width) {
			unsigned widest = o->ncolumns;

			for (unsigned i = 0; i < o->ncolumns; i++) {
				const struct out_column *c = &o->columns[i];
				bool may = i == below ? false :
					   pass == 0  ? c->clip || c->below :
							c->type == OUT_STR || c->type == OUT_RAW_JSON;

				if (may && is_shown(c) && widths[i] > NARROWEST && (widest == o->ncolumns || widths[i] >= widths[widest]))
					widest = i;
			}
			if (widest == o->ncolumns)
				break;
			widths[widest]--;
			total--;
		}
	}
}

static void add_cell(struct buf *out, const struct out *o, const char *text, enum out_style style, unsigned width, bool right, bool last)
{
	CLEANUP(buf_free) struct buf clipped = BUF_INIT(PAGE_MAX);
	unsigned used = (unsigned)text_add_clipped(&clipped, text, width);
	unsigned padding = width > used ? width - used : 0;

	if (right)
		buf_printf(out, "%*s", (int)padding, "");
	buf_printf(out, "%s%s%s", out_style_on(style, o->color), clipped.data, out_style_off(style, o->color));
	if (last)
		buf_putc(out, '\n');
	else
		buf_printf(out, "%*s", (int)((right ? 0 : padding) + GAP), "");
}

static void write_buf(struct out *o, const struct buf *b)
{
	if (!buf_ok(b))
		o->rc = o->rc != 0 ? o->rc : ST_NOMEM;
	else if (b->len > 0 && fwrite(b->data, 1, b->len, o->file) != b->len)
		o->rc = o->rc != 0 ? o->rc : ST_IO;
}

static unsigned last_shown(const struct out *o, unsigned below)
{
	unsigned last = 0;

	for (unsigned i = 0; i < o->ncolumns; i++)
		if (is_shown(&o->columns[i]) && i != below)
			last = i;
	return last;
}

static void add_below(struct buf *out, const struct out *o, const struct out_cell *c)
{
	const char *text = o->page.data + c->offset;

	if (strcmp(text, "-") == 0)
		return;
	buf_puts(out, out_style_on(c->style, o->color));
	text_add_wrapped(out, text, BELOW_INDENT, o->width);
	buf_printf(out, "%s\n", out_style_off(c->style, o->color));
}

static void write_page(struct out *o)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(PAGE_MAX);
	unsigned widths[OUT_COLUMNS_MAX];
	unsigned last, below;

	for (unsigned i = 0; i < o->ncolumns; i++) {
		unsigned title = (unsigned)text_display_width(title_of(&o->columns[i]));

		if (o->widths[i] < title)
			o->widths[i] = title;
		for (unsigned r = 0; r < o->page_rows; r++)
			if (o->cells[r * o->ncolumns + i].width > o->widths[i])
				o->widths[i] = o->cells[r * o->ncolumns + i].width;
	}
	memcpy(widths, o->widths, sizeof(widths));
	below = column_below(o, widths);
	last = last_shown(o, below);
	fit(o, widths, last, below);
	for (unsigned i = 0; i < o->ncolumns && !o->header_done; i++)
		if (is_shown(&o->columns[i]) && i != below)
			add_cell(&line, o, title_of(&o->columns[i]), OUT_BOLD, widths[i], is_right(&o->columns[i]), i == last);
	o->header_done = true;
	for (unsigned r = 0; r < o->page_rows; r++) {
		for (unsigned i = 0; i < o->ncolumns; i++) {
			const struct out_cell *c = &o->cells[r * o->ncolumns + i];

			if (is_shown(&o->columns[i]) && i != below)
				add_cell(&line, o, o->page.data + c->offset, c->style, widths[i], is_right(&o->columns[i]), i == last);
		}
		if (below < o->ncolumns)
			add_below(&line, o, &o->cells[r * o->ncolumns + below]);
		write_buf(o, &line);
		buf_reset(&line);
	}
	o->page_rows = 0;
	buf_reset(&o->page);
}

/* A value behind @indent columns; its further lines stand under its first. */
static void add_value(struct buf *out, const struct out *o, const struct out_column *column, const char *text, unsigned indent)
{
	CLEANUP(buf_free) struct buf wrapped = BUF_INIT(PAGE_MAX);

	if (column->below && o->width >= indent + BELOW_UNDER) {
		text_add_wrapped(&wrapped, text, indent, o->width);
		buf_puts(out, wrapped.len > indent ? wrapped.data + indent : "");
		return;
	}
	for (; *text != '\0'; text++) {
		buf_putc(out, *text);
		if (*text == '\n')
			buf_printf(out, "%*s", (int)indent, "");
	}
}

/* "title  value" */
static void write_kv(struct out *o)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(PAGE_MAX);
	unsigned width = 0;

	for (unsigned i = 0; i < o->ncolumns; i++)
		if (is_shown(&o->columns[i]) && text_display_width(title_of(&o->columns[i])) > width)
			width = (unsigned)text_display_width(title_of(&o->columns[i]));
	for (unsigned i = 0; i < o->ncolumns; i++) {
		const struct out_cell *c = &o->cells[i];
		const char *text = o->page.data + c->offset;

		if (!is_shown(&o->columns[i]))
			continue;
		add_cell(&line, o, title_of(&o->columns[i]), OUT_BOLD, width, false, false);
		buf_puts(&line, out_style_on(c->style, o->color));
		add_value(&line, o, &o->columns[i], text, width + GAP);
		buf_printf(&line, "%s\n", out_style_off(c->style, o->color));
	}
	write_buf(o, &line);
	o->page_rows = 0;
	buf_reset(&o->page);
}

/* ------------------------------------------------------------ rows */

static void end_row(struct out *o)
{
	const char *before = o->kv || o->format == OUT_JSON_LINES ? "" : o->rows == 0 ? "[\n" : ",\n";

	o->cell = 0;
	o->rows++;
	if (o->format == OUT_HUMAN) {
		o->page_rows++;
		if (o->rc != 0)
			o->page_rows = 0;
		else if (o->kv)
			write_kv(o);
		else if (o->page_rows == OUT_PAGE_ROWS || o->page.len > PAGE_FLUSH)
			write_page(o);
		return;
	}
	buf_putc(&o->line, '}');
	if (o->kv || o->format == OUT_JSON_LINES)
		buf_putc(&o->line, '\n');
	if (o->rc == 0 && fputs(before, o->file) == EOF)
		o->rc = ST_IO;
	if (o->rc == 0)
		write_buf(o, &o->line);
	buf_reset(&o->line);
}

static void put_text(struct out *o, const struct out_column *c, const char *text, enum out_style style)
{
	struct out_cell *cell;

	if (o->rc != 0 || !is_shown(c))
		return;
	cell = &o->cells[o->page_rows * o->ncolumns + o->cell];
	cell->offset = o->page.len;
	cell->style = style;
	if (o->kv)
		out_add_lines(&o->page, text);
	else
		text_add_printable(&o->page, text);
	buf_putc(&o->page, '\0');
	if (!buf_ok(&o->page)) {
		o->rc = ST_LIMIT;
		o->page_rows = 0;
		return;
	}
	cell->width = (unsigned)text_display_width(o->page.data + cell->offset);
}

void out_put(struct out *o, const char *json, const char *human)
{
	const struct out_column *c;
	enum out_style style = OUT_DIM;

	assert(o->columns != NULL);
	c = &o->columns[o->cell];
	if (o->format == OUT_HUMAN) {
		if (human != NULL)
			style = c->style != NULL ? c->style(human) : OUT_PLAIN;
		put_text(o, c, human != NULL ? human : "-", style);
	} else if (c->where != OUT_ONLY_HUMAN) {
		buf_putc(&o->line, o->line.len == 0 ? '{' : ',');
		text_add_json(&o->line, c->key);
		buf_putc(&o->line, ':');
		buf_puts(&o->line, json);
	} else if (o->line.len == 0 && o->cell + 1 == o->ncolumns) {
		buf_putc(&o->line, '{');
	}
	if (++o->cell == o->ncolumns)
		end_row(o);
}

static void end_table(struct out *o, const char *empty)
{
	if (o->format == OUT_JSON) {
		if (fputs(o->rows == 0 ? "[]\n" : "\n]\n", o->file) == EOF)
			o->rc = ST_IO;
	} else if (o->format == OUT_HUMAN) {
		if (o->page_rows > 0)
			write_page(o);
		if (o->rows == 0 && empty != NULL)
			out_note(o, "%s", empty);
	}
}

int out_end(struct out *o, const char *empty, struct err *err)
{
	assert(o->columns != NULL && o->cell == 0);
	if (!o->kv && o->rc == 0)
		end_table(o, empty);
	free(o->cells);
	o->cells = NULL;
	o->columns = NULL;
	if (o->rc == 0 && fflush(o->file) != 0)
		o->rc = ST_IO;
	if (o->rc == ST_IO)
		return err_set(err, o->rc, "cannot write the output: %s", strerror(errno));
	if (o->rc == ST_LIMIT)
		return err_set(err, o->rc, "a row is too large to be shown");
	return o->rc == 0 ? 0 : err_set(err, o->rc, "out of memory");
}

void out_note(struct out *o, const char *fmt, ...)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(PAGE_MAX);
	CLEANUP(buf_free) struct buf wrapped = BUF_INIT(PAGE_MAX);
	va_list ap;

	if (o->format != OUT_HUMAN)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (o->width > 0)
		text_add_wrapped(&wrapped, text.data, 0, o->width);
	fprintf(o->file, "%s\n", o->width > 0 ? wrapped.data : text.data);
}
