/*
 * schema.h - installs, upgrades and recognises the schema `drover` of a database.
 *
 * The schema's files are embedded and numbered; its version is kept in drover.meta. An installation is bound to the server's system
 * identifier and the database's oid, so that a copy of the database does not eat the original's jobs in Redis.
 */
#ifndef DROVER_LEDGER_SCHEMA_H
#define DROVER_LEDGER_SCHEMA_H

#include <stdbool.h>

#include "core/err.h"
#include "core/util.h"

struct pg_sync;

#define SCHEMA_INSTALLATION_LEN 12 /* hex digits */

/* Why it cannot be worked with. */
enum schema_trouble { SCHEMA_FINE, SCHEMA_MISSING, SCHEMA_OLDER, SCHEMA_NEWER, SCHEMA_COPY, SCHEMA_DENIED, SCHEMA_DAMAGED };

struct schema_info {
	int version;
	char installation[SCHEMA_INSTALLATION_LEN + 1]; /* names this installation's keys in Redis */
	bool installed;                                 /* by this very call */
	enum schema_trouble trouble;                    /* set by schema_check() alone, also where it fails */
	int upgraded_from;                              /* version before this call; 0: none, or not upgraded */
};

/* The version that this program brings along and needs. */
int schema_program_version(void);

/**
 * What every command does first: look at the schema; install it if there is none, upgrade it if it is older, both only if the role may.
 * Two that start at once do it once. One query if all is well. Not within a transaction of the caller's.
 *
 * ST_REFUSED  the schema is newer than the program; the database is a copy (`drover init --rekey`); or the role may not install
 *             or upgrade or read it, with what to grant.
 * ST_SQL, ST_DISCONNECTED, ST_TIMEOUT, ST_INTERRUPTED as they come.
 */
MUST_CHECK int schema_open(struct pg_sync *c, struct schema_info *ret, struct err *err);

/* The same without changing anything: ST_NOT_FOUND if there is no schema, ST_REFUSED if it is of another version, or as above. */
MUST_CHECK int schema_check(struct pg_sync *c, struct schema_info *ret, struct err *err);

/**
 * Make a copy an installation of its own: a new id, bound to this server and database. Workers and producers known from the original are
 * forgotten; jobs that were queued there are pushed again here. Also right after pg_upgrade, which changes the system identifier.
 */
MUST_CHECK int schema_rekey(struct pg_sync *c, const char *actor, struct schema_info *ret, struct err *err);

struct schema_roles {
	const char *worker;   /* NULL: leave out */
	const char *producer; /* registers, scans, controls, replays */
	const char *reader;   /* status, failed, events */
};

/* Grant each role what sql/grants.sql says, idempotently. The roles must exist: ST_NOT_FOUND. */
MUST_CHECK int schema_grant(struct pg_sync *c, const struct schema_roles *roles, struct err *err);

#endif
