/*
 * file.h - a migration file, parsed.
 *
 * Knows no database: names of tables and columns are checked when the migration is registered. Everything that can be
 * said about the text is said here, all mistakes at once. See docs/migration-file.md for the format.
 */
#ifndef DROVER_MIGRATION_FILE_H
#define DROVER_MIGRATION_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "migration/problems.h"

#define MIGRATION_FILE_MAX (1024 * 1024) /* bytes */
#define MIGRATION_NAME_MAX 100           /* bytes */
#define MIGRATION_KEYS_MAX 4             /* columns of a key */
#define MIGRATION_SETS_MAX 100
#define MIGRATION_STATEMENTS_MAX 200 /* of one section */

enum migration_mode { MIGRATION_BATCH, MIGRATION_ROW };

enum migration_section { SECTION_EXPAND, SECTION_BACKFILL, SECTION_VERIFY, SECTION_CONTRACT, SECTION_ROLLBACK, SECTION_NR };

/* A directive as it was given. */
struct migration_value {
	char *text; /* as it stands in the file; NULL: not given */
	int line;
};

struct migration_set {
	char *column; /* unquoted */
	char *expression;
	int line;
};

struct migration_statement {
	char *text; /* with its placeholders */
	int line;   /* of its first word */
};

struct migration_statements {
	struct migration_statement *v;
	size_t n;
	int line; /* of the section's mark; 0: the file has none */
};

struct migration_file {
	char *name;   /* base name without ".sql" */
	char *source; /* the whole text */
	struct migration_value table;
	char *table_schema; /* unquoted; NULL: by the search path */
	char *table_name;   /* unquoted */
	char *keys[MIGRATION_KEYS_MAX];
	size_t nr_keys; /* 0: the primary key */
	int key_line;
	struct migration_set *sets;
	size_t nr_sets;
	struct migration_value pending;
	struct migration_value where;
	struct migration_value handler; /* the procedure's name, schema-qualified or not, as written */
	bool ledger;
	int ledger_line;
	enum migration_mode mode;
	int mode_line; /* 0: not given */
	/* Settings of this migration, as `worker_config` has them; NULL text: not given. */
	struct migration_value batch_size;   /* rows */
	struct migration_value tries;        /* attempts */
	struct migration_value backoff;      /* "1,5,30" */
	struct migration_value timeout;      /* milliseconds, decimal */
	struct migration_value lock_timeout; /* milliseconds, decimal */
	struct migration_statements sections[SECTION_NR];
	struct plain_update *plain; /* what the section `backfill` amounts to; NULL: no `set` (plain.h) */
};

/**
 * Read and parse. @name: of the migration; NULL: as @path has it, which may not be "-" (standard input) then. ST_IO (no such file), ST_LIMIT (too large), ST_INPUT: mistakes, all in @problems and summed up in @err.
 * On success *@ret is the caller's to migration_file_free().
 */
MUST_CHECK int migration_file_read(const char *path, const char *name, struct migration_file **ret, struct problems *problems,
				   struct err *err);

/* The same for a text at hand; @path gives the name. */
MUST_CHECK int migration_file_parse(const char *path, const char *text, size_t len, struct migration_file **ret, struct problems *problems,
				    struct err *err);

void migration_file_free(struct migration_file *f); /* NULL is fine */

/* "backfill" and so on. */
const char *migration_section_name(enum migration_section s);
const char *migration_mode_name(enum migration_mode m);

#endif
