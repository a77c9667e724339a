/*
 * moment.h - does an SQL text mean something else each time that it is parsed?
 *
 * PostgreSQL reads the constants 'now', 'today', 'tomorrow' and 'yesterday' as the moment at which it parses them. What may be one of them must
 * not be prepared (decision 0025).
 */
#ifndef DROVER_MIGRATION_MOMENT_H
#define DROVER_MIGRATION_MOMENT_H

#include <stdbool.h>

#include <jansson.h>

/*
 * Has @sql a constant in which such a word stands, in any case and surrounding, or that may spell one: with a backslash, or over several lines?
 * Comments, names and calls of now() have none. What cannot be scanned has one.
 */
bool moment_in(const char *sql);

/* Has one of the texts anywhere in @value? */
bool moment_in_any(json_t *value);

#endif
