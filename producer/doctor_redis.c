/*
 * doctor_redis.c - Redis: does it answer, may it drop or refuse jobs, is it the workers' own; and what lies in a migration's queue.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/text.h"
#include "job/keys.h"
#include "pg/pg_sync.h"
#include "producer/doctor_private.h"
#include "queue/queue.h"
#include "redis/redis_sync.h"

#define MEMORY_FULL 0.9
#define LEASE_OVER_MS 60000 /* leases are 12 s unless told otherwise: nobody takes these over */
#define OVER_MAX 100        /* entries looked at */
#define ALIVE_TRIES 6       /* looks at a worker's key that is not there, half a second apart: it is renewed every few seconds */

/* The number behind "name:" in INFO; 0 if it is not there. */
static uint64_t number_of(const char *info, const char *name)
{
	char line[64];
	const char *at;

	snprintf(line, sizeof(line), "\n%s:", name);
	at = strstr(info, line);
	return at != NULL ? strtoull(at + strlen(line), NULL, 10) : 0;
}

static bool says(const char *info, const char *line)
{
	return strstr(info, line) != NULL;
}

/* "" in answer to CONFIG GET save: no snapshots. A user without the right is not told: then nothing is said. */
static bool has_snapshots(struct doctor *d)
{
	redisReply *reply = NULL;
	bool has = true;

	if (redis_cmd(d->con->redis, &reply, NULL, "CONFIG GET save") != 0)
		return true;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[1]->type == REDIS_REPLY_STRING)
		has = reply->element[1]->len > 0;
	freeReplyObject(reply);
	return has;
}

static void say_memory(struct doctor *d, const char *info)
{
	uint64_t used = number_of(info, "used_memory"), most = number_of(info, "maxmemory");

	if (most == 0 || (double)used < MEMORY_FULL * (double)most)
		return;
	doctor_say(d, used >= most ? DOCTOR_ERROR : DOCTOR_WARNING, "Redis has used %s of the %s that it may: %s", text_human_bytes(used).s,
		   text_human_bytes(most).s, used >= most ? "it takes no more jobs" : "soon it takes no more jobs");
	doctor_advise(
		d,
		"more memory (redis-cli CONFIG SET maxmemory BYTES), fewer keys of others, or a smaller backlog: drover config max_backlog=N");
}

static int say_server(struct doctor *d, struct err *err)
{
	const struct redis_server *s = redis_sync_server(d->con->redis);
	redisReply *reply = NULL;
	int rc = redis_cmd(d->con->redis, &reply, err, "INFO");

	if (rc != 0)
		return rc;
	if (reply->type == REDIS_REPLY_STRING) {
		const char *info = reply->str;

		if (says(info, "\nrdb_last_bgsave_status:err")) {
			doctor_say(d, DOCTOR_ERROR,
				   "Redis cannot write its snapshot, and refuses jobs for that (stop-writes-on-bgsave-error)");
			doctor_advise(d, "make room on its disk, then: redis-cli BGSAVE");
		}
		say_memory(d, info);
		if (s->policy[0] != '\0' && strcmp(s->policy, "noeviction") != 0) {
			doctor_say(
				d, DOCTOR_WARNING,
				"Redis's maxmemory-policy is %s: when its memory is full it drops jobs, which are pushed again from the ledger, but slowly",
				s->policy);
			doctor_advise(d, "redis-cli CONFIG SET maxmemory-policy noeviction (and the same in redis.conf)");
		}
		if (says(info, "\naof_enabled:0") && !has_snapshots(d)) {
			doctor_say(
				d, DOCTOR_NOTE,
				"Redis keeps nothing on its disk: a restart empties it; nothing is lost, the jobs are pushed again from the ledger");
			doctor_advise(d, "if the wait for that matters: redis-cli CONFIG SET appendonly yes (and the same in redis.conf)");
		}
	}
	freeReplyObject(reply);
	return 0;
}

/* ------------------------------------------------------------ is it the workers'? */

static int is_alive_here(struct doctor *d, const char *worker, bool *ret, struct err *err)
{
	char key[JOB_KEY_NAME_MAX];
	int rc = 0;

	job_worker_key(key, d->con->schema.installation, worker);
	*ret = false;
	for (int i = 0; i < ALIVE_TRIES && rc == 0 && !*ret; i++) {
		redisReply *reply = NULL;

		rc = i > 0 ? clock_sleep_ms(500, &d->con->stop) : 0;
		if (rc != 0)
			return err_set(err, rc, "interrupted");
		rc = redis_cmd(d->con->redis, &reply, err, "EXISTS %s", key);
		if (rc == 0) {
			*ret = reply->type != REDIS_REPLY_INTEGER || reply->integer > 0;
			freeReplyObject(reply);
		}
	}
	return rc;
}

/* A worker that says it runs has a key in its Redis. Where it is not in this one, this one is another. */
static int say_stranger(struct doctor *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	bool here = true;
	int rc = migrations_workers(d->con->pg, &res, err);

	for (int i = 0; rc == 0 && i < PQntuples(res) && here; i++) {
		if (!pg_bool(res, i, "alive") || strcmp(pg_str(res, i, "state"), "running") != 0)
			continue;
		rc = is_alive_here(d, pg_str(res, i, "name"), &here, err);
		if (rc != 0 || here)
			continue;
		doctor_say(
			d, DOCTOR_ERROR,
			"the worker %.80s runs, but has no key in this Redis: it works with another one than this command (or its Redis belongs to another database)",
			pg_str(res, i, "name"));
		doctor_advise(
			d,
			"give REDIS_URL the same value here, where the producer runs, and for all workers; the jobs of this database begin with drover:{%s:",
			d->con->schema.installation);
	}
	return rc;
}

int doctor_redis(struct doctor *d, struct err *err)
{
	struct err why = ERR_INIT;
	int rc;

	if (console_redis_url(d->call) == NULL) {
		doctor_say(d, DOCTOR_NOTE, "REDIS_URL is not set, so that the jobs in Redis are not looked at");
		doctor_advise(d, "REDIS_URL=redis://HOST:PORT drover doctor");
		return 0;
	}
	d->fleet.redis_asked = true;
	rc = console_redis(d->con, d->call, &why);
	if (rc == 0)
		rc = say_server(d, &why);
	if (rc == 0 && d->con->pg != NULL && d->con->schema.installation[0] != '\0')
		rc = say_stranger(d, &why);
	if (rc == ST_INTERRUPTED || rc == ST_INPUT || rc == ST_USAGE || rc == ST_SQL)
		return err_set(err, rc, "%s", why.msg);
	if (rc != 0) {
		snprintf(d->fleet.redis, sizeof(d->fleet.redis), "%.299s", why.msg);
		doctor_say(d, DOCTOR_ERROR, "Redis does not answer from here: %s", why.msg);
		doctor_advise(
			d,
			"mend it or the way to it (REDIS_URL says where it is); all jobs wait for it and go on by themselves, nothing is lost");
	}
	return 0;
}

/* ------------------------------------------------------------ a migration's queue */

/* Jobs that a worker holds, and of which nobody has heard for long. */
static int say_leases(struct doctor *d, const struct queue *q, struct err *err)
{
	redisReply *reply = NULL;
	uint64_t idle_ms = 0;
	char who[80] = "";
	int rc = redis_cmd(d->con->redis, &reply, err, "XPENDING %s %s IDLE %d - + %d", q->keys.jobs, JOB_GROUP, LEASE_OVER_MS, OVER_MAX);

	if (rc == ST_REDIS)
		return 0; /* there is no group yet */
	if (rc != 0)
		return rc;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
		const redisReply *e = reply->element[i];

		if (e->type != REDIS_REPLY_ARRAY || e->elements < 3 || (uint64_t)e->element[2]->integer <= idle_ms)
			continue;
		idle_ms = (uint64_t)e->element[2]->integer;
		snprintf(who, sizeof(who), "%.79s", e->element[1]->type == REDIS_REPLY_STRING ? e->element[1]->str : "?");
	}
	if (idle_ms > 0) {
		doctor_say(d, DOCTOR_ERROR,
			   "%s%zu job%s leased to workers that do not renew their leases (%s, for %s), and no worker takes over",
			   reply->elements == OVER_MAX ? "at least " : "", reply->elements, reply->elements == 1 ? " is" : "s are", who,
			   text_human_duration(idle_ms).s);
		doctor_advise(d, "start a worker that may work for %s, or see why those that are alive do not take them: drover workers",
			      d->now->name);
	}
	freeReplyObject(reply);
	return 0;
}

/* When the first job of the delayed set is due, by Redis's own clock. */
static int say_delayed(struct doctor *d, const struct queue *q, struct err *err)
{
	redisReply *first = NULL, *time = NULL;
	int rc;

	if (d->now->depth.delayed == 0)
		return 0;
	rc = redis_cmd(d->con->redis, &first, err, "ZRANGE %s 0 0 WITHSCORES", q->keys.delayed);
	if (rc == 0)
		rc = redis_cmd(d->con->redis, &time, err, "TIME");
	if (rc == 0 && first->elements == 2 && time->elements == 2) {
		double due_ms = strtod(first->element[1]->str, NULL) - strtod(time->element[0]->str, NULL) * 1000;

		doctor_say(d, DOCTOR_NOTE, "%s job%s in Redis for the next attempt, the first for another %s",
			   text_human_rows(d->now->depth.delayed).s, d->now->depth.delayed == 1 ? " waits" : "s wait",
			   text_human_duration(due_ms > 0 && due_ms < 1e12 ? (uint64_t)due_ms : 0).s);
		doctor_advise(d, "nothing has to be done; the waits are the setting backoff: drover config %s backoff", d->now->name);
	}
	if (first != NULL)
		freeReplyObject(first);
	if (time != NULL)
		freeReplyObject(time);
	return rc;
}

int doctor_queue(struct doctor *d, struct err *err)
{
	struct err why = ERR_INIT;
	struct queue q;
	int rc = 0;

	if (!d->fleet.redis_asked || d->fleet.redis[0] != '\0' || !doctor_has_work(d))
		return 0;
	queue_init(&q, d->con->redis, d->con->schema.installation, d->now->id);
	rc = say_leases(d, &q, &why);
	if (rc == 0)
		rc = say_delayed(d, &q, &why);
	if (rc == 0 && doctor_runs(d) && d->now->depth_known && queue_depth_jobs(&d->now->depth) == 0 && d->now->incomplete > 0 &&
	    d->now->lanes_busy == 0) {
		doctor_say(
			d, DOCTOR_NOTE,
			"Redis has no job of this migration, of which %s batch%s not done: it has lost the jobs, or they are about to be pushed",
			text_human_rows((uint64_t)d->now->incomplete).s, d->now->incomplete == 1 ? " is" : "es are");
		doctor_advise(d, "nothing has to be done while a worker or a producer runs: it pushes them again within 20 s");
	}
	if (rc == ST_INTERRUPTED)
		return err_set(err, rc, "%s", why.msg);
	if (rc == ST_DISCONNECTED || rc == ST_TIMEOUT)
		snprintf(d->fleet.redis, sizeof(d->fleet.redis), "%.299s", why.msg);
	return 0;
}
