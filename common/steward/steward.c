#include "steward/steward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/secret.h"
#include "pg/pg_array.h"
#include "pg/pg_error.h"
#include "pg/pg_status.h"
#include "pg/pg_sync.h"
#include "pg/pg_url.h"
#include "redis/redis_sync.h"
#include "redis/redis_url.h"
#include "sql.h"
#include "steward/audit.h"
#include "steward/charge.h"
#include "steward/finish.h"

#define FAILED_MS 1000 /* until a migration is tended again whose tending failed, doubled each time */
#define FAILED_MAX_MS 16000

/* A migration that was tended before: what its audit and its sweep remember. */
struct ward {
	struct charge charge;
	struct audit audit;
	struct finisher finisher;
	bool kept;           /* still on the list of this round */
	unsigned failures;   /* to tend it, in a row */
	uint64_t not_before; /* clock_now_ms: after a failure it waits a while, which is no reason for the others to */
	struct ward *next;
};

struct steward {
	char *database_url;
	char *redis_url;
	char *only; /* names as an array literal; NULL: all */
	char who[CHARGE_WHO_MAX];
	const volatile sig_atomic_t *stop;
	struct pg_sync *pg;
	struct redis_sync *redis;
	struct ward *wards;
	volatile sig_atomic_t alarmed;
};

static int keep_names(struct steward *s, const char *const *only)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(64 * 1024);

	if (only == NULL || only[0] == NULL)
		return 0;
	for (size_t i = 0; only[i] != NULL; i++)
		pg_array_add(&b, i == 0, only[i]);
	pg_array_end(&b, false);
	s->only = buf_detach(&b);
	return s->only != NULL ? 0 : ST_NOMEM;
}

int steward_new(struct steward **ret, const char *database_url, const char *redis_url, const char *who, const char *const *only,
		const volatile sig_atomic_t *stop, struct err *err)
{
	struct steward *s = calloc(1, sizeof(*s));
	struct redis_url redis;
	struct pg_url pg;
	int rc;

	if (s == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	rc = redis_url_parse(&redis, redis_url, err);
	if (rc == 0)
		redis_url_free(&redis);
	if (rc == 0)
		rc = pg_url_parse(&pg, database_url, "drover", err);
	if (rc == 0)
		pg_url_free(&pg);
	s->database_url = strdup(database_url != NULL ? database_url : "");
	s->redis_url = strdup(redis_url);
	s->stop = stop;
	snprintf(s->who, sizeof(s->who), "%s", who);
	if (rc == 0 && (s->database_url == NULL || s->redis_url == NULL || keep_names(s, only) != 0))
		rc = err_set(err, ST_NOMEM, "out of memory");
	if (rc != 0) {
		steward_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void steward_rename(struct steward *s, const char *who)
{
	snprintf(s->who, sizeof(s->who), "%s", who);
}

static void ward_free(struct steward *s, struct ward *w)
{
	LL_DELETE(s->wards, w); /* NOLINT(clang-analyzer-unix.Malloc): thinks that freed wards are still in the list */
	finisher_close(&w->finisher);
	charge_close(&w->charge);
	free(w);
}

void steward_free(struct steward *s)
{
	if (s == NULL)
		return;
	while (s->wards != NULL)
		ward_free(s, s->wards);
	pg_sync_free(s->pg);
	redis_sync_free(s->redis);
	secret_free(s->database_url);
	secret_free(s->redis_url);
	free(s->only);
	free(s);
}

void steward_alarm(struct steward *s)
{
	s->alarmed = 1;
}

/* Connections are made when there is something to do, and made anew when they broke: once per round, without waiting. */
static int connect_pg(struct steward *s, struct err *err)
{
	char name[64];

	if (s->pg != NULL && !pg_sync_lost(s->pg))
		return 0;
	pg_sync_free(s->pg);
	s->pg = NULL;
	snprintf(name, sizeof(name), "drover %.40s/steward", s->who);
	return pg_sync_try_open(&s->pg, s->database_url, name, 0, s->stop, err);
}

static int connect_redis(struct steward *s, struct err *err)
{
	if (s->redis != NULL && !redis_sync_lost(s->redis))
		return 0;
	redis_sync_free(s->redis);
	s->redis = NULL;
	return redis_sync_try_open(&s->redis, s->redis_url, s->stop, err);
}

static struct ward *find(struct steward *s, int id)
{
	struct ward *w;

	LL_FOREACH(s->wards, w)
		if (w->charge.id == id)
			break;
	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		if (w == NULL)
			return NULL;
		charge_init(&w->charge, s->pg, s->redis, s->who, id, s->stop);
		audit_init(&w->audit, &w->charge);
		finisher_init(&w->finisher, &w->charge);
		LL_PREPEND(s->wards, w);
	}
	w->charge.pg = s->pg;
	w->charge.redis = s->redis;
	w->charge.queue.redis = s->redis;
	w->kept = true;
	return w;
}

/* How many jobs a sweep may push now. */
static int room(struct ward *w, uint64_t *ret, struct err *err)
{
	struct queue_depth depth;
	uint64_t max = w->charge.at.settings.max_backlog;
	int rc = queue_depth(&w->charge.queue, true, &depth, err);

	if (rc == 0)
		*ret = queue_depth_jobs(&depth) >= max || depth.bytes >= QUEUE_BYTES_MAX ? 0 : max - queue_depth_jobs(&depth);
	return rc;
}

static int finish(struct ward *w, uint64_t until_ms, struct steward_report *report, struct err *err)
{
	struct finisher *f = &w->finisher;
	enum finish what = FINISH_SWEPT;
	uint64_t jobs;
	int rc = 0;

	while (rc == 0 && what == FINISH_SWEPT && clock_now_ms(clock_system()) < until_ms) {
		rc = charge_look(&w->charge, err);
		if (rc == 0)
			rc = room(w, &jobs, err);
		if (rc == 0)
			rc = finish_step(f, jobs, &what, err);
		if (rc == 0 && what == FINISH_SWEPT) {
			report->swept_rows += f->sweep.scanned;
			report->found_rows += f->sweep.found;
			w->audit.marker = w->charge.at.push_seq;
			rc = charge_take_audit(&w->charge, err); /* renew */
		}
	}
	if (rc == 0 && what == FINISH_DONE && strcmp(w->charge.at.state, "cancelled") != 0)
		report->completed++;
	/* Soon: a sweep under way, or the last jobs, after which there is something to do. */
	report->again = report->again || what == FINISH_SWEPT || what == FINISH_PAUSING ||
			(what == FINISH_WORKING && f->foresight.left <= FORESIGHT_MOST && w->charge.at.scan_done);
	return rc;
}

/* The predicate or the table is not what it was, or the server is out of disk or memory: as a producer would, rather than try on and on. */
static bool is_hopeless(int rc, const struct err *err)
{
	return rc == ST_REFUSED || (rc == ST_SQL && pg_classify(err->sqlstate, err->msg) == PG_CLASS_SERVER);
}

static int tend_one(struct ward *w, uint64_t until_ms, struct steward_report *report, struct err *err)
{
	char reason[ERR_MSG_MAX + 32];
	uint64_t pushed = 0;
	int rc = charge_take_audit(&w->charge, err);

	if (rc == ST_BUSY)
		return 0;
	if (rc == 0)
		rc = charge_look(&w->charge, err);
	if (rc != 0)
		return rc;
	w->charge.queue.redis = w->charge.redis; /* it may just have been loaded */
	report->tended++;
	rc = audit_watch(&w->audit, err);
	if (rc == 0 && audit_is_due(&w->audit, clock_now_ms(clock_system()))) {
		rc = audit_run(&w->audit, &pushed, err);
		report->pushed += pushed;
		report->foreign += w->audit.foreign;
	}
	report->again = report->again || w->audit.more;
	if (rc == 0 && charge_runs(&w->charge) && !w->charge.at.scan_done)
		rc = finish_windows(&w->finisher, false, err);
	if (rc == 0 && charge_runs(&w->charge))
		rc = finish(w, until_ms, report, err);
	if (is_hopeless(rc, err) && !pg_sync_lost(w->charge.pg)) {
		snprintf(reason, sizeof(reason), "the sweep failed: %s", err->msg);
		return charge_pause(&w->charge, reason, err);
	}
	return rc == ST_LEASE_LOST || rc == ST_BUSY ? 0 : rc;
}

/* A server that is away is nobody's fault: all are tended again as soon as it is back. */
static void note_outcome(struct steward *s, struct ward *w, int rc)
{
	uint64_t wait_ms = (uint64_t)FAILED_MS << (w->failures < 5 ? w->failures : 5);

	if (rc == 0 || pg_sync_lost(s->pg) || redis_sync_lost(s->redis)) {
		w->failures = 0;
		return;
	}
	w->failures++;
	w->not_before = clock_now_ms(clock_system()) + (wait_ms < FAILED_MAX_MS ? wait_ms : FAILED_MAX_MS);
}

static int list(struct steward *s, PGresult **ret, struct err *err)
{
	const char *params[] = { s->who, s->only };
	int rc = connect_pg(s, err);

	if (rc == 0)
		rc = pg_exec(s->pg, SQL_TEND_LIST, 2, params, ret, err);
	if (rc == 0 && PQntuples(*ret) > 0)
		rc = connect_redis(s, err);
	return rc;
}

static void forget_others(struct steward *s)
{
	struct ward *w, *next;

	LL_FOREACH_SAFE(s->wards, w, next)
		if (!w->kept)
			ward_free(s, w);
}

/* Kept with each migration until its audit went well. One that is first seen later begins with an audit anyhow. */
static void spread_alarm(struct steward *s)
{
	struct ward *w;

	if (!s->alarmed)
		return;
	s->alarmed = 0;
	LL_FOREACH(s->wards, w)
		audit_alarm(&w->audit);
}

int steward_tend(struct steward *s, uint64_t budget_ms, struct steward_report *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	uint64_t until = clock_now_ms(clock_system()) + budget_ms;
	struct ward *w;
	int rc, first = 0, at = 0;

	memset(ret, 0, sizeof(*ret));
	spread_alarm(s);
	rc = list(s, &res, err);
	if (rc != 0)
		return rc;
	LL_FOREACH(s->wards, w)
		w->kept = false;
	for (; at < PQntuples(res) && !pg_sync_lost(s->pg) && !redis_sync_lost(s->redis); at++) {
		struct err why = ERR_INIT;

		w = find(s, (int)pg_i64(res, at, "id"));
		if (w == NULL)
			return err_set(err, ST_NOMEM, "out of memory");
		if (clock_now_ms(clock_system()) < w->not_before)
			continue;
		rc = tend_one(w, until, ret, &why);
		note_outcome(s, w, rc);
		if (rc != 0 && first == 0) {
			first = rc;
			if (err != NULL)
				*err = why;
			err_wrap(err, "migration '%s'", w->charge.name != NULL ? w->charge.name : "?");
		}
	}
	if (at == PQntuples(res))
		forget_others(s);
	return first;
}

void steward_retire(struct steward *s)
{
	const char *params[] = { s->who };
	int rc;

	if (s->pg == NULL || pg_sync_lost(s->pg) || s->wards == NULL)
		return;
	pg_sync_set_stop(s->pg, NULL);
	pg_sync_set_deadline_ms(s->pg, 1000);
	rc = pg_exec(s->pg, SQL_AUDIT_LEASE_DROP, 1, params, NULL, NULL);
	(void)rc; /* they run out by themselves */
	pg_sync_set_deadline_ms(s->pg, 0);
	pg_sync_set_stop(s->pg, s->stop);
}
