/*
 * log.h - log lines for machines and people: one event name, then key=value pairs.
 *
 *   log_warn("job.retry", "job=%s attempt=%u delay_ms=%" PRIu64 " cause='%s'", ...);
 *
 * The event name is constant and unique in the source, so that a line leads
 * to its place. Keys stand in the format, values are what the conversions bring: the logger reads the
 * format itself, so a value can never look like another key. It puts values with blanks in single quotes, and makes
 * quotes and control bytes inside them harmless, so `cause=%s` and `cause='%s'` print the same. Words without
 * a key become `msg`. Conversions: d i u x X o c s p f e g with the usual flags, width, precision and lengths.
 *
 * Lines go to stderr, as `time level event key=value ...` or, with LOG_JSON, as one JSON object (numeric
 * conversions as numbers). A line is one write(), from any thread; the set-up is done before threads start.
 */
#ifndef DROVER_CORE_LOG_H
#define DROVER_CORE_LOG_H

#include "core/util.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_KV, LOG_JSON };

#define LOG_LINE_MAX 4096 /* bytes with the newline: what a pipe takes in one piece; longer values are cut */

/* For option tables: the names of the levels and formats in the order of the enums, NULL at the end. */
extern const char *const log_level_names[];
extern const char *const log_format_names[];

void log_setup(enum log_level min, enum log_format format); /* before: LOG_INFO, LOG_KV */
/* By name ("warn", "json"), as options give them; an unknown name changes nothing. */
void log_setup_named(const char *level, const char *format);

/* Where lines go instead of stderr (tests); NULL: back to stderr. @line has no newline. */
void log_redirect(void (*sink)(void *arg, const char *line), void *arg);

void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(event, ...) log_write(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)

#endif
