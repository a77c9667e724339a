/* The engine's waiting: for the lease, for servers that are away. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/text.h"
#include "pg/pg_error.h"
#include "pg/pg_sync.h"
#include "producer/engine_private.h"

#define TICK_MS 50

static int tick(struct engine *e, struct err *err)
{
	if (e->con->stop)
		return err_set(err, ST_INTERRUPTED, "interrupted");
	return e->o->tick != NULL ? e->o->tick(e->o->arg, err) : 0;
}

int engine_sleep(struct engine *e, uint64_t ms, struct err *err)
{
	for (;;) {
		uint64_t slice = ms < TICK_MS ? ms : TICK_MS;
		int rc = tick(e, err);

		if (rc != 0)
			return rc;
		if (ms == 0)
			return 0;
		if (clock_sleep_ms(slice, &e->con->stop) != 0)
			return err_set(err, ST_INTERRUPTED, "interrupted");
		ms -= slice;
		engine_show(e);
	}
}

/* ------------------------------------------------------------ the lease */

/* Names a process among all that may ever share a database: the host, its process id, and the id's namespace. */
static void name_self(char *out, size_t size)
{
	char host[64] = "";
	struct stat ns = { .st_ino = 0 };

	if (gethostname(host, sizeof(host) - 1) != 0)
		snprintf(host, sizeof(host), "unknown");
	if (stat("/proc/self/ns/pid", &ns) != 0)
		ns.st_ino = 0;
	snprintf(out, size, "%.63s:%d#%lu", host, (int)getpid(), (unsigned long)ns.st_ino);
}

/* A holder on this very machine that is no more: nobody needs to wait for its lease to run out. */
static bool is_dead(const char *holder)
{
	char self[CHARGE_WHO_MAX];
	const char *colon = strrchr(holder, ':'), *mark = strrchr(holder, '#'), *own;
	int pid;

	name_self(self, sizeof(self));
	own = strrchr(self, ':');
	if (colon == NULL || mark == NULL || mark < colon || colon - holder != own - self ||
	    strncmp(holder, self, (size_t)(colon - holder)) != 0 || strcmp(mark, strrchr(self, '#')) != 0 || strcmp(mark, "#0") == 0)
		return false;
	pid = (int)strtol(colon + 1, NULL, 10);
	return pid > 0 && (pid == (int)getpid() || kill(pid, 0) != 0);
}

int engine_lease(struct engine *e, struct err *err)
{
	char holder[CHARGE_WHO_MAX] = "", *mark;
	bool said = false;

	name_self(e->charge.who, sizeof(e->charge.who));
	for (;;) {
		struct err why = ERR_INIT;
		int64_t left_ms = 0;
		int rc = charge_take(&e->charge, is_dead(holder) ? holder : NULL, holder, &left_ms, &why);

		if (rc == ST_BUSY && !is_dead(holder)) {
			mark = strrchr(holder, '#');
			if (!said)
				engine_say(e, "'%s' is being produced by %.*s: waiting, to take over when it is gone", e->charge.name,
					   mark != NULL ? (int)(mark - holder) : (int)strlen(holder), holder);
			said = true;
			rc = engine_sleep(e, 500, &why);
		} else if (rc == ST_BUSY) {
			rc = engine_sleep(e, 0, &why); /* once more: this time its death is known */
		} else if (rc == 0) {
			if (said)
				engine_say(e, "taking over '%s'", e->charge.name);
			e->audit.due_ms = 0;
			return 0;
		} else {
			rc = engine_recover(e, &why);
		}
		if (rc != 0) {
			*err = why;
			return rc;
		}
	}
}

/* ------------------------------------------------------------ outages */

static int reconnect_pg(struct engine *e, struct err *err)
{
	for (;;) {
		struct err why = ERR_INIT;
		int rc = pg_sync_try_reopen(e->con->pg, &why);

		if (rc == 0) {
			outage_over(&e->pg_outage, engine_now());
			return 0;
		}
		/* It let us in before: what refuses us now (a password, say) can be mended while we wait. */
		if (rc != ST_INTERRUPTED && rc != ST_NOMEM)
			rc = engine_sleep(e, outage_failed(&e->pg_outage, engine_now(), why.msg), &why);
		if (rc != 0) {
			*err = why;
			return rc;
		}
	}
}

static int reconnect_redis(struct engine *e, struct err *err)
{
	for (;;) {
		struct err why = ERR_INIT;
		int rc = redis_sync_try_reopen(e->redis, &why);

		if (rc == 0) {
			outage_over(&e->redis_outage, engine_now());
			audit_alarm(&e->audit);
			return 0;
		}
		if (rc != ST_INTERRUPTED && rc != ST_NOMEM)
			rc = engine_sleep(e, outage_failed(&e->redis_outage, engine_now(), why.msg), &why);
		if (rc != 0) {
			*err = why;
			return rc;
		}
	}
}

int engine_recover(struct engine *e, struct err *why)
{
	bool pg = pg_sync_lost(e->con->pg), redis = e->redis != NULL && redis_sync_lost(e->redis);
	int rc = why->code;

	if (rc == ST_INTERRUPTED)
		return rc;
	if (pg || redis) {
		/* Said here, with what was lost; the first attempt may already succeed. */
		if (pg)
			outage_failed(&e->pg_outage, engine_now(), why->msg);
		rc = pg ? reconnect_pg(e, why) : 0;
		if (rc == 0 && redis)
			rc = reconnect_redis(e, why);
		e->charge.renewed_ms = 0; /* the lease may have run out meanwhile */
		e->looked_ms = 0;
		return rc;
	}
	/* Both answer, but not as they should: read-only after a failover, loading, out of memory. */
	if (pg_error_is_outage(why) && rc == ST_SQL)
		return engine_sleep(e, outage_failed(&e->pg_outage, engine_now(), why->msg), why);
	if (rc == ST_DISCONNECTED || rc == ST_TIMEOUT || rc == ST_REDIS) {
		audit_alarm(&e->audit);
		return engine_sleep(e, outage_failed(&e->redis_outage, engine_now(), why->msg), why);
	}
	return rc;
}
