#include "producer/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/failpoint.h"
#include "ledger/migrations.h"
#include "pg/pg_error.h"
#include "pg/pg_status.h"
#include "pg/pg_sync.h"
#include "producer/engine_private.h"
#include "queue/bell.h"
#include "sql.h"

#define LOOK_MS 400     /* how soon a pause, a cancel, a setting or a flushed Redis is seen */
#define SOON_MS 20      /* the same while the workers are about to see who else is at work ... */
#define CAREFUL_MS 1000 /* ... for so long */
#define SCAN_REST 3     /* after a window, while the fleet gives way: in times of what it took */
#define REST_MS 200     /* between looks for the end, while it gives way */
#define DEPTH_MS 15     /* between looks at the backlog while it is too high */
#define BYTES_MS 1000   /* between looks at its memory */
#define BUSY_MS 500     /* after a lock or a cancelled statement */

/* ------------------------------------------------------------ looking */

static int look(struct engine *e, struct err *err)
{
	int rc = charge_renew(&e->charge, err);

	if (rc == 0)
		rc = charge_look(&e->charge, err);
	if (rc == 0)
		rc = audit_watch(&e->audit, err);
	e->looked_ms = engine_now();
	return rc;
}

/* The ms until the next look is due, of looks that are @every_ms apart; 0: it is. */
static uint64_t look_in(const struct engine *e, uint64_t every_ms)
{
	uint64_t since = engine_now() - e->looked_ms;

	return since < every_ms ? every_ms - since : 0;
}

static bool is_careful(const struct engine *e)
{
	return engine_now() < e->charge.careful_until_ms && charge_gives_way(&e->charge);
}

static uint64_t max_jobs(const struct engine *e)
{
	return e->o->max_backlog > 0 ? e->o->max_backlog : e->charge.at.settings.max_backlog;
}

/* How many jobs may be pushed now. Asks Redis when the answer may have changed: bytes now and then, the number whenever it is near the mark. */
static int room(struct engine *e, uint64_t *ret, struct err *err)
{
	uint64_t now = engine_now(), mark = max_jobs(e);
	bool bytes = now - e->depth_ms >= BYTES_MS;
	struct queue_depth depth;
	int rc;

	if (bytes || e->water.ebbing || e->jobs * 4 >= mark * 3 || e->bytes >= QUEUE_BYTES_MAX / 2) {
		rc = queue_depth(&e->charge.queue, bytes || e->bytes >= QUEUE_BYTES_MAX / 2, &depth, err);
		if (rc != 0)
			return rc;
		e->jobs = queue_depth_jobs(&depth);
		if (bytes || e->bytes >= QUEUE_BYTES_MAX / 2) {
			e->bytes = depth.bytes;
			e->depth_ms = now;
		}
	}
	*ret = water_room(&e->water, e->jobs, e->bytes, mark, QUEUE_BYTES_MAX);
	return 0;
}

/* ------------------------------------------------------------ one turn */

static int scan(struct engine *e, uint64_t *ret_sleep_ms, struct err *err)
{
	uint64_t jobs, rest, before = e->scan.push.pushed, began_ms = engine_now();
	int rc = room(e, &jobs, err);

	if (rc != 0)
		return rc;
	if (jobs == 0) {
		snprintf(e->note, sizeof(e->note), "backlog full: the workers catch up");
		*ret_sleep_ms = DEPTH_MS;
		return 0;
	}
	e->note[0] = '\0';
	rc = scan_step(&e->scan, jobs, err);
	e->jobs += e->scan.push.pushed - before;
	e->bytes += e->scan.pushed_bytes;
	if (rc != 0) {
		if (e->scan.committed)
			audit_alarm(&e->audit);
		return rc;
	}
	audit_pushed(&e->audit, e->charge.at.push_seq);
	rest = SCAN_REST * (engine_now() - began_ms) + 1;
	/* It is one at work more, beside the fleet's lane. */
	if (charge_gives_way(&e->charge) && !e->scan.through)
		*ret_sleep_ms = rest < LOOK_MS ? rest : LOOK_MS;
	return 0;
}

static int sweep(struct engine *e, uint64_t *ret_sleep_ms, bool *ret_end, struct err *err)
{
	enum finish what = FINISH_WORKING;
	uint64_t jobs, due_ms, before = e->finisher.pushed;
	int rc = room(e, &jobs, err);

	if (rc == 0)
		rc = finish_step(&e->finisher, jobs, &what, err);
	e->jobs += e->finisher.pushed - before;
	if (rc != 0) {
		if (e->finisher.sweep.committed)
			audit_alarm(&e->audit);
		return rc;
	}
	e->note[0] = '\0';
	*ret_sleep_ms = charge_gives_way(&e->charge) && e->finisher.idle_ms < REST_MS ? REST_MS : e->finisher.idle_ms;
	due_ms = look_in(e, LOOK_MS);
	*ret_sleep_ms = *ret_sleep_ms < due_ms ? *ret_sleep_ms : due_ms;
	switch (what) {
	case FINISH_SWEPT:
		audit_pushed(&e->audit, e->charge.at.push_seq);
		snprintf(e->note, sizeof(e->note), "sweep %" PRId64 ": looking for rows that turned up meanwhile", e->charge.at.sweep);
		*ret_sleep_ms = 0;
		break;
	case FINISH_XMIN:
		rc = engine_find_blocker(e, err);
		snprintf(e->note, sizeof(e->note), "waiting for the end of %.120s",
			 e->blocker[0] != '\0' ? e->blocker : "older transactions");
		break;
	case FINISH_WORKING:
		if (e->finisher.waiting && e->finisher.foresight.left == 0)
			snprintf(e->note, sizeof(e->note), "rows are waiting for their next attempt");
		break;
	case FINISH_STUCK_:
		e->result->end = ENGINE_OLD_WRITES;
		*ret_end = true;
		break;
	case FINISH_DONE:
		e->looked_ms = 0; /* the next look sees the end */
		*ret_sleep_ms = 0;
		break;
	case FINISH_PAUSING:
	case FINISH_SCANNING:
	case FINISH_STOPPED:
		break;
	}
	return rc;
}

static int audit(struct engine *e, struct err *err)
{
	uint64_t pushed = 0;
	int rc = audit_run(&e->audit, &pushed, err);

	e->jobs += pushed;
	e->result->refilled += (int64_t)pushed;
	if (rc == 0 && pushed > 0)
		engine_note(e, "pushed %" PRIu64 " job%s again that Redis did not have", pushed, pushed == 1 ? "" : "s");
	return rc;
}

/* It does not run: is that the end of it? */
static bool stopped(struct engine *e, uint64_t *ret_sleep_ms)
{
	const struct charge_state *at = &e->charge.at;
	struct engine_result *r = e->result;
	char advice[CONSOLE_ADVICE_MAX];

	snprintf(r->reason, sizeof(r->reason), "%s", at->reason[0] != '\0' ? at->reason : "no reason given");
	if (strcmp(at->state, "complete") == 0 || strcmp(at->state, "limited") == 0) {
		r->end = at->state[0] == 'c' ? ENGINE_COMPLETE : ENGINE_LIMITED;
		return true;
	}
	if (strcmp(at->state, "cancelled") == 0) {
		r->end = ENGINE_CANCELLED;
		return true;
	}
	if (e->o->end_when_paused) {
		r->end = ENGINE_PAUSED;
		return true;
	}
	snprintf(e->note, sizeof(e->note), "paused: `drover resume` goes on");
	console_advice(r->reason, e->charge.name, advice, sizeof(advice));
	engine_say_once(e, "'%s' is paused by %s: %s; waiting; %s", e->charge.name, at->by, r->reason, advice);
	*ret_sleep_ms = LOOK_MS;
	return false;
}

/* Of a finished migration, whose dead letters are on their way again: their replays are jobs as any others, and --wait waits for them. */
static bool replays(const struct engine *e)
{
	const char *state = e->charge.at.state;

	return e->o->wait && e->waiting > 0 && (strcmp(state, "complete") == 0 || strcmp(state, "limited") == 0);
}

static int turn(struct engine *e, uint64_t *ret_sleep_ms, bool *ret_end, struct err *err)
{
	int rc = 0;

	*ret_sleep_ms = 0;
	if (look_in(e, is_careful(e) ? SOON_MS : LOOK_MS) == 0)
		rc = look(e, err);
	if (rc == 0)
		rc = engine_count(e, false, err);
	if (rc != 0)
		return rc;
	if (!charge_runs(&e->charge) && !replays(e)) {
		*ret_end = stopped(e, ret_sleep_ms);
		return 0;
	}
	e->said[0] = '\0';
	if (audit_is_due(&e->audit, engine_now())) {
		rc = audit(e, err);
		if (rc != 0)
			return rc;
	}
	if (!charge_runs(&e->charge)) {
		snprintf(e->note, sizeof(e->note), "dead letters wait for their replay");
		*ret_sleep_ms = LOOK_MS;
		return 0;
	}
	if (!e->charge.at.scan_done) {
		rc = finish_windows(&e->finisher, false, err);
		return rc == 0 ? scan(e, ret_sleep_ms, err) : rc;
	}
	if (!e->o->wait) {
		e->result->end = e->charge.at.row_limit > 0 ? ENGINE_LIMITED : ENGINE_SCANNED;
		/* An alarm means that something may be missing in Redis: stay for the audit after it. */
		*ret_end = e->audit.due_ms != 0;
		return 0;
	}
	return sweep(e, ret_sleep_ms, ret_end, err);
}

/* ------------------------------------------------------------ the loop */

/* The predicate or the table is not what it was: more tries change nothing until an operator did. */
static int pause_wrong(struct engine *e, struct err *why)
{
	char reason[ERR_MSG_MAX + 32];
	struct err second = ERR_INIT;
	int rc;

	snprintf(reason, sizeof(reason), "the scan failed: %s", why->msg);
	rc = charge_pause(&e->charge, reason, &second);
	if (rc != 0) {
		*why = second;
		return rc;
	}
	e->looked_ms = 0;
	return 0;
}

/* After an error of a turn: 0 to go on. */
static int judge(struct engine *e, struct err *why)
{
	int rc;

	switch (why->code) {
	case ST_LEASE_LOST:
		/* Paused, amended, or taken over: a look tells; whoever lost the lease stands in line for it again. */
		e->looked_ms = 0;
		e->charge.renewed_ms = 0;
		rc = charge_renew(&e->charge, why);
		if (rc == ST_LEASE_LOST)
			rc = engine_lease(e, why);
		return rc == 0 ? charge_look(&e->charge, why) : engine_recover(e, why);
	case ST_BUSY:
		snprintf(e->note, sizeof(e->note), "%.150s", why->msg);
		return engine_sleep(e, BUSY_MS, why);
	case ST_REFUSED:
		return pg_sync_lost(e->con->pg) ? engine_recover(e, why) : pause_wrong(e, why);
	case ST_SQL:
		/* Out of disk or memory, or corrupt: as a worker would, rather than try on and on. */
		if (pg_classify(why->sqlstate, why->msg) == PG_CLASS_SERVER)
			return pause_wrong(e, why);
		return engine_recover(e, why);
	default:
		return engine_recover(e, why);
	}
}

static int loop(struct engine *e, struct err *err)
{
	bool end = false;

	while (!end) {
		struct err why = ERR_INIT;
		uint64_t sleep_ms = 0;
		int rc = turn(e, &sleep_ms, &end, &why);

		if (rc != 0) {
			rc = judge(e, &why);
		} else { /* both servers answer: what was away is back */
			outage_over(&e->pg_outage, engine_now());
			outage_over(&e->redis_outage, engine_now());
		}
		if (rc == 0 && !end)
			rc = engine_sleep(e, sleep_ms, &why);
		if (rc != 0) {
			if (err != NULL)
				*err = why;
			return rc;
		}
		engine_show(e);
	}
	return 0;
}

static int begin(struct engine *e, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16], epoch[24], limit[24], batch[24];
	const char *params[] = { id, epoch, e->o->row_limit > 0 ? limit : NULL, e->o->batch_size > 0 ? batch : NULL };
	const struct migrations_actor who = { .name = e->con->actor };
	const char *sweep[] = { id, epoch, e->charge.who };
	bool complete, reopen;
	int rc;

	snprintf(id, sizeof(id), "%d", e->charge.id);
	snprintf(epoch, sizeof(epoch), "%" PRId64, e->charge.epoch);
	snprintf(limit, sizeof(limit), "%" PRId64, e->o->row_limit);
	snprintf(batch, sizeof(batch), "%" PRId64, e->o->batch_size);
	rc = pg_exec(e->con->pg, SQL_PRODUCE_BEGIN, 4, params, &res, err);
	if (rc == 0 && PQntuples(res) == 0)
		rc = err_set(err, ST_LEASE_LOST, "another took over");
	if (rc != 0)
		return rc;
	complete = strcmp(pg_str(res, 0, "state"), "complete") == 0;
	reopen = strcmp(pg_str(res, 0, "state"), "limited") == 0 || (complete && e->o->look_again && !e->charge.ledger_only);
	if (reopen)
		rc = migrations_move(e->con->pg, e->charge.id, "{limited,complete}", "running", &who, "produced again", NULL, err);
	if (rc == 0 && reopen && complete) {
		engine_note(e, "'%s' was complete: looking again for rows that turned up since", e->charge.name);
		rc = pg_exec(e->con->pg, SQL_SWEEP_BEGIN, 3, sweep, NULL, err);
	}
	return rc == 0 ? look(e, err) : rc;
}

/* Everything up to the first turn, as often as a server goes away under it. */
static int start(struct engine *e, struct err *err)
{
	for (;;) {
		struct err why = ERR_INIT;
		int rc = charge_look(&e->charge, &why);

		if (rc == 0)
			rc = engine_lease(e, &why);
		FAILPOINT(producer_leased);
		if (rc == 0)
			rc = begin(e, &why);
		if (rc == 0) {
			e->charge.careful_until_ms = engine_now() + CAREFUL_MS;
			bell_ring(e->redis, e->con->schema.installation);
			return 0;
		}
		rc = judge(e, &why);
		if (rc != 0) {
			*err = why;
			return rc;
		}
	}
}

static void say_outage(void *arg, const char *line)
{
	engine_say(arg, "%s", line);
}

static int connect_redis(struct engine *e, struct err *err)
{
	CLEANUP(buf_free) struct buf warning = BUF_INIT(1024);

	for (;;) {
		struct err why = ERR_INIT;
		int rc = redis_sync_try_open(&e->redis, e->o->redis_url, &e->con->stop, &why);

		if (rc == 0)
			break;
		if (rc == ST_DISCONNECTED || rc == ST_TIMEOUT)
			rc = engine_sleep(e, outage_failed(&e->redis_outage, engine_now(), why.msg), &why);
		if (rc != 0) {
			*err = why;
			return rc;
		}
	}
	outage_over(&e->redis_outage, engine_now());
	if (redis_server_warning(redis_sync_server(e->redis), &warning))
		engine_say(e, "%s", warning.data);
	return 0;
}

static void sum_up(struct engine *e)
{
	struct engine_result *r = e->result;

	r->rows_scanned = e->charge.at.rows_scanned;
	r->rows_found = e->charge.at.rows_found;
	r->rows_changed = e->changed;
	r->rows_skipped = e->skipped;
	r->dead = e->dead;
	r->waiting = e->waiting;
	r->sweeps = e->charge.at.sweep;
	r->jobs_pushed = (int64_t)(e->scan.push.pushed + e->finisher.sweep.push.pushed) + r->refilled;
	r->elapsed_ms = engine_now() - e->began_ms;
	if (e->o->wait && r->elapsed_ms > 0)
		r->rate_per_s = (double)(e->changed - e->first_changed) * 1000 / (double)r->elapsed_ms;
}

int engine_run(struct console *con, const struct cli_call *call, const struct engine_options *o, struct engine_result *ret, struct err *err)
{
	struct engine e = { .con = con, .call = call, .o = o, .result = ret };
	int rc;

	memset(ret, 0, sizeof(*ret));
	e.began_ms = engine_now();
	outage_init(&e.pg_outage, "PostgreSQL", say_outage, &e);
	outage_init(&e.redis_outage, "Redis", say_outage, &e);
	progress_view_open(&e.view, call);
	charge_init(&e.charge, con->pg, NULL, "", o->migration_id, &con->stop);
	audit_init(&e.audit, &e.charge);
	rc = connect_redis(&e, err);
	e.charge.redis = e.redis;
	scan_init(&e.scan, &e.charge, false);
	finisher_init(&e.finisher, &e.charge);
	if (rc == 0)
		rc = start(&e, err);
	if (rc == 0) {
		progress_init(&e.progress, e.charge.name, engine_now());
		e.showing = true;
		rc = loop(&e, err);
	}
	if (rc == 0)
		rc = engine_count(&e, true, err);
	sum_up(&e);
	if (rc == 0)
		engine_show_end(&e);
	else
		progress_view_clear(&e.view);
	if (rc == ST_INTERRUPTED)
		err_set(err, rc, "interrupted; run it again, and it goes on where it was");
	charge_drop(&e.charge);
	finisher_close(&e.finisher);
	scan_close(&e.scan);
	charge_close(&e.charge);
	redis_sync_free(e.redis);
	return rc;
}
