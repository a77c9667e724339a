/*
 * plain.h - a backfill section that is one plain UPDATE of the table by its key, and so amounts to a `set`.
 *
 *   UPDATE accounts a SET total = a.price * a.n FROM :batch b WHERE a.id = b.id;
 *   UPDATE accounts SET total = price * n WHERE id = ANY (:keys);
 *
 * Both do what "-- drover: set total = price * n" does. Knows no database: whether the table is the migration's and the columns
 * are its key is for others to compare.
 */
#ifndef DROVER_MIGRATION_PLAIN_H
#define DROVER_MIGRATION_PLAIN_H

#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"
#include "migration/file.h"

struct plain_update {
	char *schema; /* of the table that is updated, unquoted; NULL: by the search path */
	char *table;  /* unquoted */
	struct strvec keys;
	struct migration_set *sets; /* expressions over the one row, columns qualified by the table's name; the statement's line */
	size_t nr_sets;
};

/* *@ret: NULL if the section is anything else; plain_free() it. ST_NOMEM. */
MUST_CHECK int plain_read(const struct migration_statements *section, struct plain_update **ret, struct err *err);
void plain_free(struct plain_update *u); /* NULL is fine */

#endif
