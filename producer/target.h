/*
 * target.h - what `produce` and `run` are told to work on: a migration file, or the name of a migration that is registered.
 */
#ifndef DROVER_PRODUCER_TARGET_H
#define DROVER_PRODUCER_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "producer/console.h"

struct migration_file;
struct problems;

struct target {
	struct migration_file *file; /* NULL: a name */
	const char *arg;             /* as it was given; borrowed */
	/* filled by target_register() */
	int id;
	bool created;
	bool row_mode, ledger_only;
	char name[256];
	char state[16];
};

/* Read the file, before any server is asked. Mistakes in it are printed, all of them, and summed up in @err. */
MUST_CHECK int target_read(struct target *t, const struct cli_call *call, const char *arg, struct err *err);

/* Register it, or find it registered. Options --mode, --batch-size and --limit of the call are honoured. */
MUST_CHECK int target_register(struct target *t, struct console *con, const struct cli_call *call, struct err *err);

/* All mistakes of @file on stderr, each with its line, before the error that sums them up; nothing with --json. */
void target_print_problems(const struct cli_call *call, struct problems *p, const char *file, struct err *err);

void target_close(struct target *t);

#endif
