/*
 * doctor_server.c - PostgreSQL as a whole: can it be written to, has it room for connections, what does it keep from us, who locks the ledger.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/doctor_private.h"
#include "sql.h"

#define CONNECTIONS_FULL 0.95

static void say_connections(struct doctor *d, const PGresult *res)
{
	int64_t used = pg_i64(res, 0, "connections"), most = pg_i64(res, 0, "connections_max");

	if ((double)used < CONNECTIONS_FULL * (double)most)
		return;
	doctor_say(d, DOCTOR_WARNING, "%" PRId64 " of the %" PRId64 " connections that PostgreSQL allows are in use: workers may find none",
		   used, most);
	doctor_advise(d, "fewer lanes (drover-worker --concurrency N), a pooler, or a higher max_connections");
}

/* By the throttle's limits as they are at first. The ledger is not asked: it may be locked. */
static void say_replication(struct doctor *d, const PGresult *res)
{
	struct settings s;

	settings_defaults(&s);
	if (s.throttle_lag_ms > 0 && pg_i64(res, 0, "lag_ms") > (int64_t)s.throttle_lag_ms) {
		doctor_say(d, DOCTOR_WARNING, "a standby or subscriber is %s behind",
			   text_human_duration((uint64_t)pg_i64(res, 0, "lag_ms")).s);
		doctor_advise(d, "see why it is slow; on the primary: SELECT * FROM pg_stat_replication");
	} else if (s.throttle_lag_mb > 0 && pg_i64(res, 0, "lag_mb") > (int64_t)s.throttle_lag_mb) {
		doctor_say(d, DOCTOR_WARNING, "a standby or subscriber has %" PRId64 " MB of WAL to replay", pg_i64(res, 0, "lag_mb"));
		doctor_advise(d, "see why it is slow; on the primary: SELECT * FROM pg_stat_replication");
	}
	if (s.throttle_slot_mb > 0 && pg_i64(res, 0, "slot_mb") > (int64_t)s.throttle_slot_mb) {
		doctor_say(d, DOCTOR_WARNING, "the replication slot %s keeps %" PRId64 " MB of WAL on the server's disk",
			   pg_str(res, 0, "slot"), pg_i64(res, 0, "slot_mb"));
		doctor_advise(d, "start who reads it, or if nobody does: SELECT pg_drop_replication_slot('%s')", pg_str(res, 0, "slot"));
	}
	if (!pg_null(res, 0, "archive_failed")) {
		doctor_say(d, DOCTOR_WARNING, "the archiving of WAL fails, at %s: it piles up on the server's disk",
			   pg_str(res, 0, "archive_failed"));
		doctor_advise(d, "mend archive_command; the server's log says what is wrong");
	}
}

int doctor_server(struct doctor *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int64_t hidden;
	int rc = pg_exec(d->con->pg, SQL_DOCTOR_SERVER, 0, NULL, &res, err);

	if (rc != 0)
		return rc;
	hidden = pg_i64(res, 0, "hidden");
	snprintf(d->role, sizeof(d->role), "%s", pg_str(res, 0, "role"));
	d->deadlock_ms = pg_i64(res, 0, "deadlock_ms");
	d->worker_sessions = pg_i64(res, 0, "worker_sessions");
	if (pg_bool(res, 0, "standby")) {
		doctor_say(d, DOCTOR_ERROR, "this PostgreSQL is a standby, to which nothing can be written");
		doctor_advise(d, "name the primary in DATABASE_URL, or all hosts with target_session_attrs=read-write");
	} else if (pg_bool(res, 0, "read_only")) {
		doctor_say(
			d, DOCTOR_WARNING,
			"default_transaction_read_only is on, as after a full disk or a failover; Drover's own transactions override it");
		doctor_advise(d, "see who has set it: SHOW default_transaction_read_only");
	}
	say_connections(d, res);
	say_replication(d, res);
	if (hidden > 0) {
		doctor_say(d, DOCTOR_NOTE, "what %" PRId64 " session%s of other roles %s, and since when, is hidden from the role %s",
			   hidden, text_s((uint64_t)hidden), hidden == 1 ? "runs" : "run", d->role);
		doctor_advise(d, "GRANT pg_monitor TO %s", d->role);
	}
	return 0;
}

int doctor_ledger_locks(struct doctor *d, struct err *err)
{
	return doctor_say_locks(d, "drover", false, err);
}
