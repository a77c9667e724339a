/*
 * doctor_locks.c - who keeps workers from their rows, and sweeps from their end: sessions and prepared transactions of others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/doctor_private.h"
#include "sql.h"

#define LONG_S 60   /* a transaction that is open for so long is worth a word ... */
#define SUSPECT_S 5 /* ... and for so long, where jobs meet locks */
#define LEDGER "drover"
#define LOCKS_SAID 5 /* findings: whoever has more of them has one cause */

struct holder {
	char whom[300];  /* "pid 12 (psql of alice)" */
	char since[120]; /* ", for 3m 20s" */
	char does[320];  /* "; it runs: UPDATE ..." */
};

static void describe(const PGresult *res, int row, struct holder *h)
{
	bool prepared = !pg_null(res, row, "gid");

	if (prepared)
		snprintf(h->whom, sizeof(h->whom), "the prepared transaction %.180s (%.80s)", pg_str(res, row, "gid"),
			 pg_str(res, row, "who"));
	else
		snprintf(h->whom, sizeof(h->whom), "pid %s (%.200s)", pg_str(res, row, "pid"),
			 pg_null(res, row, "who") ? "unknown" : pg_str(res, row, "who"));
	if (pg_null(res, row, "open_s"))
		snprintf(h->since, sizeof(h->since), "%s", pg_bool(res, row, "hidden") ? ", since when is hidden" : "");
	else
		snprintf(h->since, sizeof(h->since), ", in a transaction that is open for %s",
			 text_human_duration((uint64_t)(pg_i64(res, row, "open_s") > 0 ? pg_i64(res, row, "open_s") : 0) * 1000).s);
	if (prepared)
		h->does[0] = '\0';
	else if (pg_bool(res, row, "hidden"))
		snprintf(h->does, sizeof(h->does), "; what it runs is shown to members of pg_read_all_stats");
	else
		snprintf(h->does, sizeof(h->does), "; it %s: %.200s", pg_bool(res, row, "idle") ? "does nothing since" : "runs",
			 pg_str(res, row, "query"));
}

static void advise(struct doctor *d, const PGresult *res, int row)
{
	if (!pg_null(res, row, "gid"))
		doctor_advise(d, "settle it: COMMIT PREPARED %s, or ROLLBACK PREPARED %s", pg_str(res, row, "gid"),
			      pg_str(res, row, "gid"));
	else if (!pg_null(res, row, "behind"))
		doctor_advise(d, "end whom it waits for, or it: SELECT pg_terminate_backend(%s)", pg_str(res, row, "pid"));
	else
		doctor_advise(d, "let it end, or end it: SELECT pg_terminate_backend(%s)", pg_str(res, row, "pid"));
}

static void say_one(struct doctor *d, const PGresult *res, int row, const char *name, bool met)
{
	struct holder h;
	bool excludes = pg_bool(res, row, "excludes"), blocks = pg_bool(res, row, "blocks");
	int64_t open_s = pg_i64(res, row, "open_s");
	const char *relation = pg_null(res, row, "relation") ? name : pg_str(res, row, "relation");

	describe(res, row, &h);
	if (strcmp(name, LEDGER) == 0 && pg_null(res, row, "relation"))
		return; /* of a table that is looked at by itself */
	if (!pg_bool(res, row, "granted")) {
		if (!excludes)
			return; /* it waits as we do */
		doctor_say(d, DOCTOR_ERROR, "%s waits for a lock on %.130s (%s) behind pid %s, and whoever comes later waits behind it%s",
			   h.whom, relation, pg_str(res, row, "mode"), pg_null(res, row, "behind") ? "?" : pg_str(res, row, "behind"),
			   h.does);
	} else if (excludes) {
		doctor_say(d, DOCTOR_ERROR, "%s holds a lock on %.130s that keeps out all writers (%s)%s%s", h.whom, relation,
			   pg_str(res, row, "mode"), h.since, h.does);
	} else if (blocks) {
		doctor_say(d, DOCTOR_ERROR, "%s holds a lock that Drover waits for at this moment%s%s", h.whom, h.since, h.does);
	} else if (met && (pg_null(res, row, "open_s") || open_s >= SUSPECT_S)) {
		doctor_say(d, DOCTOR_WARNING, "%s may hold the rows that jobs cannot lock%s%s", h.whom, h.since, h.does);
	} else if (open_s >= LONG_S && pg_bool(res, row, "idle")) {
		doctor_say(d, DOCTOR_WARNING, "%s has changed rows of %.130s and does nothing%s%s", h.whom, relation, h.since, h.does);
	} else {
		return;
	}
	advise(d, res, row);
}

int doctor_say_locks(struct doctor *d, const char *name, bool met, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	const char *params[] = { name };
	size_t before = d->nfound;
	int rc = pg_exec(d->con->pg, SQL_LOCKS_ON_TABLE, 1, params, &res, err);

	for (int i = 0; rc == 0 && i < PQntuples(res) && d->nfound - before < LOCKS_SAID; i++)
		say_one(d, res, i, name, met);
	return rc;
}

static int jobs_meet_locks(struct doctor *d, bool *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16];
	const char *params[] = { id };
	int rc;

	snprintf(id, sizeof(id), "%d", d->now->id);
	rc = pg_exec(d->con->pg, SQL_DOCTOR_JOBS, 1, params, &res, err);
	*ret = rc == 0 && pg_i64(res, 0, "conflicts") > 0;
	if (*ret) {
		doctor_say(
			d, DOCTOR_WARNING,
			"%s jobs meet locks of others, the first of them for %s; they are tried again until conflict_budget_s (%s) is over",
			text_human_rows((uint64_t)pg_i64(res, 0, "conflicts")).s,
			text_human_duration((uint64_t)pg_i64(res, 0, "conflict_s") * 1000).s,
			text_human_duration(d->now->settings.conflict_budget_s * 1000).s);
		doctor_advise(d,
			      "end who holds the rows (named here if it is seen), or wait for an hour with less traffic: drover pause %s",
			      d->now->name);
	}
	return rc;
}

int doctor_table_locks(struct doctor *d, struct err *err)
{
	bool met = false;
	int rc = doctor_runs(d) ? jobs_meet_locks(d, &met, err) : 0;

	return rc == 0 && doctor_runs(d) ? doctor_say_locks(d, d->now->table, met, err) : rc;
}

static int say_blocker(struct doctor *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char whom[300];
	int rc = pg_exec(d->con->pg, SQL_OLDEST_TRANSACTION, 0, NULL, &res, err);

	if (rc != 0 || PQntuples(res) == 0)
		return rc;
	standing_say_transaction(res, whom, sizeof(whom));
	doctor_say(d, pg_i64(res, 0, "open_s") >= LONG_S ? DOCTOR_ERROR : DOCTOR_NOTE,
		   "the last sweep waits for %s%s: rows that it wrote may still turn up%s%.200s", whom,
		   pg_bool(res, 0, "idle") ? " and idle" : "",
		   pg_bool(res, 0, "hidden") || pg_null(res, 0, "query") ? "" : "; its last statement: ",
		   pg_bool(res, 0, "hidden") || pg_null(res, 0, "query") ? "" : pg_str(res, 0, "query"));
	if (pg_null(res, 0, "pid"))
		doctor_advise(d, "settle it: COMMIT PREPARED %s, or ROLLBACK PREPARED %s", pg_str(res, 0, "gid"), pg_str(res, 0, "gid"));
	else
		doctor_advise(d, "let it end, or end it: SELECT pg_terminate_backend(%s)", pg_str(res, 0, "pid"));
	return 0;
}

int doctor_sweep(struct doctor *d, struct err *err)
{
	if (!doctor_runs(d))
		return 0;
	if (d->now->sweep_stuck >= 3) {
		doctor_say(d, DOCTOR_ERROR, "the application still writes old rows: %d sweeps in a row found no fewer",
			   d->now->sweep_stuck);
		doctor_advise(d, "deploy the application that writes the new shape; then: drover produce %s --wait", d->now->name);
	}
	return d->now->sweep_waits && d->now->scan_done ? say_blocker(d, err) : 0;
}
