/*
 * doctor_fleet.c - the workers: are there any, do they work, and if not for this migration, why not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/doctor_private.h"
#include "sql.h"
#include "version.h"

#define BESIDES 3 /* connections of a worker that are no lanes: one that asks, and those of two threads that come and go */

static void say_version(struct doctor *d, const PGresult *res, int row)
{
	const char *version = pg_str(res, row, "version");

	doctor_say(d, DOCTOR_NOTE, "the worker %.80s is of version %.40s, this program of %s", pg_str(res, row, "name"), version,
		   DROVER_VERSION);
	doctor_advise(d, "nothing has to be done during an upgrade; otherwise start it anew with this version: drover restart %.80s",
		      pg_str(res, row, "name"));
}

static void say_lost(struct doctor *d, const PGresult *res, int row)
{
	doctor_say(d, DOCTOR_WARNING, "the worker %.80s (%.80s, pid %s) was at work and has not been heard of for %s",
		   pg_str(res, row, "name"), pg_str(res, row, "host"), pg_str(res, row, "pid"),
		   text_human_duration((uint64_t)pg_i64(res, row, "silent_ms")).s);
	doctor_advise(d, "see why it died (its log, dmesg); what it held is taken over by others when its lease is over");
}

/* Workers of the wrong version, or without rights, are connected and wait: they cannot write down that they are there. */
static void say_mute(struct doctor *d, int64_t known)
{
	if (d->worker_sessions <= known)
		return;
	doctor_say(
		d, d->fleet.alive == 0 ? DOCTOR_ERROR : DOCTOR_WARNING,
		"%" PRId64
		" connections are of workers that cannot begin: of another version than the schema, without rights on it, or without Redis",
		d->worker_sessions - known);
	doctor_advise(d, "look for schema.unusable and server.away in their logs; the version of all should be %s", DROVER_VERSION);
}

int doctor_workers(struct doctor *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	bool other_version = false;
	int64_t sessions = 0; /* of those that are known, at most */
	int lost = 0, rc = migrations_workers(d->con->pg, &res, err);

	if (rc != 0)
		return rc;
	fleet_count(&d->fleet, res);
	for (int i = 0; i < PQntuples(res); i++) {
		bool alive = pg_bool(res, i, "alive");

		sessions += alive ? pg_i64(res, i, "lanes") + BESIDES : 0;
		if (!alive && pg_i64(res, i, "busy") > 0 && lost++ < 3)
			say_lost(d, res, i);
		if (alive && !other_version && strcmp(pg_str(res, i, "version"), DROVER_VERSION) != 0) {
			other_version = true;
			say_version(d, res, i);
		}
	}
	say_mute(d, sessions);
	return 0;
}

/* ------------------------------------------------------------ for one migration */

static void say_why_not(struct doctor *d, const PGresult *res)
{
	static const struct {
		const char *column, *what, *advice;
	} states[] = {
		{ "paused", "paused by a signal", "to each: kill -CONT PID (drover workers has host and pid), or start others" },
		{ "draining", "draining", "they end soon: see that their supervisor starts them anew, or start others: drover-worker" },
		{ "waiting", "waiting for Redis, or for connections of their lanes to PostgreSQL", "look for server.away in their logs" },
		{ "outdated", "of another version than the schema",
		  "start them anew with the version of the schema: drover restart, once it is in place" },
	};
	int64_t elsewhere = pg_i64(res, 0, "elsewhere"), cannot = pg_i64(res, 0, "cannot");

	if (cannot > 0) {
		doctor_say(d, DOCTOR_ERROR, "%" PRId64 " worker%s cannot read it (%.80s: %.200s)", cannot, text_s((uint64_t)cannot),
			   pg_str(res, 0, "who"), pg_str(res, 0, "why"));
		doctor_advise(
			d,
			"use workers of the version that registered it (%s?), or register the file again: drover pause %s; drover amend %s FILE; drover resume %s",
			DROVER_VERSION, d->now->name, d->now->name, d->now->name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		int64_t n = pg_i64(res, 0, states[i].column);

		if (n == 0)
			continue;
		doctor_say(d, DOCTOR_ERROR, "no worker takes its jobs: %" PRId64 " %s %s", n, n == 1 ? "is" : "are", states[i].what);
		doctor_advise(d, "%s", states[i].advice);
	}
	if (elsewhere > 0 && d->now->workers_may == 0 && cannot == 0) {
		doctor_say(d, DOCTOR_ERROR,
			   "none of the workers that are alive (%" PRId64 ") may work for it: they are for other migrations (--migration)",
			   elsewhere);
		doctor_advise(d, "drover-worker --migration %s", d->now->name);
	}
}

int doctor_workers_of(struct doctor *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	const struct standing *s = d->now;
	const char *params[] = { s->name };
	int rc;

	if (d->fleet.alive == 0) {
		if (doctor_has_work(d) || (doctor_runs(d) && s->scan_done && !s->producing)) {
			doctor_say(d, DOCTOR_ERROR, "no worker is alive%s",
				   s->waiting > 0 && !doctor_runs(d) ? " for the replays" :
				   s->incomplete > 0                 ? "" :
								       " to look for rows that turned up meanwhile");
			doctor_advise(d, "start some: drover-worker (with the DATABASE_URL and REDIS_URL of this command)");
		}
		return 0;
	}
	if ((!doctor_has_work(d) && !doctor_runs(d)) || (s->workers_able > 0 && s->workers_may == (int64_t)d->fleet.alive))
		return 0;
	rc = pg_exec(d->con->pg, SQL_DOCTOR_WORKERS, 1, params, &res, err);
	if (rc != 0)
		return rc;
	if (s->workers_able == 0) {
		say_why_not(d, res);
	} else if (pg_i64(res, 0, "cannot") > 0) {
		doctor_say(d, DOCTOR_WARNING, "%s of the workers cannot read it (%.80s: %.200s); the others work on it",
			   pg_str(res, 0, "cannot"), pg_str(res, 0, "who"), pg_str(res, 0, "why"));
		doctor_advise(d, "start those anew with version %s: drover restart %.80s", DROVER_VERSION, pg_str(res, 0, "who"));
	}
	return 0;
}
