#include "ledger/migrations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "ledger/settings.h"
#include "pg/pg_sync.h"
#include "sql.h"

struct id_text {
	char s[24];
};

static struct id_text id_text(int64_t v)
{
	struct id_text t;

	snprintf(t.s, sizeof(t.s), "%lld", (long long)v);
	return t;
}

/* ------------------------------------------------------------ by name */

/* "dir/0001_pages.sql" -> "0001_pages" */
static int name_of(const char *given, char *out, size_t size, struct err *err)
{
	const char *slash = strrchr(given, '/');
	const char *base = slash == NULL ? given : slash + 1;
	size_t n = strlen(base);

	if (n > 4 && strcmp(base + n - 4, ".sql") == 0)
		n -= 4;
	if (n == 0 || n >= size)
		return err_set(err, ST_INPUT, "'%.60s' is no name of a migration", given);
	memcpy(out, base, n);
	out[n] = '\0';
	return 0;
}

static int no_such_migration(struct pg_sync *c, const char *name, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = migrations_names(c, &res, err), n;
	const char *nearest = NULL, **names;

	if (rc != 0)
		return rc;
	n = PQntuples(res);
	if (n == 0)
		return err_set(err, ST_NOT_FOUND, "there is no migration '%s'; none has been registered yet: drover produce FILE", name);
	names = calloc((size_t)n + 1, sizeof(*names));
	if (names == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	for (int i = 0; i < n; i++)
		names[i] = pg_str(res, i, "name");
	nearest = text_nearest(name, names);
	if (nearest != NULL)
		rc = err_set(err, ST_NOT_FOUND, "there is no migration '%s'; did you mean '%s'?", name, nearest);
	else
		rc = err_set(err, ST_NOT_FOUND, "there is no migration '%s'; `drover status` lists them", name);
	free(names);
	return rc;
}

int migrations_find(struct pg_sync *c, const char *name, struct migration_ref *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct migration_ref m = { .id = 0 };
	const char *params[] = { m.name };
	int rc = name_of(name, m.name, sizeof(m.name), err);

	if (rc == 0)
		rc = pg_exec(c, SQL_MIGRATION_FIND, 1, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return no_such_migration(c, m.name, err);
	m.id = (int)pg_i64(res, 0, "id");
	m.revision = (int)pg_i64(res, 0, "revision");
	m.ledger_only = pg_bool(res, 0, "ledger_only");
	m.row_mode = pg_bool(res, 0, "row_mode");
	m.batch_size = (int)pg_i64(res, 0, "batch_size");
	snprintf(m.state, sizeof(m.state), "%s", pg_str(res, 0, "state"));
	*ret = m;
	return 0;
}

int migrations_names(struct pg_sync *c, PGresult **ret, struct err *err)
{
	return pg_exec(c, SQL_MIGRATION_NAMES, 0, NULL, ret, err);
}

int migrations_status(struct pg_sync *c, int id, PGresult **ret, struct err *err)
{
	struct id_text t = id_text(id);
	const char *params[] = { t.s };

	return pg_exec(c, SQL_STATUS, 1, params, ret, err);
}

/* ------------------------------------------------------------ moves */

int migrations_move(struct pg_sync *c, int id, const char *from, const char *to, const struct migrations_actor *actor, const char *reason,
		    bool *ret_moved, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct id_text t = id_text(id);
	const char *params[] = { t.s, from, to, actor->name, reason, actor->is_program ? "false" : "true" };
	int rc = pg_exec(c, SQL_MIGRATION_MOVE, ARRAY_SIZE(params), params, &res, err);

	if (rc == 0 && ret_moved != NULL)
		*ret_moved = pg_bool(res, 0, "moved");
	return rc;
}

/* Not moved: is it there already (0), or does its state not allow it? Read again, since it may have changed since it was found. */
static int explain(struct pg_sync *c, const struct migration_ref *m, const char *wanted, const char *what, struct err *err)
{
	struct migration_ref now;
	int rc = migrations_find(c, m->name, &now, err);

	if (rc != 0 || strcmp(now.state, wanted) == 0)
		return rc;
	return err_set(err, ST_REFUSED, "cannot %s %s: it is %s%s", what, m->name, now.state,
		       strcmp(now.state, "cancelled") == 0 ? "; `drover resume` takes it up again where it was" : "");
}

static int move_or_explain(struct pg_sync *c, const struct migration_ref *m, const char *from, const char *to, const char *what,
			   const char *actor, const char *reason, struct err *err)
{
	const struct migrations_actor who = { .name = actor };
	bool moved = false;
	int rc = migrations_move(c, m->id, from, to, &who, reason, &moved, err);

	if (rc != 0 || moved)
		return rc;
	return explain(c, m, to, what, err);
}

int migrations_pause(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *reason, struct err *err)
{
	return move_or_explain(c, m, "{running,complete,limited}", "paused", "pause", actor, reason, err);
}

int migrations_resume(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *reason, struct err *err)
{
	return move_or_explain(c, m, "{paused,cancelled}", "running", "resume", actor, reason, err);
}

int migrations_cancel(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *reason, struct err *err)
{
	return move_or_explain(c, m, "{running,paused}", "cancelled", "cancel", actor, reason, err);
}

/* ------------------------------------------------------------ workers */

int migrations_workers(struct pg_sync *c, PGresult **ret, struct err *err)
{
	return pg_exec(c, SQL_WORKERS, 0, NULL, ret, err);
}

int migrations_restart(struct pg_sync *c, const char *name, const char *actor, int *ret_n, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	const char *params[] = { name };
	int rc = pg_exec(c, SQL_WORKERS_RESTART, 1, params, &res, err), n;

	if (rc != 0)
		return rc;
	n = PQntuples(res);
	if (n == 0 && name != NULL)
		return err_set(err, ST_NOT_FOUND, "there is no worker '%s'; `drover workers` lists them", name);
	*ret_n = n;
	if (n == 0)
		return 0;
	return migrations_event(c, NULL, actor, "restart", name == NULL ? "all workers" : name, err);
}

/* ------------------------------------------------------------ settings */

int migrations_settings(struct pg_sync *c, int id, struct settings *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct id_text t = id_text(id);
	const char *params[] = { t.s };
	struct settings s;
	int rc = pg_exec(c, SQL_CONFIG_GET, 1, params, &res, err);

	if (rc != 0)
		return rc;
	settings_defaults(&s);
	rc = settings_apply(&s, pg_str(res, 0, "settings"), err);
	if (rc == 0)
		*ret = s;
	return rc;
}

int migrations_settings_origin(struct pg_sync *c, int id, PGresult **ret, struct err *err)
{
	struct id_text t = id_text(id);
	const char *params[] = { t.s };

	return pg_exec(c, SQL_CONFIG_ALL, 1, params, ret, err);
}

int migrations_configure(struct pg_sync *c, const struct migration_ref *m, const char *key, const char *value, const char *actor,
			 struct err *err)
{
	struct id_text id = id_text(m == NULL ? 0 : m->id);
	char detail[256];
	const char *set[] = { id.s, key, value }, *event[] = { id.s, actor, "config", detail };
	/* Two statements sent together are one transaction. */
	const struct pg_call calls[] = {
		{ value != NULL ? SQL_CONFIG_SET : SQL_CONFIG_UNSET, value != NULL ? 3 : 2, set },
		{ SQL_EVENT_ADD, 4, event },
	};
	PGresult *results[2] = { NULL, NULL };
	int rc;

	if (value != NULL)
		snprintf(detail, sizeof(detail), "%s=%s", key, value);
	else
		snprintf(detail, sizeof(detail), "%s unset", key);
	rc = pg_exec_calls(c, calls, 2, results, NULL, err);
	if (rc == 0) {
		PQclear(results[0]);
		PQclear(results[1]);
	}
	return rc;
}

/* ------------------------------------------------------------ the audit trail */

int migrations_event(struct pg_sync *c, const struct migration_ref *m, const char *actor, const char *action, const char *detail,
		     struct err *err)
{
	struct id_text id = id_text(m == NULL ? 0 : m->id);
	const char *params[] = { id.s, actor, action, detail };

	return pg_exec(c, SQL_EVENT_ADD, 4, params, NULL, err);
}

int migrations_events(struct pg_sync *c, int id, int64_t before, int limit, PGresult **ret, struct err *err)
{
	struct id_text i = id_text(id), b = id_text(before), l = id_text(limit);
	const char *params[] = { i.s, b.s, l.s };

	return pg_exec(c, SQL_EVENTS_PAGE, 3, params, ret, err);
}
