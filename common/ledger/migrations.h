/*
 * migrations.h - reads and moves of drover.migrations and its neighbours (workers, worker_config, events) for the console. Blocking.
 *
 * Results that are shown row by row stay PGresults of the caller (PQclear); their columns are those of the query files named.
 * All functions: ST_SQL, ST_DISCONNECTED, ST_TIMEOUT, ST_INTERRUPTED as they come.
 */
#ifndef DROVER_LEDGER_MIGRATIONS_H
#define DROVER_LEDGER_MIGRATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "core/err.h"
#include "core/util.h"

struct pg_sync;
struct settings;

#define MIGRATION_REF_NAME_MAX 200 /* bytes */

struct migration_ref {
	int id;
	int revision;
	bool ledger_only;
	bool row_mode;
	int batch_size; /* as it was registered; a setting for the migration beats it */
	char state[16]; /* running, paused, cancelled, complete, limited */
	char name[MIGRATION_REF_NAME_MAX + 1];
};

/* By name, or by the name of its file (a path, with ".sql"). ST_NOT_FOUND, naming the nearest. */
MUST_CHECK int migrations_find(struct pg_sync *c, const char *name, struct migration_ref *ret, struct err *err);

struct migrations_actor {
	const char *name; /* for the audit trail */
	bool is_program;  /* a pause of its own is one that nobody asked for */
};

/**
 * Change a migration's state if it is in one of @from, an array literal, with an event. @reason may be NULL. *@ret_moved (may be NULL): whether
 * it was in one of them.
 */
MUST_CHECK int migrations_move(struct pg_sync *c, int id, const char *from, const char *to, const struct migrations_actor *actor,
			       const char *reason, bool *ret_moved, struct err *err);

/**
 * Moves of an operator. @reason may be NULL. Each is an event in the audit trail.
 * ST_REFUSED if the state does not allow it, saying which state it is in and what to do; pausing what is paused is done already: 0.
 * What is complete may be paused too: to amend it, since a replay alone does not mend a migration that is wrong.
 */
MUST_CHECK int migrations_pause(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *reason, struct err *err);
MUST_CHECK int migrations_resume(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *reason, struct err *err);
MUST_CHECK int migrations_cancel(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *reason, struct err *err);

/* One row per migration (@id 0: all), see sql/queries/status.sql. */
MUST_CHECK int migrations_status(struct pg_sync *c, int id, PGresult **ret, struct err *err);

/* Names of all migrations, oldest first: column name. */
MUST_CHECK int migrations_names(struct pg_sync *c, PGresult **ret, struct err *err);

/* Workers, see sql/queries/workers.sql; alive: heard of within 15 s. */
MUST_CHECK int migrations_workers(struct pg_sync *c, PGresult **ret, struct err *err);

/* Ask workers to drain and exit; @name NULL: all that are alive. *@ret_n workers were asked. ST_NOT_FOUND for a name that is not there. */
MUST_CHECK int migrations_restart(struct pg_sync *c, const char *name, const char *actor, int *ret_n, struct err *err);

/* The settings in force (@id 0: those for all). */
MUST_CHECK int migrations_settings(struct pg_sync *c, int id, struct settings *ret, struct err *err);

/* Where each setting comes from, see sql/queries/config_all.sql. */
MUST_CHECK int migrations_settings_origin(struct pg_sync *c, int id, PGresult **ret, struct err *err);

/* Set (@value) or unset (NULL) a setting; @m NULL: for all. The value has been checked by the caller. With an event. */
MUST_CHECK int migrations_configure(struct pg_sync *c, const struct migration_ref *m, const char *key, const char *value, const char *actor,
				    struct err *err);

/* Add to the audit trail. @m NULL: of no migration. */
MUST_CHECK int migrations_event(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *action, const char *detail,
				struct err *err);

/* The audit trail, newest first, at most @limit below id @before (0: from the newest). */
MUST_CHECK int migrations_events(struct pg_sync *c, int id, int64_t before, int limit, PGresult **ret, struct err *err);

#endif
