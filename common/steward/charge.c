#include "steward/charge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "ledger/migrations.h"
#include "pg/pg_status.h"
#include "sql.h"

/* Of the transactions of the scan, the sweeps and the audit: short, and never in the application's way. */
#define BEGIN_WRITING "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
#define BEGIN_READING "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
/*
 * What was captured at registration but for the names in $3, and ours. A parallel plan, where there may be one, is to be had for nothing: the planner
 * does not know how few rows are pending.
 */
#define SET_LOCALLY                                                                                                                       \
	"SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.jsonb_each_text($1::pg_catalog.jsonb - $3::pg_catalog.text[] || " \
	"'{\"row_security\": \"off\", \"lock_timeout\": \"2s\", \"idle_in_transaction_session_timeout\": \"10s\", "                       \
	"\"parallel_setup_cost\": \"0\", \"parallel_tuple_cost\": \"0\"}'::pg_catalog.jsonb "                                             \
	"|| pg_catalog.jsonb_build_object('statement_timeout', $2::pg_catalog.text))"
/* What holds the planner to index scans in key order (introspect.c), and to one process. */
#define IN_ANY_ORDER "enable_seqscan,enable_bitmapscan,enable_sort,enable_incremental_sort"
#define BY_SEVERAL "max_parallel_workers_per_gather"
#define CRASHES_MAX 3                      /* of the server, until the migration is paused */
#define WHOLE_MS (CHARGE_LEASE_MS * 3 / 5) /* its snapshot holds dead rows back for so long at most; the lease is not renewed meanwhile */
#define STATEMENT_MS 30000                 /* ceiling of one window; windows are sized to take a fraction of a second */

static const char *const statement_names[CHARGE_STATEMENTS] = {
	"scan", "scan_blind", "scan_keys", "sweep", "sweep_blind", "gather", "gathered", "close", "missing", "verify", "verify_blind",
};

void charge_init(struct charge *c, struct pg_sync *pg, struct redis_sync *redis, const char *who, int id, const volatile sig_atomic_t *stop)
{
	memset(c, 0, sizeof(*c));
	c->pg = pg;
	c->redis = redis;
	c->stop = stop;
	c->id = id;
	c->epoch = -1;
	snprintf(c->who, sizeof(c->who), "%s", who);
}

static void unload(struct charge *c)
{
	free(c->name);
	free(c->table_name);
	free(c->key_name);
	free(c->settings_json);
	c->name = c->table_name = c->key_name = c->settings_json = NULL;
	for (int i = 0; i < CHARGE_STATEMENTS; i++) {
		free(c->statements[i]);
		c->statements[i] = NULL;
	}
	c->loaded = false;
}

void charge_close(struct charge *c)
{
	unload(c);
	free(c->scan_cursor);
	free(c->sweep_cursor);
	c->scan_cursor = c->sweep_cursor = NULL;
}

static bool keep(char **to, const char *value)
{
	free(*to);
	*to = value != NULL ? strdup(value) : NULL;
	return value == NULL || *to != NULL;
}

int charge_load(struct charge *c, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16];
	const char *params[] = { id };
	bool ok;
	int rc;

	snprintf(id, sizeof(id), "%d", c->id);
	rc = pg_exec(c->pg, SQL_CHARGE_LOAD, 1, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_NOT_FOUND, "there is no migration %d any more", c->id);
	unload(c);
	c->revision = (int)pg_i64(res, 0, "revision");
	c->row_mode = pg_bool(res, 0, "row_mode");
	c->ledger_only = pg_bool(res, 0, "ledger_only");
	c->columns = (unsigned)pg_i64(res, 0, "columns");
	c->turns_pay = pg_bool(res, 0, "turns_pay");
	c->at.estimated_rows = pg_i64(res, 0, "estimated_rows");
	ok = keep(&c->name, pg_str(res, 0, "name")) && keep(&c->table_name, pg_str(res, 0, "table_name")) &&
	     keep(&c->key_name, pg_str(res, 0, "key_name")) && keep(&c->settings_json, pg_str(res, 0, "settings"));
	for (int i = 0; i < CHARGE_STATEMENTS; i++)
		ok = keep(&c->statements[i], pg_opt(res, 0, statement_names[i])) && ok;
	if (!ok)
		return err_set(err, ST_NOMEM, "out of memory");
	queue_init(&c->queue, c->redis, pg_str(res, 0, "installation"), c->id);
	c->loaded = true;
	return 0;
}

static const char *actor(const struct charge *c)
{
	return c->producer ? "producer" : c->who;
}

int charge_pause(struct charge *c, const char *reason, struct err *err)
{
	const struct migrations_actor who = { .name = actor(c), .is_program = true };

	return migrations_move(c->pg, c->id, "{running}", "paused", &who, reason, NULL, err);
}

/* @ret, unless the server went as a whole: all crashes, those under the migration's jobs as well. */
static int count_in_ledger(struct charge *c, bool lived, int64_t *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16];
	const char *params[] = { id, lived ? "true" : "false" };
	int rc;

	snprintf(id, sizeof(id), "%d", c->id);
	rc = pg_exec(c->pg, "SELECT drover.count_crash($1, $2) AS crashes", 2, params, &res, err);
	if (rc == 0 && lived)
		*ret = pg_i64(res, 0, "crashes");
	return rc;
}

/* After three crashes of the server the migration is paused, and after each one more. */
static int count_crash(struct charge *c, int64_t recovered, int64_t booted, struct err *err)
{
	bool crashed = c->is_lost && recovered != c->at.recovered, lived = booted == c->at.booted;
	char reason[512], id[16];
	const char *params[] = { id, actor(c), reason };
	const char *cursor = c->lost == CHARGE_SWEEP || c->lost == CHARGE_SWEEP_BLIND ? c->sweep_cursor : c->scan_cursor;
	int64_t crashes;
	int rc = 0;

	c->is_lost = false;
	c->at.recovered = recovered;
	c->at.booted = booted;
	crashes = c->crashes += crashed;
	if (crashed)
		rc = count_in_ledger(c, lived, &crashes, err);
	if (rc != 0 || !crashed || crashes < CRASHES_MAX)
		return rc;
	c->crashes = 0;
	if (c->lost == CHARGE_GATHER)
		snprintf(reason, sizeof(reason), "the server crashed again and again while the table was looked at as a whole");
	else
		snprintf(reason, sizeof(reason), "the server crashed again and again while the rows after key %.200s were looked at (%s)",
			 cursor != NULL ? cursor : "{}", statement_names[c->lost]);
	snprintf(id, sizeof(id), "%d", c->id);
	rc = pg_exec(c->pg, "SELECT drover.pause_for_crash($1, $2, $3)", 3, params, NULL, err);
	return rc == 0 ? charge_look(c, err) : rc;
}

static int read_state(struct charge *c, const PGresult *res, struct err *err)
{
	struct charge_state *at = &c->at;
	char reason[ERR_MSG_MAX + 256];
	struct err why = ERR_INIT;
	int rc;

	snprintf(at->state, sizeof(at->state), "%s", pg_str(res, 0, "state"));
	snprintf(at->reason, sizeof(at->reason), "%s", pg_str(res, 0, "state_reason"));
	snprintf(at->by, sizeof(at->by), "%s", pg_str(res, 0, "state_by"));
	at->row_limit = pg_i64(res, 0, "row_limit");
	at->scan_done = pg_bool(res, 0, "scan_done");
	at->rows_scanned = pg_i64(res, 0, "rows_scanned");
	at->rows_found = pg_i64(res, 0, "rows_found");
	at->estimated_rows = pg_i64(res, 0, "estimated_rows");
	at->sweep = pg_i64(res, 0, "sweep");
	at->sweep_found = pg_i64(res, 0, "sweep_found");
	at->sweep_last = pg_null(res, 0, "sweep_last") ? -1 : pg_i64(res, 0, "sweep_last");
	at->sweep_stuck = pg_i64(res, 0, "sweep_stuck");
	at->sweep_done = at->sweep == 0 || pg_bool(res, 0, "sweep_done");
	at->sweep_done_s = pg_f64(res, 0, "sweep_done_s");
	at->sweep_waits = pg_bool(res, 0, "sweep_waits");
	at->audit_floor = pg_i64(res, 0, "audit_floor");
	at->push_seq = pg_i64(res, 0, "push_seq");
	at->has_failed = pg_bool(res, 0, "has_failed");
	at->batch_size = pg_i64(res, 0, "batch_size");
	at->rung = pg_null(res, 0, "rung") ? -1 : pg_i64(res, 0, "rung");
	if (!keep(&c->scan_cursor, pg_opt(res, 0, "scan_cursor")) || !keep(&c->sweep_cursor, pg_opt(res, 0, "sweep_cursor")))
		return err_set(err, ST_NOMEM, "out of memory");
	settings_defaults(&at->settings);
	if (settings_apply(&at->settings, pg_str(res, 0, "settings_now"), &why) != 0 && charge_runs(c)) {
		/* Altered by hand. What was asked for is not known, and the defaults may be too much for this database. */
		snprintf(reason, sizeof(reason), "its settings cannot be read: %s; mend: drover config %s KEY=VALUE", why.msg, c->name);
		rc = charge_pause(c, reason, err);
		return rc == 0 ? charge_look(c, err) : rc;
	}
	return count_crash(c, pg_i64(res, 0, "recovered"), pg_i64(res, 0, "booted"), err);
}

bool charge_gives_way(const struct charge *c)
{
	return c->at.settings.throttle && (c->at.rung > 0 || (c->at.rung < 0 && clock_now_ms(clock_system()) < c->careful_until_ms));
}

int charge_look(struct charge *c, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16];
	const char *params[] = { id };
	int rc = c->loaded ? 0 : charge_load(c, err);

	snprintf(id, sizeof(id), "%d", c->id);
	if (rc == 0)
		rc = pg_exec(c->pg, SQL_CHARGE_LOOK, 1, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_NOT_FOUND, "there is no migration %d any more", c->id);
	if (pg_i64(res, 0, "revision") != c->revision) {
		rc = charge_load(c, err);
		if (rc != 0)
			return rc;
	}
	return read_state(c, res, err);
}

/* ------------------------------------------------------------ leases */

int charge_take(struct charge *c, const char *dead, char *ret_holder, int64_t *ret_left_ms, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	CLEANUP(pg_result_freep) PGresult *holder = NULL;
	char id[16], lease[16];
	const char *params[] = { id, c->who, lease, dead };
	int rc;

	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(lease, sizeof(lease), "%d", CHARGE_LEASE_MS);
	rc = pg_exec(c->pg, SQL_LEASE_TAKE, 4, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 1) {
		c->epoch = pg_i64(res, 0, "producer_epoch");
		c->producer = true;
		c->renewed_ms = clock_now_ms(clock_system());
		return 0;
	}
	rc = pg_exec(c->pg, SQL_LEASE_HOLDER, 1, params, &holder, err);
	if (rc != 0)
		return rc;
	if (PQntuples(holder) == 0)
		return err_set(err, ST_NOT_FOUND, "there is no migration %d any more", c->id);
	snprintf(ret_holder, CHARGE_WHO_MAX, "%s", pg_str(holder, 0, "producer"));
	*ret_left_ms = pg_i64(holder, 0, "left_ms");
	return err_set(err, ST_BUSY, "%s is producing it", ret_holder);
}

int charge_renew(struct charge *c, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16], epoch[24], lease[16];
	const char *params[] = { id, epoch, lease };
	uint64_t now = clock_now_ms(clock_system());
	int rc;

	if (now - c->renewed_ms < CHARGE_LEASE_MS / 3)
		return 0;
	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(epoch, sizeof(epoch), "%" PRId64, c->epoch);
	snprintf(lease, sizeof(lease), "%d", CHARGE_LEASE_MS);
	rc = pg_exec(c->pg, SQL_LEASE_RENEW, 3, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_LEASE_LOST, "another producer took over");
	c->renewed_ms = now;
	return 0;
}

int charge_take_audit(struct charge *c, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16], lease[16];
	const char *params[] = { id, c->who, lease };
	int rc;

	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(lease, sizeof(lease), "%d", CHARGE_AUDIT_LEASE_MS);
	rc = pg_exec(c->pg, SQL_AUDIT_LEASE_TAKE, 3, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_BUSY, "another has the audit's lease");
	c->epoch = pg_i64(res, 0, "producer_epoch");
	c->producer = false;
	return 0;
}

void charge_drop(struct charge *c)
{
	char id[16], epoch[24];
	const char *params[] = { id, epoch };
	const volatile sig_atomic_t *stop;
	uint64_t deadline;
	int rc;

	if (c->epoch < 0 || !c->producer || pg_sync_lost(c->pg))
		return;
	stop = pg_sync_set_stop(c->pg, NULL);
	deadline = pg_sync_set_deadline_ms(c->pg, 2000);
	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(epoch, sizeof(epoch), "%" PRId64, c->epoch);
	pg_rollback(c->pg);
	rc = pg_exec(c->pg, SQL_LEASE_DROP, 2, params, NULL, NULL);
	(void)rc; /* it runs out by itself */
	pg_sync_set_deadline_ms(c->pg, deadline);
	pg_sync_set_stop(c->pg, stop);
	c->epoch = -1;
}

/* ------------------------------------------------------------ statements */

int charge_run(struct charge *c, enum charge_statement which, bool read_only, int n, const char *const *params, PGresult **ret,
	       struct err *err)
{
	char timeout[24];
	bool whole = which == CHARGE_GATHER;
	/* One process that is at work without a pause leaves the others in peace; two do not. */
	const char *left_out = !whole ? "{}" : charge_gives_way(c) ? "{" IN_ANY_ORDER "}" : "{" IN_ANY_ORDER "," BY_SEVERAL "}";
	const char *settings[] = { c->settings_json, timeout, left_out };
	const struct pg_call calls[] = {
		{ .sql = read_only ? BEGIN_READING : BEGIN_WRITING },
		{ .sql = SET_LOCALLY, .n = 3, .params = settings },
		{ .sql = c->statements[which], .n = n, .params = params },
	};
	PGresult *got[3] = { NULL };
	uint64_t ms = c->at.settings.query_timeout_ms, most_ms = whole ? WHOLE_MS : STATEMENT_MS;
	struct err why = ERR_INIT;
	int rc;

	if (c->statements[which] == NULL)
		return err_set(err, ST_INPUT, "the plan of '%s' has no statement '%s'", c->name, statement_names[which]);
	snprintf(timeout, sizeof(timeout), "%" PRIu64, ms > 0 && ms < most_ms ? ms : most_ms);
	rc = pg_exec_calls(c->pg, calls, 3, got, NULL, &why);
	if (rc != 0) {
		/* Without a word: the next look tells whether the server crashed. */
		c->is_lost = rc == ST_DISCONNECTED && why.sqlstate[0] == '\0';
		c->crashes = c->is_lost && which == c->lost ? c->crashes : 0;
		c->lost = which;
		pg_rollback(c->pg);
		if (err != NULL)
			*err = why;
		return rc;
	}
	if (which == c->lost)
		c->crashes = 0;
	PQclear(got[0]);
	PQclear(got[1]);
	*ret = got[2];
	return 0;
}

int charge_run_on(struct charge *c, enum charge_statement which, int n, const char *const *params, PGresult **ret, struct err *err)
{
	int rc = pg_exec(c->pg, c->statements[which], n, params, ret, err);

	if (rc != 0)
		pg_rollback(c->pg);
	return rc;
}

int charge_commit(struct charge *c, struct err *err)
{
	int rc = pg_exec(c->pg, "COMMIT", 0, NULL, NULL, err);

	if (rc != 0)
		pg_rollback(c->pg);
	return rc;
}

bool charge_raised(const struct err *err)
{
	if (err->code != ST_SQL)
		return false;
	switch (pg_classify(err->sqlstate, err->msg)) {
	case PG_CLASS_DATA:
	case PG_CLASS_SUSPECT:
	case PG_CLASS_WRONG:
	case PG_CLASS_DENIED:
	case PG_CLASS_UNKNOWN:
		return true;
	default:
		return false;
	}
}

bool charge_too_long(const struct err *err)
{
	return err->code == ST_SQL && strcmp(err->sqlstate, "57014") == 0;
}

bool charge_is_wrong(struct charge *c, enum charge_statement which, struct err *err)
{
	/* The parameters of scan.sql and of verify.sql: a window of no rows. */
	static const char *const scan[] = { NULL, "0", "1", "queued", "0", "false" };
	static const char *const verify[] = { NULL, "0", "0" };
	bool proof = which == CHARGE_VERIFY || which == CHARGE_VERIFY_BLIND;
	PGresult *res = NULL;
	int rc = charge_run(c, which, proof, proof ? 3 : 6, proof ? verify : scan, &res, err);

	PQclear(res);
	if (rc == 0)
		pg_rollback(c->pg);
	return rc == ST_SQL && charge_raised(err);
}

/* @sql has the migration's id and the window's number as parameters. */
static int exec_on_window(struct charge *c, const char *sql, int64_t number, PGresult **ret, struct err *err)
{
	char id[16], text[24];
	const char *params[] = { id, text };

	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(text, sizeof(text), "%" PRId64, number);
	return pg_exec(c->pg, sql, 2, params, ret, err);
}

int charge_window_lost(struct charge *c, int64_t number, int64_t *ret_times, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = exec_on_window(c, SQL_WINDOW_LOST, number, &res, err);

	*ret_times = rc == 0 && PQntuples(res) == 1 ? pg_i64(res, 0, "lost") : 0;
	return rc;
}

int charge_window_to_batch(struct charge *c, int64_t number, bool *ret_listed, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = exec_on_window(c, SQL_WINDOW_TO_BATCH, number, &res, err);

	if (rc != 0 || PQntuples(res) == 0)
		return rc;
	*ret_listed = pg_bool(res, 0, "listed");
	return 1;
}
