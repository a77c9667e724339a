/*
 * text.h - strict reading and friendly writing of values.
 *
 * Reading: the whole string must be the value (no blanks around it, no rest), or it is ST_INPUT with a message that
 * says what was expected, to be put behind a name with err_wrap(err, "--batch-size"). `ret_*` is untouched on failure.
 * Writing: short texts are returned by value, so that they can stand in a call:
 *
 *   printf("%s rows in %s\n", text_human_rows(n).s, text_human_duration(ms).s);
 */
#ifndef DROVER_CORE_TEXT_H
#define DROVER_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"

/* ------------------------------------------------------------ reading */

/* Decimal digits only; a minus for i64. Both bounds are included. */
MUST_CHECK int text_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret, struct err *err);
MUST_CHECK int text_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret, struct err *err);

/* "200ms", "5s", "1.5m", "2h", "1d"; a plain number means seconds ("0.2"). Anything finer than 1 ms is refused. */
MUST_CHECK int text_parse_duration_ms(const char *s, uint64_t *ret_ms, struct err *err);

/* "512", "64kB", "16MB", "1GB", "2TB"; 1 kB is 1024 bytes, as in PostgreSQL. Case and the "B" do not matter; "KiB" works too. */
MUST_CHECK int text_parse_bytes(const char *s, uint64_t *ret_bytes, struct err *err);

/* "100/s", "100" (per second), "600/m", "5/h". Greater than 0. */
MUST_CHECK int text_parse_rate(const char *s, double *ret_per_s, struct err *err);

/* "20%", "20", "0.5%": 0 to 100. */
MUST_CHECK int text_parse_percent(const char *s, double *ret_percent, struct err *err);

/* true, yes, on, 1; false, no, off, 0; in any case. */
MUST_CHECK int text_parse_bool(const char *s, bool *ret, struct err *err);

/**
 * Split "1,5,30" at @sep into @list (initialised by the caller, appended to). Blanks around an item are dropped;
 * an empty item is ST_INPUT, an empty string is an empty list. More items than the list's ceiling: ST_LIMIT.
 */
MUST_CHECK int text_split(const char *s, char sep, struct strvec *list, struct err *err);

/* "1,5,30" or "500ms,5s,1m" into an array of at most @cap; at least one. */
MUST_CHECK int text_parse_duration_list_ms(const char *s, uint64_t *ret_ms, size_t cap, size_t *ret_n, struct err *err);

/**
 * The candidate that @word was probably meant to be, or NULL: fewest edits (insert, delete, change, swap of
 * neighbours), at most a third of the word's length. @candidates ends with NULL. The result is the candidate itself.
 */
const char *text_nearest(const char *word, const char *const *candidates);

/* Is the string one of the NULL-terminated list? */
bool text_one_of(const char *s, const char *const *list);

/* ------------------------------------------------------------ writing */

struct text_short {
	char s[64]; /* two numbers and a word between them */
};

struct text_short text_human_rows(uint64_t n);             /* 12345 -> "12,345" */
struct text_short text_human_duration(uint64_t ms);        /* "85ms", "3.2s", "3m 20s", "2h 5m", "4d 3h" */
struct text_short text_human_guess(uint64_t ms);           /* one unit: "95s", "40m", "7h", "3d" */
struct text_short text_human_bytes(uint64_t bytes);        /* "512 B", "1.5 kB", "20 MB" */
struct text_short text_human_rate(double per_s);           /* "1,234/s", "3.5/s" */
struct text_short text_human_percent(double share_0_to_1); /* "43%"; never "100%" before it is, nor "0%" after a start */

/* What makes a noun one of @n: "s", unless it is one. */
static inline const char *text_s(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Wall-clock milliseconds since 1970 -> "2024-05-01T12:00:00.123Z". */
struct text_short text_iso8601(int64_t wall_ms);

/* ------------------------------------------------------------ terminal columns */

/* Well-formed UTF-8: no overlong forms, surrogates, or anything above U+10FFFF. NUL bytes are fine. */
bool text_utf8_valid(const char *s, size_t n);

/* Columns that a terminal gives the string: 2 for East Asian wide and emoji, 0 for combining marks. A broken byte counts 1. */
size_t text_display_width(const char *s);

/**
 * Append @s so that it can do no harm on a terminal or in one line: newline, tab and other control characters (C1 and
 * direction overrides too) become visible escapes ("\n", "\x1b", "\u202e"), a broken byte becomes U+FFFD.
 */
int text_add_printable(struct buf *out, const char *s);

/* Append @s as a JSON string with its quotes; broken UTF-8 becomes U+FFFD, what would do harm on a terminal is escaped. NULL is null. */
int text_add_json(struct buf *out, const char *s);

/* Append @json, which is valid JSON, in one line and with what would do harm on a terminal escaped: it reads the same. */
int text_add_json_line(struct buf *out, const char *json);

/* Can the text stand in JSON as a number? ("-1.5e3", but not "007", "+1", "NaN") */
bool text_is_json_number(const char *s);

/* Append @s, cut to @columns; what was cut is marked by an ellipsis in the last column. Expects printable text. Returns columns used. */
size_t text_add_clipped(struct buf *out, const char *s, size_t columns);

/* Append @text wrapped at blanks to lines of @width columns, each after @indent blanks; "\n" in it stays a line end. */
int text_add_wrapped(struct buf *out, const char *text, size_t indent, size_t width);

#endif
