/*
 * filter.h - which dead letters a command is about: ids, ranges of ids, and filters, as given on the command line.
 */
#ifndef DROVER_PRODUCER_FILTER_H
#define DROVER_PRODUCER_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "core/err.h"
#include "core/util.h"
#include "ledger/failed.h"

struct console;

#define FILTER_RANGES_MAX 10000 /* ids and ranges on one command line */

struct filter {
	struct failed_filter failed; /* borrows from here and from the call */
	struct failed_range *ranges; /* owned */
	bool all;                    /* the word `all` was given */
};

/* The options that these commands share; each takes those that it has in its table. */
/* clang-format off */
#define FILTER_OPTION_MIGRATION { "--migration", .arg = "NAME", .complete = "migrations", .help = "only those of this migration" }
#define FILTER_OPTION_ERROR { "--error", .arg = "CODE", \
	.help = "only this kind: an SQLSTATE (23505) or its class (23), a constraint, a kind as --group prints it, or a part of the message" }
#define FILTER_OPTION_SINCE { "--since", .arg = "TIME", \
	.help = "only those whose last failure was since then: how long ago (90s, 2h, 3d), or a date and time" }
#define FILTER_OPTION_RANGE { "--range", .arg = "A-B", .repeatable = true, .help = "only ids from A to B" }
/* clang-format on */

/**
 * Read what the call says: options by the names above, and the words in @args ("7", "10-20", "all"). A migration is looked up.
 * ST_USAGE, ST_NOT_FOUND and the errors of a query. To be closed, on failure too.
 */
MUST_CHECK int filter_open(struct filter *f, struct console *con, const struct cli_call *call, char *const *args, struct err *err);
void filter_close(struct filter *f);

/* Does it restrict by ids or in any other way? */
bool filter_is_open(const struct filter *f);

/* "7" or "10-20" -> a range. ST_USAGE saying what was expected. */
MUST_CHECK int filter_parse_range(const char *text, struct failed_range *ret, struct err *err);

/* Append what was asked for, for the audit trail: "ids 7, 10-20; error 23505". */
int filter_describe(const struct filter *f, const struct cli_call *call, struct buf *out);

#endif
