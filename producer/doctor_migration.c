/*
 * doctor_migration.c - what a migration's own row, its settings and its ledger say: stopped by whom, scanned to its end, what sets the pace, what is
 * dead.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/doctor_private.h"
#include "sql.h"

static bool begins(const char *text, const char *with)
{
	return text != NULL && strncmp(text, with, strlen(with)) == 0;
}

int doctor_state(struct doctor *d, struct err *err)
{
	const struct standing *s = d->now;
	char advice[CONSOLE_ADVICE_MAX];

	(void)err;
	if (standing_is(s, "paused")) {
		console_advice(s->reason, s->name, advice, sizeof(advice));
		doctor_say(d, DOCTOR_ERROR, "paused by %.100s %s ago%s%.1000s", s->by != NULL ? s->by : "somebody",
			   text_human_duration((uint64_t)(s->state_s * 1000)).s, s->reason != NULL ? ": " : ", without a reason",
			   s->reason != NULL ? s->reason : "");
		if (begins(s->reason, "circuit breaker"))
			doctor_advise(
				d,
				"see what fails: drover failed %s --group; mend it; drover resume %s; then: drover retry all --migration %s",
				s->name, s->name, s->name);
		else
			doctor_advise(d, "%s", advice);
	} else if (standing_is(s, "cancelled")) {
		doctor_say(d, DOCTOR_NOTE, "cancelled by %.100s %s ago%s%.1000s", s->by != NULL ? s->by : "somebody",
			   text_human_duration((uint64_t)(s->state_s * 1000)).s, s->reason != NULL ? ": " : "",
			   s->reason != NULL ? s->reason : "");
		doctor_advise(d, "to take it up again: drover resume %s", s->name);
	} else if (standing_is(s, "limited")) {
		doctor_say(d, DOCTOR_NOTE, "it was tried out on so many rows as --limit said, and is not complete");
		doctor_advise(d, "to go on: drover produce %s --wait", s->name);
	} else if (doctor_runs(d) && !s->settings.is_enabled) {
		doctor_say(d, DOCTOR_ERROR, "switched off by the setting is_enabled");
		doctor_advise(d, "drover config %s is_enabled=on", s->name);
	}
	return 0;
}

int doctor_settings(struct doctor *d, struct err *err)
{
	const struct standing *s = d->now;
	struct settings ignored;
	struct err why = ERR_INIT;
	int rc;

	if (standing_over(s))
		return 0;
	rc = migrations_settings(d->con->pg, s->id, &ignored, &why);
	if (rc == ST_INPUT) {
		doctor_say(d, DOCTOR_ERROR, "its settings cannot be read: %s", why.msg);
		doctor_advise(d, "put what is wrong right: drover config %s KEY=VALUE (or KEY= to unset it)", s->name);
		return 0;
	}
	if (rc != 0) {
		*err = why;
		return rc;
	}
	if (doctor_runs(d) && d->deadlock_ms > 0 && s->settings.lock_timeout_ms >= (uint64_t)d->deadlock_ms) {
		doctor_say(d, DOCTOR_WARNING,
			   "lock_timeout_ms is %" PRIu64 ", not below the server's deadlock_timeout (%" PRId64
			   " ms): the application may lose deadlocks",
			   s->settings.lock_timeout_ms, d->deadlock_ms);
		doctor_advise(d, "drover config %s lock_timeout_ms=%" PRId64, s->name, d->deadlock_ms / 2);
	}
	return 0;
}

int doctor_scan(struct doctor *d, struct err *err)
{
	const struct standing *s = d->now;
	uint64_t jobs = queue_depth_jobs(&s->depth);

	(void)err;
	if (!doctor_runs(d) || s->scan_done)
		return 0;
	if (!s->producing) {
		doctor_say(d, DOCTOR_ERROR, "the table is not scanned to its end (%s rows so far), and no producer runs",
			   text_human_rows((uint64_t)s->scanned).s);
		doctor_advise(d, "drover produce %s --wait (or --detach)", s->name);
	} else if (s->depth_known && jobs >= s->settings.max_backlog) {
		doctor_say(d, DOCTOR_NOTE, "the scan waits: the backlog is full, with %s jobs", text_human_rows(jobs).s);
		doctor_advise(d, "more workers; a larger backlog (drover config %s max_backlog=N) makes nothing faster", s->name);
	}
	return 0;
}

/* Rows whose own error may pass, and that wait for it. */
static void say_retrying(struct doctor *d, const PGresult *res)
{
	int64_t next_s = pg_i64(res, 0, "next_s"), last_s = pg_i64(res, 0, "last_s");

	if (pg_i64(res, 0, "retrying") == 0)
		return;
	doctor_say(d, DOCTOR_NOTE, "%s row%s for the next attempt, the first for another %s, the last for another %s",
		   text_human_rows((uint64_t)pg_i64(res, 0, "retrying")).s, pg_i64(res, 0, "retrying") == 1 ? " waits" : "s wait",
		   text_human_duration((uint64_t)(next_s > 0 ? next_s : 0) * 1000).s,
		   text_human_duration((uint64_t)(last_s > 0 ? last_s : 0) * 1000).s);
	doctor_advise(d, "see their errors: drover failed %s --state retrying", d->now->name);
}

int doctor_progress(struct doctor *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	const struct standing *s = d->now;
	char id[16];
	const char *params[] = { id }, *last;
	int64_t idle_s = s->idle_s >= 0 && s->idle_s < (int64_t)s->state_s ? s->idle_s : (int64_t)s->state_s;
	int rc;

	if (!doctor_has_work(d))
		return 0;
	snprintf(id, sizeof(id), "%d", s->id);
	rc = pg_exec(d->con->pg, SQL_DOCTOR_JOBS, 1, params, &res, err);
	if (rc != 0)
		return rc;
	say_retrying(d, res);
	last = pg_opt(res, 0, "last_error");
	if (s->workers_able == 0 || !s->settings.is_enabled || s->incomplete == 0 || !doctor_runs(d) || idle_s < STANDING_STALLED_S)
		return 0;
	doctor_say(d, DOCTOR_ERROR,
		   "nothing was committed for %s though %" PRId64 " workers could: %" PRId64 " of their %" PRId64 " lanes are at it%s%s",
		   text_human_duration((uint64_t)idle_s * 1000).s, s->workers_able, s->lanes_busy, s->lanes_able,
		   last != NULL ? "; the last error: " : "", last != NULL ? last : "");
	doctor_advise(
		d,
		"see what each lane is at, and for how long: drover workers; statements that run into their time-out: drover config %s batch_size=500",
		s->name);
	return 0;
}

/* Which limit each signal of the throttle has. */
static const struct {
	const char *signal;
	enum setting_id limit;
} limits[] = {
	{ "slow", SETTING_THROTTLE_SLOWDOWN },     { "locks", SETTING_THROTTLE_LOCK_WAITS },   { "traffic", SETTING_THROTTLE_SESSIONS },
	{ "active", SETTING_THROTTLE_ACTIVE },     { "lag", SETTING_THROTTLE_LAG_MS },         { "lag", SETTING_THROTTLE_LAG_MB },
	{ "slot", SETTING_THROTTLE_SLOT_MB },      { "archive", SETTING_THROTTLE_ARCHIVE_MB }, { "vacuum", SETTING_THROTTLE_VACUUM },
	{ "dead", SETTING_THROTTLE_DEAD_PERCENT },
};

static void say_throttle(struct doctor *d)
{
	const struct standing *s = d->now;
	CLEANUP(buf_free) struct buf limit = BUF_INIT(400);

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		if (s->signal == NULL || strcmp(s->signal, limits[i].signal) != 0)
			continue;
		buf_printf(&limit, "%s%s=", limit.len > 0 ? ", " : " (limit: ", setting_table[limits[i].limit].name);
		settings_print(&s->settings, limits[i].limit, &limit);
	}
	doctor_say(d, begins(s->signal, "vacuum") || s->held_s < 600 ? DOCTOR_NOTE : DOCTOR_WARNING,
		   "gives way to others for %s: %.400s%s%s", text_human_duration((uint64_t)(s->held_s * 1000)).s,
		   s->held_by != NULL ? s->held_by : "the reason is not known", limit.data, limit.len > 0 ? ")" : "");
	doctor_advise(d,
		      "mend the cause, raise that limit (drover config %s KEY=VALUE), or give way to nobody: drover config %s throttle=off",
		      s->name, s->name);
}

int doctor_pace(struct doctor *d, struct err *err)
{
	const struct standing *s = d->now;
	const struct settings *c = &s->settings;
	CLEANUP(buf_free) struct buf bound = BUF_INIT(1000);

	(void)err;
	if (!doctor_runs(d))
		return 0;
	if (s->rung > 0 && c->throttle)
		say_throttle(d);
	if (s->unseen != NULL && c->throttle) {
		doctor_say(d, DOCTOR_WARNING, "the workers cannot see all that they should give way to: %.500s", s->unseen);
		doctor_advise(d, "GRANT pg_monitor TO the workers' role");
	}
	if (c->max_rows_per_s > 0) {
		doctor_say(d, DOCTOR_NOTE, "it may change %" PRIu64 " rows per second at most, by the setting max_rows_per_s",
			   c->max_rows_per_s);
		doctor_advise(d, "drover config %s max_rows_per_s=N (0: no limit)", s->name);
	}
	if (c->max_lanes > 0 && (int64_t)c->max_lanes < s->lanes_able) {
		doctor_say(d, DOCTOR_NOTE, "it may use %" PRIu64 " of the fleet's %" PRId64 " lanes, by the setting max_lanes",
			   c->max_lanes, s->lanes_able);
		doctor_advise(d, "drover config %s max_lanes=N (0: all)", s->name);
	}
	if (c->processing_interval_ms > 0) {
		doctor_say(d, DOCTOR_NOTE, "each lane pauses %s after each transaction, by the setting processing_interval_ms",
			   text_human_duration(c->processing_interval_ms).s);
		doctor_advise(d, "drover config %s processing_interval_ms=0", s->name);
	}
	if (s->bound == BOUND_SCAN || s->bound == BOUND_POSTGRES || s->bound == BOUND_WORKERS) {
		bound_say(s->bound, s, &d->fleet.server, &bound);
		doctor_say(d, DOCTOR_NOTE, "%s", bound.data);
	}
	return 0;
}

int doctor_dead(struct doctor *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	const struct standing *s = d->now;
	bool cancelled = standing_is(s, "cancelled");
	char id[16];
	const char *params[] = { id };
	int rc;

	if (s->dead == 0)
		return 0;
	snprintf(id, sizeof(id), "%d", s->id);
	rc = pg_exec(d->con->pg, SQL_DOCTOR_DEAD, 1, params, &res, err);
	if (rc != 0 || PQntuples(res) == 0)
		return rc;
	doctor_say(d, cancelled ? DOCTOR_NOTE : DOCTOR_ERROR,
		   "%s dead letter%s: rows that could not be migrated; %s of one kind: %s%s%.100s: %.200s",
		   text_human_rows((uint64_t)s->dead).s, text_s((uint64_t)s->dead), text_human_rows((uint64_t)pg_i64(res, 0, "n")).s,
		   pg_str(res, 0, "sqlstate"), pg_null(res, 0, "constraint_name") ? "" : " ", pg_str(res, 0, "constraint_name"),
		   pg_str(res, 0, "message"));
	if (cancelled)
		doctor_advise(d, "they stay while it is cancelled; to be rid of them: drover flush --migration %s", s->name);
	else
		doctor_advise(d, "drover failed show %s; mend the data or the rule; then: drover retry all --migration %s",
			      pg_str(res, 0, "id"), s->name);
	return 0;
}
