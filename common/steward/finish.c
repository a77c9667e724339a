#include "steward/finish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/failpoint.h"
#include "sql.h"

#define WINDOWS 64       /* looked at by one statement */
#define COUNTS_MS 10000  /* as long as rows come in, a window that old is looked at whose rows were not all counted */
#define PRUNE_WINDOWS 20 /* whose receipts one statement deletes */
#define CLOSE_MS 2000    /* between looks at the rows of open windows; ... */
#define LAST_MS 200      /* ... once nothing else is left to do */

void finisher_init(struct finisher *f, struct charge *c)
{
	memset(f, 0, sizeof(*f));
	f->charge = c;
	scan_init(&f->sweep, c, true);
}

void finisher_close(struct finisher *f)
{
	scan_close(&f->sweep);
}

/* ------------------------------------------------------------ windows */

static int close_between(struct finisher *f, int64_t first, int64_t last, struct err *err)
{
	struct charge *c = f->charge;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char from[24], to[24];
	const char *params[] = { from, to, c->at.has_failed ? "true" : "false" };
	int rc;

	snprintf(from, sizeof(from), "%" PRId64, first);
	snprintf(to, sizeof(to), "%" PRId64, last);
	rc = charge_run(c, CHARGE_CLOSE, false, 3, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) > 0)
		FAILPOINT(windows_before_close);
	rc = charge_commit(c, err);
	if (rc == 0)
		f->closed += (uint64_t)PQntuples(res);
	if (PQntuples(res) > 0)
		FAILPOINT(windows_closed);
	return rc;
}

/* A window on which the predicate raises cannot be asked; it becomes a batch, which the workers split. */
static int give_to_workers(struct finisher *f, int64_t number, struct err *err)
{
	bool listed;
	int rc = charge_window_to_batch(f->charge, number, &listed, err);

	if (rc == 1) {
		f->pushed++;
		rc = push_batch(&f->sweep.push, number, listed, err);
		if (rc == 0)
			rc = push_flush(&f->sweep.push, err);
	}
	return rc;
}

/* Too slow or raising: each window by itself. */
static int close_each(struct finisher *f, const PGresult *list, struct err *err)
{
	for (int i = 0; i < PQntuples(list); i++) {
		int64_t number = pg_i64(list, i, "number");
		struct err why = ERR_INIT;
		int rc = close_between(f, number, number, &why);

		if (rc != 0 && charge_raised(&why))
			rc = give_to_workers(f, number, &why);
		else if (rc == ST_SQL)
			rc = 0; /* it stays open for now */
		if (rc != 0) {
			if (err != NULL)
				*err = why;
			return rc;
		}
	}
	return 0;
}

static int prune(struct charge *c, struct err *err)
{
	char id[16], windows[16];
	const char *params[] = { id, windows };

	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(windows, sizeof(windows), "%d", PRUNE_WINDOWS);
	/* Windows that closed just now are only noted by the first run. */
	for (bool again = false;; again = true) {
		CLEANUP(pg_result_freep) PGresult *res = NULL;
		int rc = pg_exec(c->pg, SQL_RECEIPTS_PRUNE, 2, params, &res, err);

		if (rc != 0 || (again && strtol(PQcmdTuples(res), NULL, 10) == 0))
			return rc;
		rc = c->producer ? charge_renew(c, err) : 0;
		if (rc != 0)
			return rc;
	}
}

/* Those whose rows were all changed by runs, which only a migration with a predicate has: nobody has to look at the rows. */
static int close_counted(struct finisher *f, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16];
	const char *params[] = { id };
	int rc;

	if (f->charge->ledger_only)
		return 0;
	snprintf(id, sizeof(id), "%d", f->charge->id);
	rc = pg_exec(f->charge->pg, SQL_WINDOW_COUNTED, 1, params, &res, err);
	if (rc == 0)
		f->closed += (uint64_t)pg_i64(res, 0, "closed");
	return rc;
}

int finish_windows(struct finisher *f, bool last, struct err *err)
{
	struct charge *c = f->charge;
	uint64_t now = clock_now_ms(clock_system()), closed = f->closed, since = now - f->closed_ms;
	/* It may take at most a tenth of the time (a third at the end). */
	bool due = since >= (last ? LAST_MS : CLOSE_MS) && since >= f->close_took_ms * (last ? 3 : 10);
	int64_t after = 0;
	int rc;

	/* Near the end each look begins with the windows that were counted. */
	if (!c->row_mode || (!due && !(last && f->idle_ms <= FORESIGHT_NEAR_MS)))
		return 0;
	rc = close_counted(f, err);
	if (rc != 0 || !due)
		return rc;
	for (;;) {
		CLEANUP(pg_result_freep) PGresult *list = NULL;
		char id[16], above[24], limit[16], age[16];
		const char *params[] = { id, above, limit, age };
		struct err why = ERR_INIT;
		int n;

		snprintf(id, sizeof(id), "%d", c->id);
		snprintf(above, sizeof(above), "%" PRId64, after);
		snprintf(limit, sizeof(limit), "%d", WINDOWS);
		snprintf(age, sizeof(age), "%d", last || c->ledger_only ? 0 : COUNTS_MS);
		rc = pg_exec(c->pg, SQL_WINDOW_LIST, 4, params, &list, err);
		if (rc != 0)
			return rc;
		n = PQntuples(list);
		if (n == 0)
			break;
		after = pg_i64(list, n - 1, "number");
		rc = close_between(f, pg_i64(list, 0, "number"), after, &why);
		if (rc == ST_SQL)
			rc = close_each(f, list, &why);
		if (rc == 0 && c->producer)
			rc = charge_renew(c, &why);
		if (rc != 0) {
			if (err != NULL)
				*err = why;
			return rc;
		}
		if (n < WINDOWS)
			break;
	}
	if (c->ledger_only && f->closed > closed) {
		rc = prune(c, err);
		if (rc != 0)
			return rc;
	}
	f->closed_ms = clock_now_ms(clock_system());
	f->close_took_ms = f->closed_ms - now;
	return 0;
}

/* ------------------------------------------------------------ sweeps and the end */

static int look(struct finisher *f, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16], few[16];
	const char *params[] = { id, few };
	int rc;

	snprintf(id, sizeof(id), "%d", f->charge->id);
	snprintf(few, sizeof(few), "%d", FORESIGHT_MOST + 1);
	rc = pg_exec(f->charge->pg, SQL_FINISH_LOOK, 2, params, &res, err);
	if (rc != 0)
		return rc;
	f->idle_ms = foresight_look(&f->foresight, pg_i64(res, 0, "incomplete"), clock_now_ms(clock_system()));
	f->waiting = pg_bool(res, 0, "waiting");
	return 0;
}

static int fenced(struct charge *c, const char *sql, int n, const char *const *more, PGresult **ret, struct err *err)
{
	char id[16], epoch[24];
	const char *params[8] = { id, epoch, c->who };

	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(epoch, sizeof(epoch), "%" PRId64, c->epoch);
	for (int i = 0; i < n; i++)
		params[3 + i] = more[i];
	return pg_exec(c->pg, sql, 3 + n, params, ret, err);
}

/* At its beginning all may be gathered, which looks up no row among the incomplete batches: there are none. */
static int sweep_on(struct finisher *f, uint64_t room, struct err *err)
{
	struct charge *c = f->charge;
	bool through = false;

	if (c->sweep_cursor == NULL && f->foresight.left == 0 && f->gathered != c->at.sweep) {
		int rc = scan_gather(&f->sweep, room, &through, err);

		f->gathered = c->at.sweep;
		if (rc != 0 || through)
			return rc;
	}
	return scan_step(&f->sweep, room, err);
}

static int begin_sweep(struct finisher *f, uint64_t room, struct err *err)
{
	struct charge *c = f->charge;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = fenced(c, SQL_SWEEP_BEGIN, 0, NULL, &res, err);

	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_LEASE_LOST, "the migration stopped, or another took it over");
	FAILPOINT(sweep_begun);
	c->at.sweep = pg_i64(res, 0, "sweep");
	c->at.sweep_found = 0;
	c->at.sweep_done = false;
	free(c->sweep_cursor);
	c->sweep_cursor = NULL;
	window_init(&f->sweep.window, f->sweep.window.least);
	return sweep_on(f, room, err);
}

static int complete(struct finisher *f, enum finish *ret, struct err *err)
{
	struct charge *c = f->charge;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char detail[128];
	char actor[sizeof(c->who)]; /* without the namespace, which tells people nothing */
	const char *more[] = { c->at.row_limit > 0 ? "limited" : "complete", actor, detail };
	int rc = !c->row_mode ? 0 : c->ledger_only ? prune(c, err) : close_counted(f, err);

	if (rc != 0)
		return rc;
	snprintf(actor, sizeof(actor), "%.*s", (int)strcspn(c->who, "#"), c->who);
	snprintf(detail, sizeof(detail), "%" PRId64 " rows found, %" PRId64 " sweep%s", c->at.rows_found, c->at.sweep,
		 c->at.sweep == 1 ? "" : "s");
	FAILPOINT(before_complete);
	rc = fenced(c, SQL_FINISH_COMPLETE, 3, more, &res, err);
	if (rc != 0)
		return rc;
	*ret = PQntuples(res) == 1 && pg_bool(res, 0, "done") ? FINISH_DONE : FINISH_WORKING;
	if (*ret == FINISH_DONE) {
		FAILPOINT(completed);
		snprintf(c->at.state, sizeof(c->at.state), "%s", more[0]);
	}
	return 0;
}

/* No sweep is under way: is another one needed, and may it begin? Each row that a sweep finds is looked up among unfinished batches: first they are done. */
static int between_sweeps(struct finisher *f, uint64_t room, enum finish *ret, struct err *err)
{
	const struct charge_state *at = &f->charge->at;
	bool stuck;
	int rc;

	*ret = FINISH_WORKING;
	if (f->foresight.left > 0)
		return 0;
	/* What is known of it may be from before the last sweep's end. */
	rc = charge_look(f->charge, err);
	if (rc != 0)
		return rc;
	stuck = at->sweep_stuck >= FINISH_STUCK;
	if (!charge_runs(f->charge)) {
		*ret = FINISH_STOPPED;
		return 0;
	}
	if (f->charge->ledger_only || at->row_limit > 0 || (at->sweep > 0 && at->sweep_found == 0))
		return f->waiting ? 0 : complete(f, ret, err);
	if (room == 0)
		return 0;
	if (stuck && at->sweep_done_s < FINISH_STUCK_PAUSE_S)
		*ret = FINISH_STUCK_;
	else if (at->sweep > 0 && at->sweep_done_s < FINISH_PAUSE_S)
		*ret = FINISH_PAUSING;
	else if (at->sweep_waits)
		*ret = FINISH_XMIN;
	else {
		*ret = FINISH_SWEPT;
		return begin_sweep(f, room, err);
	}
	return 0;
}

int finish_step(struct finisher *f, uint64_t room, enum finish *ret, struct err *err)
{
	struct charge *c = f->charge;
	uint64_t before;
	int rc;

	if (!charge_runs(c)) {
		*ret = strcmp(c->at.state, "complete") == 0 || strcmp(c->at.state, "limited") == 0 ? FINISH_DONE : FINISH_STOPPED;
		return 0;
	}
	if (!c->at.scan_done) {
		*ret = FINISH_SCANNING;
		return 0;
	}
	/* Nobody but us says that windows are done. */
	rc = finish_windows(f, true, err);
	if (rc == 0)
		rc = look(f, err);
	if (rc != 0)
		return rc;
	before = f->sweep.push.pushed;
	if (c->at.sweep_done)
		rc = between_sweeps(f, room, ret, err);
	else if (room == 0)
		*ret = FINISH_WORKING;
	else {
		*ret = FINISH_SWEPT;
		rc = sweep_on(f, room, err);
	}
	f->pushed += f->sweep.push.pushed - before;
	return rc;
}
