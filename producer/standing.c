#include "producer/standing.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "sql.h"

/* ------------------------------------------------------------ reading */

void fleet_count(struct fleet *f, const PGresult *workers)
{
	for (int i = 0; i < PQntuples(workers); i++) {
		if (!pg_bool(workers, i, "alive"))
			continue;
		f->alive++;
		if (strcmp(pg_str(workers, i, "state"), "running") != 0)
			continue;
		f->working++;
		f->lanes += (unsigned)pg_i64(workers, i, "lanes");
		f->busy += (unsigned)pg_i64(workers, i, "busy");
	}
}

int fleet_read(struct console *con, const struct cli_call *call, struct fleet *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct fleet f = { .redis_asked = console_redis_url(call) != NULL, .server = ret->server };
	struct err redis = ERR_INIT;
	int rc = migrations_workers(con->pg, &res, err);

	if (rc != 0)
		return rc;
	fleet_count(&f, res);
	rc = f.redis_asked ? console_redis(con, call, &redis) : 0;
	/* A URL that says nothing is no outage. */
	if (rc == ST_INTERRUPTED || rc == ST_INPUT)
		return err_set(err, rc, "%s", redis.msg);
	if (rc != 0)
		snprintf(f.redis, sizeof(f.redis), "%.299s", redis.msg);
	*ret = f;
	return 0;
}

void standing_of_row(const PGresult *res, int row, struct standing *ret)
{
	*ret = (struct standing){
		.id = (int)pg_i64(res, row, "id"),
		.name = pg_str(res, row, "name"),
		.state = pg_str(res, row, "state"),
		.reason = pg_opt(res, row, "state_reason"),
		.by = pg_opt(res, row, "state_by"),
		.table = pg_str(res, row, "table_name"),
		.mode = pg_str(res, row, "mode"),
		.producer = pg_opt(res, row, "producer"),
		.ledger_only = pg_bool(res, row, "ledger_only"),
		.producing = pg_bool(res, row, "producing"),
		.scan_done = !pg_null(res, row, "scan_done_at"),
		.sweep_waits = pg_bool(res, row, "sweep_waits"),
		.limited = !pg_null(res, row, "row_limit"),
		.scanned = pg_i64(res, row, "rows_scanned"),
		.found = pg_i64(res, row, "rows_found"),
		.changed = pg_i64(res, row, "rows_changed"),
		.skipped = pg_i64(res, row, "rows_skipped"),
		.finished = pg_i64(res, row, "rows_finished"),
		.expected = pg_i64(res, row, "rows_expected"),
		.dead = pg_i64(res, row, "dead"),
		.waiting = pg_i64(res, row, "waiting"),
		.ignored = pg_i64(res, row, "ignored"),
		.incomplete = pg_i64(res, row, "incomplete"),
		.workers_may = pg_i64(res, row, "workers_may"),
		.workers_able = pg_i64(res, row, "workers_able"),
		.lanes_able = pg_i64(res, row, "lanes_able"),
		.lanes_busy = pg_i64(res, row, "lanes_busy"),
		.sweep = (int)pg_i64(res, row, "sweep"),
		.sweep_stuck = (int)pg_i64(res, row, "sweep_stuck"),
		.share = pg_null(res, row, "share") ? -1 : pg_f64(res, row, "share"),
		.rung = (int)pg_i64(res, row, "rung"),
		.state_s = pg_f64(res, row, "state_s"),
		.held_s = pg_null(res, row, "held_s") ? 0 : pg_f64(res, row, "held_s"),
		.signal = pg_opt(res, row, "signal"),
		.held_by = pg_opt(res, row, "detail"),
		.held_since = pg_opt(res, row, "held_since"),
		.unseen = pg_opt(res, row, "unseen"),
		.idle_s = pg_null(res, row, "idle_s") ? -1 : (int64_t)pg_f64(res, row, "idle_s"),
		.idle_ms = pg_null(res, row, "idle_s") ? -1 : (int64_t)(pg_f64(res, row, "idle_s") * 1000),
		.rate_per_s = -1,
	};
	settings_defaults(&ret->settings);
}

static int look_at_locks(struct console *con, struct standing *s, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = pg_exec(con->pg, SQL_LOCKS_WAITING, 0, NULL, &res, err);

	if (rc != 0 || PQntuples(res) == 0 || pg_i64(res, 0, "waited_ms") < 100)
		return rc;
	snprintf(s->lock, sizeof(s->lock), "%s waits %s for a lock of pid %s (%s): %.150s", pg_str(res, 0, "lane"),
		 text_human_duration((uint64_t)pg_i64(res, 0, "waited_ms")).s, pg_str(res, 0, "blocker_pid"), pg_str(res, 0, "blocker"),
		 pg_str(res, 0, "blocker_query"));
	return 0;
}

void standing_say_transaction(const PGresult *res, char *out, size_t size)
{
	if (pg_null(res, 0, "open_s"))
		snprintf(out, size, "%s, since when is hidden", pg_str(res, 0, "whom"));
	else
		snprintf(out, size, "%s, open for %s", pg_str(res, 0, "whom"),
			 text_human_duration((uint64_t)(pg_i64(res, 0, "open_s") * 1000)).s);
}

static int look_at_transactions(struct console *con, struct standing *s, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = pg_exec(con->pg, SQL_OLDEST_TRANSACTION, 0, NULL, &res, err);

	if (rc != 0 || PQntuples(res) == 0)
		return rc;
	standing_say_transaction(res, s->blocker, sizeof(s->blocker));
	return 0;
}

static int look_at_queue(struct console *con, struct fleet *fleet, struct standing *s, struct err *err)
{
	struct err redis = ERR_INIT;
	struct queue queue;
	int rc;

	if (!fleet->redis_asked || fleet->redis[0] != '\0')
		return 0;
	queue_init(&queue, con->redis, con->schema.installation, s->id);
	rc = queue_depth(&queue, false, &s->depth, &redis);
	s->depth_known = rc == 0;
	if (rc == ST_INTERRUPTED)
		return err_set(err, rc, "%s", redis.msg);
	if (rc != 0)
		snprintf(fleet->redis, sizeof(fleet->redis), "%.299s", redis.msg);
	return 0;
}

int standing_look_closer(struct console *con, const struct cli_call *call, struct fleet *fleet, struct standing *s, struct err *err)
{
	int rc = migrations_settings(con->pg, s->id, &s->settings, err);

	(void)call;
	if (rc == ST_INPUT)
		rc = 0; /* they cannot be read, for which the migration is paused, and the reason says so */
	if (rc == 0)
		rc = look_at_queue(con, fleet, s, err);
	if (rc == 0 && standing_is(s, "running"))
		rc = look_at_locks(con, s, err);
	if (rc == 0 && standing_is(s, "running") && s->sweep_waits)
		rc = look_at_transactions(con, s, err);
	s->bound = bound_of(s, &fleet->server);
	return rc;
}

/* ------------------------------------------------------------ what it means */

bool standing_is(const struct standing *s, const char *state)
{
	return strcmp(s->state, state) == 0;
}

bool standing_over(const struct standing *s)
{
	return standing_is(s, "complete") || standing_is(s, "limited") || standing_is(s, "cancelled");
}

static void say(struct strvec *out, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(struct strvec *out, const char *fmt, ...)
{
	char text[1400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strvec_push(out, text);
}

static void say_stopped(const struct standing *s, struct strvec *out)
{
	bool paused = standing_is(s, "paused");
	char advice[CONSOLE_ADVICE_MAX];

	if (!paused && !standing_is(s, "cancelled"))
		return;
	console_advice(paused ? s->reason : NULL, s->name, advice, sizeof(advice));
	say(out, "%s by %s%s%s; %s", s->state, s->by != NULL ? s->by : "somebody", s->reason != NULL ? ": " : "",
	    s->reason != NULL ? s->reason : "", advice);
}

/* Nothing moves, or will not for long. */
static void say_blocked(const struct standing *s, const struct fleet *f, struct strvec *out)
{
	bool work = s->incomplete > 0 || s->waiting > 0;

	if (!s->settings.is_enabled)
		say(out, "switched off by the setting is_enabled; to switch on: drover config %s is_enabled=on", s->name);
	if (f->redis[0] != '\0')
		say(out,
		    "Redis does not answer from here: %s; if the workers cannot reach it either, everything waits for it, and nothing is lost",
		    f->redis);
	if (!s->scan_done && !s->producing)
		say(out, "the table is not scanned to its end and no producer runs: drover produce %s", s->name);
	if (work && f->alive == 0)
		say(out, "no worker is alive: start some with drover-worker");
	else if (s->scan_done && f->alive == 0 && !s->producing)
		say(out, "no worker is alive to look for rows that turned up meanwhile: start one with drover-worker");
	else if (work && s->workers_may == 0)
		say(out, "none of the workers that are alive (%u) may or can work for it: drover workers says why", f->alive);
	else if (work && s->workers_able == 0)
		say(out, "no worker takes its jobs: %" PRId64 " %s paused, draining or waiting for a server", s->workers_may,
		    s->workers_may == 1 ? "is" : "are");
	if (s->lock[0] != '\0')
		say(out, "%s", s->lock);
	if (work && s->workers_able > 0 && s->settings.is_enabled && s->idle_s >= STANDING_STALLED_S)
		say(out, "nothing was committed for %s though workers are alive: look at their logs",
		    text_human_duration((uint64_t)s->idle_s * 1000).s);
}

/* It moves; what sets the pace. */
static void say_pace(const struct standing *s, const struct fleet *f, struct strvec *out)
{
	CLEANUP(buf_free) struct buf bound = BUF_INIT(1000);

	if (s->settings.processing_interval_ms > 0 && (s->incomplete > 0 || !s->scan_done))
		say(out, "each lane pauses %s after each transaction (setting processing_interval_ms)",
		    text_human_duration(s->settings.processing_interval_ms).s);
	if (s->rung > 0 && s->held_by != NULL && s->settings.throttle)
		say(out, "gives way to others for %s: %s; at full speed: drover config %s throttle=off",
		    text_human_duration((uint64_t)(s->held_s * 1000)).s, s->held_by, s->name);
	if (s->unseen != NULL && s->settings.throttle)
		say(out, "cannot see all that it should give way to: %s", s->unseen);
	bound_say(s->bound, s, &f->server, &bound);
	if (bound.len > 0)
		say(out, "%s", bound.data);
	if (s->sweep_waits && s->scan_done)
		say(out, "the last sweep waits for transactions that were open at the one before%s%s",
		    s->blocker[0] != '\0' ? "; the oldest: " : "", s->blocker);
	if (s->sweep_stuck >= 3)
		say(out, "the application still writes old rows: %d sweeps in a row found no fewer", s->sweep_stuck);
}

void standing_why(const struct standing *s, const struct fleet *f, struct strvec *out)
{
	say_stopped(s, out);
	if (standing_is(s, "running")) {
		say_blocked(s, f, out);
		say_pace(s, f, out);
	} else if (s->waiting > 0 && !standing_is(s, "cancelled") && f->alive == 0) {
		say(out, "no worker is alive for the replays: start some with drover-worker");
	}
	if (s->waiting > 0)
		say(out, "%s row%s for a replay or another attempt", text_human_rows((uint64_t)s->waiting).s,
		    s->waiting == 1 ? " waits" : "s wait");
	if (s->dead > 0)
		say(out, "%s dead letter%s: drover failed %s --group", text_human_rows((uint64_t)s->dead).s, text_s((uint64_t)s->dead),
		    s->name);
}
