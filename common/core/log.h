/*
 * log.h - log lines for machines and people: one event name, then key=value pairs.
 *
 *   log_warn("job.retry", "job=%s attempt=%u delay_ms=%" PRIu64 " cause='%s'", ...);
 *
 * The event name is constant and unique in the source, so that a line leads
 * to its place. Values with spaces are put in single quotes by the caller;
 * quotes and control bytes inside are made harmless by the logger. Lines go to
 * stderr, as `time level event key=value ...` or, with LOG_JSON, as one
 * JSON object. Call from one thread at a time or not: a line is one write().
 */
#ifndef DROVER_CORE_LOG_H
#define DROVER_CORE_LOG_H

#include "core/util.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_KV, LOG_JSON };

void log_setup(enum log_level min, enum log_format format);

/* Where lines go instead of stderr (tests); NULL: back to stderr. @line has no newline. */
void log_redirect(void (*sink)(void *arg, const char *line), void *arg);

void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(event, ...) log_write(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)

#endif
