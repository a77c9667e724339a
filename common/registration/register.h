/*
 * register.h - put a migration file into the ledger: look at the table, check everything by the real server, keep the plan.
 *
 * A folder of its own, since it needs the SQL parser, which the worker does without. Blocking; each call is one transaction,
 * rolled back on any mistake, so that a refused file changes nothing.
 */
#ifndef DROVER_REGISTRATION_REGISTER_H
#define DROVER_REGISTRATION_REGISTER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "migration/file.h"
#include "migration/problems.h"
#include "pg/pg_sync.h"

struct register_options {
	const char *actor;      /* who does it, for the audit trail; required */
	const char *mode;       /* "batch" or "row": in the place of the file's; NULL: as the file says */
	int batch_size;         /* in the place of the file's; 0: as the file says */
	int64_t row_limit;      /* of --limit; 0: all */
	int default_batch_size; /* where neither says; 0: 1000 */
};

struct registration {
	int id;
	int revision;
	enum migration_mode mode;
	int batch_size;
	bool ledger_only;
	bool created;           /* false: it was there with the same checksum, and is resumed as it was registered */
	char state[16];         /* running, paused, cancelled, complete or limited */
	int64_t estimated_rows; /* from pg_class */
	char name[MIGRATION_NAME_MAX + 1];
	char table[300]; /* qualified and quoted; cut if longer */
};

/**
 * Register @f, or find it registered. A changed file under a registered name is ST_REFUSED.
 *
 * ST_INPUT: mistakes that only the server could see (no such table or column, wrong types, a key that will not do, no rights),
 * all in @problems and summed up in @err. Else what pg_exec() returns.
 */
MUST_CHECK int register_migration(struct pg_sync *c, const struct migration_file *f, const struct register_options *o,
				  struct registration *ret, struct problems *problems, struct err *err);

/**
 * Put a mended file in the place of the migration @name's, as a new revision on the same ledger. Waits until the last job has left.
 * ST_NOT_FOUND; ST_REFUSED unless the migration is paused and table, key, mode and ledger are as they were; else as above.
 */
MUST_CHECK int register_amend(struct pg_sync *c, const char *name, const struct migration_file *f, const struct register_options *o,
			      struct registration *ret, struct problems *problems, struct err *err);

#endif
