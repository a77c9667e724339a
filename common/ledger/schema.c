#include "ledger/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/failpoint.h"
#include "pg/pg_sync.h"
#include "sql.h"

#define VERSION_HIDDEN (-1)    /* this role may not read it */
#define GRANTS_MAX (64 * 1024) /* bytes of a role's statements */

int schema_program_version(void)
{
	int version = 0;

	for (const struct sql_schema_file *f = sql_schema; f->text != NULL; f++)
		version = f->version;
	return version;
}

/* ------------------------------------------------------------ looking */

static bool is_sqlstate(const struct err *err, const char *sqlstate)
{
	return err->code == ST_SQL && strcmp(err->sqlstate, sqlstate) == 0;
}

/* The role and the database, for messages; empty if even that cannot be asked. */
struct whereabouts {
	bool has_schema, has_meta, may_create_schema, may_create_in_schema, is_owner;
	char role[128], database[128];
};

static int look_around(struct pg_sync *c, struct whereabouts *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = pg_exec(c, SQL_SCHEMA_LOOK, 0, NULL, &res, err);

	if (rc != 0)
		return rc;
	ret->has_schema = pg_bool(res, 0, "has_schema");
	ret->has_meta = pg_bool(res, 0, "has_meta");
	ret->may_create_schema = pg_bool(res, 0, "may_create_schema");
	ret->may_create_in_schema = pg_bool(res, 0, "may_create_in_schema");
	ret->is_owner = pg_bool(res, 0, "is_owner");
	snprintf(ret->role, sizeof(ret->role), "%s", pg_str(res, 0, "role"));
	snprintf(ret->database, sizeof(ret->database), "%s", pg_str(res, 0, "database"));
	return 0;
}

/* Version 0: there is no schema, or an empty one. */
static int read_state(struct pg_sync *c, struct schema_info *ret, bool *ret_ours, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct whereabouts w;
	struct err why = ERR_INIT;
	int rc = pg_exec(c, SQL_SCHEMA_STATE, 0, NULL, &res, &why);

	if (is_sqlstate(&why, "3F000") || is_sqlstate(&why, "42P01")) {
		ret->version = 0;
		*ret_ours = true;
		return 0;
	}
	if (is_sqlstate(&why, "42501")) {
		ret->version = VERSION_HIDDEN;
		rc = look_around(c, &w, err);
		if (rc != 0)
			return rc;
		return err_set(err, ST_REFUSED,
			       "role %s may not use the schema drover of database %s: have its owner run `drover init --worker-role %s` "
			       "(or --producer-role, --reader-role)",
			       w.role, w.database, w.role);
	}
	if (rc != 0) {
		if (err != NULL)
			*err = why;
		return rc;
	}
	if (PQntuples(res) == 0)
		return err_set(err, ST_REFUSED, "drover.meta is empty: the schema drover is damaged, or not Drover's");
	ret->version = (int)pg_i64(res, 0, "schema_version");
	snprintf(ret->installation, sizeof(ret->installation), "%s", pg_str(res, 0, "installation"));
	*ret_ours = pg_bool(res, 0, "is_ours");
	return 0;
}

static int refuse_stranger(bool ours, struct err *err)
{
	if (ours)
		return 0;
	return err_set(
		err, ST_REFUSED,
		"this database is a copy of the one that its schema drover was installed in; working on it would mix up the jobs of both. "
		"To make it an installation of its own: drover init --rekey");
}

static int refuse_newer(const struct schema_info *s, struct err *err)
{
	if (s->version <= schema_program_version())
		return 0;
	return err_set(
		err, ST_REFUSED,
		"the schema drover is at version %d, and this program knows versions up to %d: use the newer program that upgraded it",
		s->version, schema_program_version());
}

/* ------------------------------------------------------------ installing and upgrading */

static int explain_rights(const struct whereabouts *w, int version, struct err *err)
{
	if (version > 0 && !w->is_owner)
		return err_set(
			err, ST_REFUSED,
			"the schema drover is at version %d and has to be upgraded to %d, which role %s may not: have its owner run `drover init`",
			version, schema_program_version(), w->role);
	if (version == 0 && (w->has_schema ? !w->may_create_in_schema : !w->may_create_schema))
		return err_set(
			err, ST_REFUSED,
			"there is no schema drover in database %s yet, and role %s may not install it: run `drover init` as the database's owner, "
			"or GRANT CREATE ON %s %s TO %s",
			w->database, w->role, w->has_schema ? "SCHEMA" : "DATABASE", w->has_schema ? "drover" : w->database, w->role);
	return 0;
}

static int apply_files(struct pg_sync *c, int from, struct err *err)
{
	char version[16];
	const char *params[] = { version };
	int rc = 0;

	for (const struct sql_schema_file *f = sql_schema; f->text != NULL && rc == 0; f++) {
		if (f->version <= from)
			continue;
		rc = pg_exec_script(c, f->text, err);
		if (rc != 0)
			return err_wrap(err, "%s", f->name);
	}
	snprintf(version, sizeof(version), "%d", schema_program_version());
	return pg_exec(c, SQL_SCHEMA_NOTE, 1, params, NULL, err);
}

/* Within the transaction, under the lock: another may have done it meanwhile. */
static int upgrade_locked(struct pg_sync *c, struct schema_info *ret, struct err *err)
{
	struct whereabouts w;
	bool ours = false;
	int rc = look_around(c, &w, err);

	if (rc != 0)
		return rc;
	ret->version = 0;
	if (w.has_meta) {
		rc = read_state(c, ret, &ours, err);
		if (rc == 0)
			rc = refuse_newer(ret, err);
		if (rc == 0)
			rc = refuse_stranger(ours, err);
		if (rc != 0 || ret->version == schema_program_version())
			return rc;
	}
	rc = explain_rights(&w, ret->version, err);
	if (rc == 0 && !w.has_schema)
		rc = pg_exec(c, "CREATE SCHEMA drover", 0, NULL, NULL, err);
	if (rc == 0)
		rc = apply_files(c, ret->version, err);
	if (rc == 0) {
		ret->installed = ret->version == 0;
		ret->upgraded_from = ret->version;
		rc = read_state(c, ret, &ours, err);
	}
	return rc;
}

/* Everything that changes the schema is one transaction under one lock: two that start at once do it one after the other. */
static int begin_locked(struct pg_sync *c, struct err *err)
{
	int rc = pg_exec(c, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL, NULL, err);

	/* Another's search_path may leak through a pooler: the files rely on none. */
	if (rc == 0)
		rc = pg_exec(c, "SET LOCAL search_path = pg_catalog, pg_temp", 0, NULL, NULL, err);
	if (rc == 0)
		rc = pg_exec(c, SQL_SCHEMA_LOCK, 0, NULL, NULL, err);
	return rc;
}

static int upgrade(struct pg_sync *c, struct schema_info *ret, struct err *err)
{
	int rc = begin_locked(c, err);

	if (rc == 0)
		rc = upgrade_locked(c, ret, err);
	FAILPOINT(schema_before_commit);
	if (rc == 0)
		rc = pg_exec(c, "COMMIT", 0, NULL, NULL, err);
	FAILPOINT(schema_installed);
	if (rc == 0)
		return 0;
	pg_rollback(c);
	return err_wrap(err, "cannot install the schema drover");
}

/* Nobody but the owner knows more of a schema whose version cannot be read. */
static enum schema_trouble trouble_of(const struct schema_info *s, bool ours, int rc)
{
	if (rc != 0)
		return rc == ST_REFUSED && s->version == VERSION_HIDDEN ? SCHEMA_DENIED : SCHEMA_DAMAGED;
	if (s->version == 0)
		return SCHEMA_MISSING;
	if (s->version > schema_program_version())
		return SCHEMA_NEWER;
	if (!ours)
		return SCHEMA_COPY;
	return s->version < schema_program_version() ? SCHEMA_OLDER : SCHEMA_FINE;
}

int schema_check(struct pg_sync *c, struct schema_info *ret, struct err *err)
{
	struct schema_info s = { .version = 0 };
	bool ours = false;
	int rc = read_state(c, &s, &ours, err);

	ret->trouble = trouble_of(&s, ours, rc);
	switch (ret->trouble) {
	case SCHEMA_MISSING:
		return err_set(err, ST_NOT_FOUND, "there is no schema drover in this database: run `drover init`");
	case SCHEMA_NEWER:
		return refuse_newer(&s, err);
	case SCHEMA_COPY:
		return refuse_stranger(ours, err);
	case SCHEMA_OLDER:
		return err_set(err, ST_REFUSED, "the schema drover is at version %d, this program needs %d: run `drover init`", s.version,
			       schema_program_version());
	case SCHEMA_DENIED:
	case SCHEMA_DAMAGED:
		return rc;
	case SCHEMA_FINE:
		break;
	}
	*ret = s;
	return 0;
}

int schema_open(struct pg_sync *c, struct schema_info *ret, struct err *err)
{
	struct schema_info s = { .version = 0 };
	bool ours = false;
	int rc = read_state(c, &s, &ours, err);

	if (rc == 0)
		rc = refuse_newer(&s, err);
	if (rc == 0)
		rc = refuse_stranger(ours, err);
	if (rc == 0 && s.version < schema_program_version())
		rc = upgrade(c, &s, err);
	if (rc == 0)
		*ret = s;
	return rc;
}

/* ------------------------------------------------------------ a copy becomes an installation of its own */

static int rekey_locked(struct pg_sync *c, const char *actor, struct schema_info *ret, struct err *err)
{
	const char *params[] = { actor };
	bool ours = false;
	int rc = read_state(c, ret, &ours, err);

	if (rc == 0 && ret->version == 0)
		rc = err_set(err, ST_NOT_FOUND, "there is no schema drover in this database");
	if (rc == 0)
		rc = refuse_newer(ret, err);
	if (rc == 0)
		rc = pg_exec(c, SQL_SCHEMA_REKEY, 1, params, NULL, err);
	if (rc == 0)
		rc = read_state(c, ret, &ours, err);
	return rc;
}

int schema_rekey(struct pg_sync *c, const char *actor, struct schema_info *ret, struct err *err)
{
	struct schema_info s = { .version = 0 };
	int rc = begin_locked(c, err);

	if (rc == 0)
		rc = rekey_locked(c, actor, &s, err);
	if (rc == 0)
		rc = pg_exec(c, "COMMIT", 0, NULL, NULL, err);
	if (rc != 0) {
		pg_rollback(c);
		return err_wrap(err, "cannot re-key the installation");
	}
	*ret = s;
	return 0;
}

/* ------------------------------------------------------------ rights */

/* The section of grants.sql for a kind of role, with the role's name in it. */
static int grants_for(struct pg_sync *c, const char *kind, const char *role, struct buf *out, struct err *err)
{
	char mark[32], variable[32];
	const char *from, *to, *hit;
	char *quoted;

	snprintf(mark, sizeof(mark), "-- role: %s\n", kind);
	snprintf(variable, sizeof(variable), ":\"%s\"", kind);
	from = strstr(SQL_GRANTS, mark);
	if (from == NULL)
		return err_set(err, ST_NOT_FOUND, "grants.sql has no section for a %s role", kind);
	from += strlen(mark);
	to = strstr(from, "-- role: ");
	if (to == NULL)
		to = from + strlen(from);
	quoted = PQescapeIdentifier(pg_sync_conn(c), role, strlen(role));
	if (quoted == NULL)
		return err_set(err, ST_INPUT, "'%s' is no name of a role", role);
	for (hit = strstr(from, variable); hit != NULL && hit < to; hit = strstr(from, variable)) {
		buf_add(out, from, (size_t)(hit - from));
		buf_puts(out, quoted);
		from = hit + strlen(variable);
	}
	buf_add(out, from, (size_t)(to - from));
	PQfreemem(quoted);
	return buf_ok(out) ? 0 : err_set(err, ST_LIMIT, "the name of the %s role is too long", kind);
}

static int grant_one(struct pg_sync *c, const char *kind, const char *role, struct err *err)
{
	struct buf script = BUF_INIT(GRANTS_MAX);
	struct err why = ERR_INIT;
	int rc;

	if (role == NULL)
		return 0;
	rc = grants_for(c, kind, role, &script, &why);
	if (rc == 0)
		rc = pg_exec_script(c, script.data, &why);
	buf_free(&script);
	if (rc == 0)
		return 0;
	if (is_sqlstate(&why, "42704"))
		return err_set(err, ST_NOT_FOUND, "there is no role '%s': create it first (CREATE ROLE ... LOGIN)", role);
	if (is_sqlstate(&why, "42501"))
		return err_set(err, ST_REFUSED, "only the owner of the schema drover may grant rights on it: %s", why.msg);
	if (err != NULL)
		*err = why;
	return err_wrap(err, "cannot grant to the %s role '%s'", kind, role);
}

int schema_grant(struct pg_sync *c, const struct schema_roles *roles, struct err *err)
{
	int rc = grant_one(c, "worker", roles->worker, err);

	if (rc == 0)
		rc = grant_one(c, "producer", roles->producer, err);
	if (rc == 0)
		rc = grant_one(c, "reader", roles->reader, err);
	return rc;
}
