#include "figures/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/secret.h"
#include "ledger/migrations.h"
#include "ledger/schema.h"
#include "pg/pg_sync.h"
#include "pg/pg_url.h"
#include "queue/queue.h"
#include "redis/redis_sync.h"
#include "redis/redis_url.h"

struct figures {
	char *database_url, *redis_url; /* redis_url NULL: not asked */
	char name[64];
	const volatile sig_atomic_t *stop;
	struct pg_sync *pg;
	struct redis_sync *redis;
	struct schema_info schema;
};

/* ------------------------------------------------------------ life */

static int check_urls(const char *database_url, const char *redis_url, struct err *err)
{
	struct redis_url redis;
	struct pg_url pg;
	int rc = pg_url_parse(&pg, database_url, "drover", err);

	if (rc != 0)
		return rc;
	pg_url_free(&pg);
	if (redis_url == NULL)
		return 0;
	rc = redis_url_parse(&redis, redis_url, err);
	if (rc == 0)
		redis_url_free(&redis);
	return rc;
}

int figures_new(struct figures **ret, const char *database_url, const char *redis_url, const char *application_name,
		const volatile sig_atomic_t *stop, struct err *err)
{
	struct figures *f = calloc(1, sizeof(*f));
	int rc = f != NULL ? check_urls(database_url, redis_url, err) : ST_NOMEM;

	if (rc == 0) {
		f->database_url = strdup(database_url != NULL ? database_url : "");
		f->redis_url = redis_url != NULL ? strdup(redis_url) : NULL;
		f->stop = stop;
		snprintf(f->name, sizeof(f->name), "%s", application_name);
		if (f->database_url == NULL || (redis_url != NULL && f->redis_url == NULL))
			rc = ST_NOMEM;
	}
	if (rc != 0) {
		figures_free(f);
		return rc == ST_NOMEM ? err_set(err, rc, "out of memory") : rc;
	}
	*ret = f;
	return 0;
}

void figures_rest(struct figures *f)
{
	pg_sync_free(f->pg);
	redis_sync_free(f->redis);
	f->pg = NULL;
	f->redis = NULL;
}

void figures_free(struct figures *f)
{
	if (f == NULL)
		return;
	figures_rest(f);
	secret_free(f->database_url);
	secret_free(f->redis_url);
	free(f);
}

static int connect_pg(struct figures *f, struct err *err)
{
	int rc;

	if (f->pg != NULL && !pg_sync_lost(f->pg))
		return 0;
	pg_sync_free(f->pg);
	f->pg = NULL;
	rc = pg_sync_try_open(&f->pg, f->database_url, f->name, 0, f->stop, err);
	if (rc == 0)
		rc = schema_check(f->pg, &f->schema, err);
	if (rc == ST_NOT_FOUND)
		err_set(err, rc, "there is no schema drover in this database; run: drover init");
	if (rc != 0) {
		pg_sync_free(f->pg); /* the schema is looked at anew */
		f->pg = NULL;
	}
	return rc;
}

static int connect_redis(struct figures *f, struct err *err)
{
	if (f->redis != NULL && !redis_sync_lost(f->redis))
		return 0;
	redis_sync_free(f->redis);
	f->redis = NULL;
	return redis_sync_try_open(&f->redis, f->redis_url, f->stop, err);
}

/* ------------------------------------------------------------ migrations */

enum kind { NUMBER, TRUTH, GIVEN };

/* One column of status.sql each. */
static const struct {
	enum metric metric;
	const char *column;
	enum kind kind;
} of_migration[] = {
	{ METRIC_BATCHES_LEFT, "incomplete", NUMBER },
	{ METRIC_WAITING, "waiting", NUMBER },
	{ METRIC_FAILED, "dead", NUMBER },
	{ METRIC_ROWS_EXPECTED, "rows_expected", NUMBER },
	{ METRIC_ROWS_FOUND, "rows_found", NUMBER },
	{ METRIC_ROWS_FINISHED, "rows_finished", NUMBER },
	{ METRIC_ROWS_CHANGED, "rows_changed", NUMBER },
	{ METRIC_PROGRESS, "share", NUMBER },
	{ METRIC_SCAN_DONE, "scan_done_at", GIVEN },
	{ METRIC_PRODUCING, "producing", TRUTH },
	{ METRIC_HALTED, "halted", TRUTH },
	{ METRIC_SWEEP_STUCK, "sweep_stuck", NUMBER },
};

static const char *const states[] = { "running", "paused", "cancelled", "complete", "limited", NULL };

/* What is long over and left nothing to look at would stay in the graphs for ever. */
static bool is_of_interest(const PGresult *res, int row)
{
	const char *state = pg_str(res, row, "state");

	return strcmp(state, "running") == 0 || strcmp(state, "paused") == 0 || pg_f64(res, row, "state_s") < FIGURES_OVER_S ||
	       pg_i64(res, row, "dead") > 0 || pg_i64(res, row, "waiting") > 0;
}

/* Rows of @res that are shown: at most @max, the newest, in *@rows; returns how many. */
static int choose(const PGresult *res, int *rows, int max)
{
	int n = 0, skip;

	for (int i = 0; i < PQntuples(res); i++)
		n += is_of_interest(res, i);
	skip = n > max ? n - max : 0;
	n = 0;
	for (int i = 0; i < PQntuples(res); i++)
		if (is_of_interest(res, i) && skip-- <= 0)
			rows[n++] = i;
	return n;
}

static double value_of(const PGresult *res, int row, const char *column, enum kind kind)
{
	if (kind == GIVEN)
		return !pg_null(res, row, column);
	return kind == TRUTH ? pg_bool(res, row, column) : pg_f64(res, row, column);
}

static bool broke(const PGresult *res, int row)
{
	static const char reason[] = "circuit breaker";

	return strcmp(pg_str(res, row, "state"), "paused") == 0 &&
	       strncmp(pg_str(res, row, "state_reason"), reason, sizeof(reason) - 1) == 0;
}

static double idle_s(const PGresult *res, int row)
{
	double begun = pg_f64(res, row, "state_s"), idle = pg_null(res, row, "idle_s") ? begun : pg_f64(res, row, "idle_s");

	idle = idle < begun ? idle : begun;
	return idle > 0 ? idle : 0;
}

static void add_migrations(struct metrics_text *t, const PGresult *res, const int *rows, int n)
{
	for (int i = 0; i < n; i++)
		for (const char *const *s = states; *s != NULL; s++)
			metrics_add(t, METRIC_MIGRATION_STATE, strcmp(pg_str(res, rows[i], "state"), *s) == 0, pg_str(res, rows[i], "name"),
				    *s);
	for (int i = 0; i < n; i++)
		metrics_add(t, METRIC_BREAKER_OPEN, broke(res, rows[i]), pg_str(res, rows[i], "name"));
	for (int i = 0; i < n; i++)
		metrics_add(t, METRIC_IDLE, idle_s(res, rows[i]), pg_str(res, rows[i], "name"));
	for (size_t m = 0; m < ARRAY_SIZE(of_migration); m++)
		for (int i = 0; i < n; i++)
			if (of_migration[m].kind != NUMBER || !pg_null(res, rows[i], of_migration[m].column))
				metrics_add(t, of_migration[m].metric, value_of(res, rows[i], of_migration[m].column, of_migration[m].kind),
					    pg_str(res, rows[i], "name"));
}

static int look_at_queues(struct figures *f, struct metrics_text *t, const PGresult *res, const int *rows, int n, struct err *err)
{
	int rc = connect_redis(f, err);

	for (int i = 0; i < n && rc == 0; i++) {
		const char *name = pg_str(res, rows[i], "name");
		struct queue_depth d;
		struct queue q;

		queue_init(&q, f->redis, f->schema.installation, (int)pg_i64(res, rows[i], "id"));
		rc = queue_depth(&q, false, &d, err);
		if (rc != 0)
			break;
		metrics_add(t, METRIC_BACKLOG, (double)(d.ready > d.leased ? d.ready - d.leased : 0), name, "ready");
		metrics_add(t, METRIC_BACKLOG, (double)d.leased, name, "leased");
		metrics_add(t, METRIC_BACKLOG, (double)d.delayed, name, "delayed");
	}
	return rc;
}

static int look_at_migrations(struct figures *f, struct metrics_text *t, struct figures_servers *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rows[FIGURES_MIGRATIONS], n, rc = migrations_status(f->pg, 0, &res, err);
	struct err redis = ERR_INIT;

	if (rc != 0)
		return rc;
	n = choose(res, rows, FIGURES_MIGRATIONS);
	add_migrations(t, res, rows, n);
	if (f->redis_url == NULL)
		return 0;
	ret->redis = look_at_queues(f, t, res, rows, n, &redis) == 0;
	if (!ret->redis)
		snprintf(ret->why_redis, sizeof(ret->why_redis), "%.255s", redis.msg);
	return 0;
}

/* ------------------------------------------------------------ workers */

static int look_at_workers(struct figures *f, struct metrics_text *t, struct err *err)
{
	static const char *const names[] = { "running", "paused", "draining", "lost" };
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	unsigned counts[ARRAY_SIZE(names)] = { 0 };
	int64_t lanes = 0, busy = 0;
	int rc = migrations_workers(f->pg, &res, err);

	if (rc != 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++) {
		for (size_t s = 0; s < ARRAY_SIZE(names); s++)
			counts[s] += strcmp(pg_str(res, i, "state"), names[s]) == 0;
		if (!pg_bool(res, i, "alive"))
			continue;
		lanes += pg_i64(res, i, "lanes");
		busy += pg_i64(res, i, "busy");
	}
	for (size_t s = 0; s < ARRAY_SIZE(names); s++)
		metrics_add(t, METRIC_WORKERS, counts[s], names[s]);
	metrics_add(t, METRIC_FLEET_LANES, (double)busy, "busy");
	metrics_add(t, METRIC_FLEET_LANES, (double)(lanes > busy ? lanes - busy : 0), "idle");
	return 0;
}

void figures_look(struct figures *f, struct metrics_text *t, struct figures_servers *ret)
{
	struct err err = ERR_INIT;
	int rc;

	*ret = (struct figures_servers){ 0 };
	rc = connect_pg(f, &err);
	if (rc == 0)
		rc = look_at_workers(f, t, &err);
	if (rc == 0)
		rc = look_at_migrations(f, t, ret, &err);
	ret->postgres = rc == 0;
	if (rc == 0)
		return;
	snprintf(ret->why_postgres, sizeof(ret->why_postgres), "%.255s", err.msg);
	/* Which queues there are is not known without PostgreSQL; whether Redis answers is. */
	if (f->redis_url != NULL && !ret->redis) {
		ret->redis = connect_redis(f, &err) == 0 && redis_cmd(f->redis, NULL, &err, "PING") == 0;
		if (!ret->redis)
			snprintf(ret->why_redis, sizeof(ret->why_redis), "%.255s", err.msg);
	}
}
