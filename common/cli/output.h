/*
 * output.h - one description of a result, two renderings: aligned text for people, JSON for programs.
 *
 *   static const struct out_column columns[] = {
 *	{ "id", "ID", .type = OUT_INT },
 *	{ "error", "ERROR", .type = OUT_STR, .clip = true },
 *	{ "failed_at", "FAILED", .type = OUT_TIME },
 *   };
 *   out_table(&out, columns, ARRAY_SIZE(columns));
 *   for each row:
 *	out_int(&out, id); out_text(&out, PQgetvalue(...)); out_null(&out);	(in the order of the columns)
 *   rc = out_end(&out, "no failed jobs", err);
 *
 * A row is written when its last cell is set. Memory stays flat however many rows come: text is laid out page by page (200 rows,
 * column widths from the page), JSON is written row by row. JSON keys never change; numbers are numbers, times ISO 8601, unknown is null.
 */
#ifndef DROVER_CLI_OUTPUT_H
#define DROVER_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

struct cli_call;

enum out_format {
	OUT_HUMAN,
	OUT_JSON,       /* a table is an array of objects, out_kv() one object */
	OUT_JSON_LINES, /* one object a line, without an array: for what never ends (--watch) */
};

enum out_type {
	OUT_STR,      /* left; JSON string */
	OUT_INT,      /* right, "12,345" for people; JSON number */
	OUT_ID,       /* right, plain digits; JSON number */
	OUT_NUM,      /* right; JSON number */
	OUT_BOOL,     /* "yes", "no"; JSON true, false */
	OUT_TIME,     /* ISO 8601; to the second for people */
	OUT_DURATION, /* milliseconds; "3m 20s"; JSON number of ms (name the key ..._ms) */
	OUT_BYTES,    /* bytes; "1.5 MB"; JSON number */
	OUT_RAW_JSON, /* a JSON text that becomes part of the output as it is */
};

enum out_style { OUT_PLAIN, OUT_BOLD, OUT_DIM, OUT_RED, OUT_GREEN, OUT_YELLOW };
enum out_where { OUT_BOTH, OUT_ONLY_JSON, OUT_ONLY_HUMAN };

struct out_column {
	const char *key;   /* in JSON; stable */
	const char *title; /* for people; NULL: the key */
	enum out_type type;
	bool clip;            /* the first to be narrowed when the terminal is too small; without any, the widest text */
	bool below;           /* prose: under its row where it would get too little room beside it, and wrapped at blanks */
	enum out_where where; /* cells are set all the same */
	enum out_style (*style)(const char *text); /* colour by value, NULL: plain */
};

#define OUT_COLUMNS_MAX 48
#define OUT_PAGE_ROWS 200

/* A text of the page that is being laid out. Private. */
struct out_cell {
	size_t offset;  /* into `page` */
	unsigned width; /* terminal columns */
	enum out_style style;
};

struct out {
	FILE *file; /* borrowed */
	enum out_format format;
	bool color;     /* escape sequences allowed */
	unsigned width; /* columns of the terminal; 0: none, nothing is clipped */
	/* private: the result being written */
	const struct out_column *columns;
	unsigned ncolumns;
	unsigned cell; /* the next one of the row */
	bool kv;
	bool header_done;
	uint64_t rows;
	struct buf line;        /* JSON of the row */
	struct buf page;        /* texts of the page, each with its NUL */
	struct out_cell *cells; /* OUT_PAGE_ROWS x ncolumns */
	unsigned page_rows;
	unsigned widths[OUT_COLUMNS_MAX]; /* of the pages so far: columns do not jump to the left */
	int rc;                           /* first failure */
};

/* By hand (tests), or as the call and the terminal want it: stdout, --json, --no-color. */
void out_init(struct out *o, FILE *file, enum out_format format, bool color, unsigned width);
void out_open(struct out *o, const struct cli_call *call);
void out_close(struct out *o);

/* Start a result; @columns are borrowed until out_end(). The next one may start after it. */
void out_table(struct out *o, const struct out_column *columns, unsigned n);
void out_kv(struct out *o, const struct out_column *columns, unsigned n); /* one row, as "title  value" lines or one object */

/* The next cell. Any may be used with any type that makes sense; they convert. */
void out_null(struct out *o);
void out_text(struct out *o, const char *s); /* NULL: null. PostgreSQL's text form for the column's type: numbers, t/f, timestamps */
void out_textf(struct out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
void out_int(struct out *o, int64_t v);
void out_uint(struct out *o, uint64_t v);
void out_num(struct out *o, double v); /* not finite: null */
void out_bool(struct out *o, bool v);
void out_time(struct out *o, int64_t wall_ms);
void out_json(struct out *o, const char *json); /* NULL: null. Must be valid, or it is written as a string */

/* Write what is left. @empty is printed for people when a table had no rows ("no failed jobs"), NULL: nothing. ST_IO, ST_NOMEM. */
MUST_CHECK int out_end(struct out *o, const char *empty, struct err *err);

/* A line for people alone: nothing with JSON. */
void out_note(struct out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Rows so far in this result. */
static inline uint64_t out_rows(const struct out *o)
{
	return o->rows;
}

/* ------------------------------------------------------------ the terminal */

unsigned cli_terminal_width(FILE *f);                       /* 0: not a terminal */
bool cli_use_color(const struct cli_call *call, FILE *f);   /* terminal, TERM not dumb, no NO_COLOR, no --no-color; @call may be NULL */
const char *out_style_on(enum out_style style, bool color); /* escape sequence, or "" */
const char *out_style_off(enum out_style style, bool color);

#endif
