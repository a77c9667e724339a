#include "steward/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/failpoint.h"
#include "core/log.h"
#include "core/rng.h"
#include "pg/pg_array.h"
#include "queue/push.h"
#include "queue/walk.h"
#include "redis/redis_sync.h"
#include "sql.h"
#include "steward/seen.h"

#define PAGE 2000  /* rows of the ledger at a time */
#define LOST_MAX 3 /* times that rows of a window are pushed again: then it is not Redis that loses them, a trigger leaves them out, say */

static uint64_t now_ms(void)
{
	return clock_now_ms(clock_system());
}

void audit_init(struct audit *a, struct charge *c)
{
	memset(a, 0, sizeof(*a));
	a->charge = c;
	a->marker = -1;
}

void audit_alarm(struct audit *a)
{
	a->due_ms = 0;
	a->marker = -1;
}

int audit_watch(struct audit *a, struct err *err)
{
	const struct redis_server *server = redis_sync_server(a->charge->redis);
	CLEANUP(buf_free) struct buf mended = BUF_INIT(4096);
	int64_t marker = -1;
	int rc = queue_watch(&a->charge->queue, &marker, &mended, err);

	if (rc != 0)
		return rc;
	if (mended.len > 0) {
		log_warn("queue.mended", "migration=%s what='%s'", a->charge->name, mended.data);
		audit_alarm(a);
	}
	if (strcmp(a->run_id, server->run_id) != 0 || strcmp(a->replid, server->replid) != 0) {
		snprintf(a->run_id, sizeof(a->run_id), "%s", server->run_id);
		snprintf(a->replid, sizeof(a->replid), "%s", server->replid);
		audit_alarm(a);
	} else if (marker < a->marker) {
		audit_alarm(a);
	}
	return 0;
}

/* ------------------------------------------------------------ one audit */

struct run {
	struct charge *charge;
	struct seen seen;
	struct push push;
	char looked_at[48]; /* PostgreSQL's time before the walk */
	uint64_t grace_ms;
	int64_t push_seq;
	uint64_t missing;
	uint64_t waited; /* of these, replays that nothing had room for before */
};

static int see(void *arg, const struct job *job, struct err *err)
{
	struct run *r = arg;
	int rc = seen_add(&r->seen, job);

	return rc == 0 ? 0 : err_set(err, rc, "%s", status_text(rc));
}

/* Move the floor up and note the time, both before the walk. */
static int begin(struct run *r, struct err *err)
{
	struct charge *c = r->charge;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16], epoch[24];
	const char *params[] = { id, epoch, c->who };
	int rc;

	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(epoch, sizeof(epoch), "%" PRId64, c->epoch);
	rc = pg_exec(c->pg, SQL_AUDIT_FLOOR, 3, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_LEASE_LOST, "another took over");
	c->at.audit_floor = pg_i64(res, 0, "audit_floor");
	r->push_seq = pg_i64(res, 0, "push_seq");
	snprintf(r->looked_at, sizeof(r->looked_at), "%s", pg_str(res, 0, "looked_at"));
	return 0;
}

static int page(struct run *r, const char *sql, int64_t after, PGresult **ret, struct err *err)
{
	char id[16], above[24], grace[16], limit[16];
	const char *params[] = { id, above, r->looked_at, grace, limit };

	snprintf(id, sizeof(id), "%d", r->charge->id);
	snprintf(above, sizeof(above), "%" PRId64, after);
	snprintf(grace, sizeof(grace), "%" PRIu64, r->grace_ms);
	snprintf(limit, sizeof(limit), "%d", PAGE);
	return pg_exec(r->charge->pg, sql, 5, params, ret, err);
}

static int push_batch_again(struct run *r, int64_t number, bool listed, struct err *err)
{
	const struct job job = { .kind = JOB_BATCH, .number = number };

	if (seen_has(&r->seen, &job))
		return 0;
	r->missing++;
	return push_batch(&r->push, number, listed, err);
}

/* Rows of a window that are still to be done and were not seen. */
static int push_rows_again(struct run *r, int64_t number, const PGresult *res, bool *ret_too_long, struct err *err)
{
	unsigned columns = r->charge->columns;
	struct pg_array arrays[JOB_KEY_COLUMNS_MAX];
	struct buf items[JOB_KEY_COLUMNS_MAX];
	int rc = 0;

	for (unsigned k = 0; k < columns; k++)
		buf_init(&items[k], 1 << 20);
	for (unsigned k = 0; k < columns && rc == 0; k++)
		rc = pg_array_open(&arrays[k], PQgetisnull(res, 0, (int)k) ? NULL : PQgetvalue(res, 0, (int)k), &items[k], err);
	while (rc == 0) {
		struct job job = { .kind = JOB_ROW, .number = number, .columns = columns };
		const char *key[JOB_KEY_COLUMNS_MAX] = { NULL };
		int got = 1;

		for (unsigned k = 0; k < columns && got == 1; k++) {
			got = pg_array_next(&arrays[k], &key[k], err);
			if (got == 1 && key[k] != NULL)
				job.key[k] = (struct job_text){ key[k], strlen(key[k]) };
		}
		if (got <= 0) {
			rc = got;
			break;
		}
		if (seen_has(&r->seen, &job))
			continue;
		r->missing++;
		rc = push_row(&r->push, number, 0, key, columns, err);
		if (rc == ST_LIMIT) {
			*ret_too_long = true;
			rc = 0;
		}
	}
	for (unsigned k = 0; k < columns; k++)
		buf_free(&items[k]);
	return rc;
}

static int look_into_window(struct run *r, int64_t number, struct err *err)
{
	struct charge *c = r->charge;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char text[24];
	const char *params[] = { text, c->at.has_failed ? "true" : "false" };
	struct err why = ERR_INIT;
	uint64_t before = r->missing;
	bool as_batch = false, listed = false;
	int64_t times = 0;
	int rc;

	snprintf(text, sizeof(text), "%" PRId64, number);
	rc = charge_run(c, CHARGE_MISSING, true, 2, params, &res, &why);
	if (rc == 0) {
		pg_rollback(c->pg);
		rc = PQntuples(res) == 1 ? push_rows_again(r, number, res, &as_batch, &why) : 0;
	} else if (charge_raised(&why)) {
		as_batch = true;
		rc = 0;
	}
	if (rc == 0 && r->missing > before)
		rc = charge_window_lost(c, number, &times, &why);
	if (rc == 0 && (as_batch || times > LOST_MAX)) {
		rc = charge_window_to_batch(c, number, &listed, &why);
		if (rc == 1) {
			r->missing++;
			rc = push_batch(&r->push, number, listed, &why);
		}
	}
	if (rc != 0 && err != NULL)
		*err = why;
	return rc;
}

static int batches(struct run *r, struct err *err)
{
	int64_t after = r->charge->at.audit_floor - 1;

	for (;;) {
		CLEANUP(pg_result_freep) PGresult *res = NULL;
		int rc = page(r, SQL_AUDIT_BATCHES, after, &res, err);
		int n = rc == 0 ? PQntuples(res) : 0;

		for (int i = 0; i < n && rc == 0; i++) {
			after = pg_i64(res, i, "number");
			rc = pg_bool(res, i, "window") ? look_into_window(r, after, err) :
							 push_batch_again(r, after, pg_bool(res, i, "listed"), err);
		}
		if (rc != 0 || n < PAGE)
			return rc;
		if (r->charge->producer)
			rc = charge_renew(r->charge, err);
		if (rc != 0)
			return rc;
	}
}

/* `drover retry` may have queued any number of them, so they come as the backlog has room. */
static int replays(struct run *r, struct audit *a, struct err *err)
{
	const uint64_t most = r->charge->at.settings.max_backlog, before = r->missing;
	bool waited = a->more;
	int64_t after = 0;

	a->more = false;
	for (;;) {
		CLEANUP(pg_result_freep) PGresult *res = NULL;
		int rc = page(r, SQL_AUDIT_FAILED, after, &res, err);
		int n = rc == 0 ? PQntuples(res) : 0;

		for (int i = 0; i < n && rc == 0; i++) {
			const struct job job = { .kind = JOB_FAILED, .number = pg_i64(res, i, "id") };

			after = job.number;
			if (seen_has(&r->seen, &job))
				continue;
			a->more = r->seen.n + r->missing >= most;
			if (a->more)
				break;
			r->missing++;
			rc = push_failed(&r->push, after, (uint64_t)pg_i64(res, i, "delay_ms"), err);
		}
		if (waited || a->more)
			r->waited = r->missing - before;
		if (rc != 0 || n < PAGE || a->more)
			return rc;
	}
}

static int difference(struct audit *a, struct run *r, struct err *err)
{
	struct walk_counts counts = { 0 };
	int rc = queue_make_group(&a->charge->queue, err);

	if (rc == 0)
		rc = begin(r, err);
	FAILPOINT(audit_begun);
	if (rc == 0)
		rc = walk_jobs(&a->charge->queue, see, r, &counts, err);
	if (rc == ST_LIMIT) { /* Redis is full of jobs: whatever is missing can wait */
		a->crowded = true;
		return 0;
	}
	a->crowded = false;
	a->foreign = counts.foreign;
	seen_seal(&r->seen);
	FAILPOINT(audit_walked);
	if (rc == 0)
		rc = batches(r, err);
	if (rc == 0)
		rc = replays(r, a, err);
	if (rc == 0)
		rc = push_flush(&r->push, err);
	if (r->missing > 0)
		FAILPOINT(audit_pushed);
	if (rc == 0)
		rc = push_mark(&r->push, r->push_seq, err);
	return rc;
}

int audit_run(struct audit *a, uint64_t *ret_pushed, struct err *err)
{
	/* After a loss nobody's push is waited for: a job pushed twice does no harm. */
	struct run r = { .charge = a->charge, .grace_ms = a->due_ms == 0 ? 0 : AUDIT_GRACE_MS };
	struct rng rng;
	int rc;

	rng_seed_random(&rng);
	seen_init(&r.seen, rng_next(&rng), SEEN_MAX);
	push_init(&r.push, &a->charge->queue);
	rc = difference(a, &r, err);
	seen_free(&r.seen);
	push_close(&r.push);
	if (rc != 0)
		return rc;
	a->marker = r.push_seq;
	a->due_ms = now_ms() + (a->more ? AUDIT_MORE_MS : AUDIT_EVERY_MS);
	if (ret_pushed != NULL)
		*ret_pushed = r.missing - r.waited;
	return 0;
}
