/* drover pause, resume, cancel, clear: the moves of an operator. Workers see them within a second. */
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "queue/queue.h"

static const struct cli_option options[] = {
	{ "--reason", .arg = "TEXT", .help = "why: shown by status and kept in the audit trail" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "name", "migration", .type = OUT_STR },
	{ "state", NULL, .type = OUT_STR },
	{ "was", NULL, .type = OUT_STR },
	{ "jobs_dropped", "jobs dropped", OUT_INT, .where = OUT_ONLY_JSON },
};

/* @dropped below 0: nothing was to be dropped, or it is not known. */
static int report(const struct cli_call *call, const struct migration_ref *m, const char *state, int64_t dropped, const char *text,
		  struct err *err)
{
	CLEANUP(out_close) struct out out = { 0 };

	out_open(&out, call);
	if (out.format == OUT_HUMAN) {
		if (!cli_flag(call, "--quiet"))
			out_note(&out, "%s", text);
		return 0;
	}
	out_kv(&out, columns, ARRAY_SIZE(columns));
	out_text(&out, m->name);
	out_text(&out, state);
	out_text(&out, m->state);
	if (dropped < 0)
		out_null(&out);
	else
		out_int(&out, dropped);
	return out_end(&out, NULL, err);
}

/* ------------------------------------------------------------ pause, resume */

static int run_pause(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct migration_ref m;
	char text[700];
	int rc = console_find(con, call, call->args[0], &m, err);

	if (rc == 0)
		rc = migrations_pause(con->pg, &m, console_actor(con, call), cli_str(call, "--reason"), err);
	if (rc != 0)
		return rc;
	console_ring(con, call);
	if (strcmp(m.state, "paused") == 0)
		snprintf(text, sizeof(text), "%s was paused already", m.name);
	else
		snprintf(text, sizeof(text), "%s is paused; statements that run now come to their end. Go on with: drover resume %s",
			 m.name, m.name);
	return report(call, &m, "paused", -1, text, err);
}

/* What else is needed before it moves: the scan is nobody's if no producer runs. */
static int scan_hint(struct console *con, const struct migration_ref *m, char *out, size_t size, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = migrations_status(con->pg, m->id, &res, err);

	if (rc == 0 && PQntuples(res) > 0 && pg_null(res, 0, "scan_done_at") && !pg_bool(res, 0, "producing"))
		snprintf(out, size, "; the table is not scanned to its end and no producer runs: drover produce %s", m->name);
	return rc;
}

static int run_resume(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct migration_ref m;
	char text[700], hint[300] = "";
	int rc = console_find(con, call, call->args[0], &m, err);

	if (rc == 0)
		rc = migrations_resume(con->pg, &m, console_actor(con, call), cli_str(call, "--reason"), err);
	if (rc == 0)
		rc = scan_hint(con, &m, hint, sizeof(hint), err);
	if (rc != 0)
		return rc;
	console_ring(con, call);
	snprintf(text, sizeof(text), "%s %s%s", m.name, strcmp(m.state, "running") == 0 ? "was running already" : "runs again", hint);
	return report(call, &m, "running", -1, text, err);
}

/* ------------------------------------------------------------ cancel, clear */

static int drop_jobs(struct console *con, const struct cli_call *call, const struct migration_ref *m, uint64_t *ret, struct err *err)
{
	struct queue queue;
	int rc = console_redis(con, call, err);

	if (rc != 0)
		return rc;
	queue_init(&queue, con->redis, con->schema.installation, m->id);
	return queue_clear(&queue, ret, err);
}

static int run_cancel(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct err redis = ERR_INIT;
	struct migration_ref m;
	char text[700];
	uint64_t jobs = 0;
	int rc = console_find(con, call, call->args[0], &m, err), dropped;

	if (rc == 0)
		rc = migrations_cancel(con->pg, &m, console_actor(con, call), cli_str(call, "--reason"), err);
	if (rc != 0)
		return rc;
	/* Its jobs are of no use to anybody now. Where Redis cannot be asked, workers drop them as they meet them. */
	dropped = drop_jobs(con, call, &m, &jobs, &redis);
	console_ring(con, call);
	if (dropped == ST_INTERRUPTED)
		return err_set(err, dropped, "%s", redis.msg);
	if (dropped != 0 && console_redis_url(call) != NULL)
		console_note(call, "the jobs in Redis stay: %s", redis.msg);
	if (strcmp(m.state, "cancelled") == 0)
		snprintf(text, sizeof(text), "%s was cancelled already", m.name);
	else
		snprintf(text, sizeof(text),
			 "%s is cancelled; what runs longer than 1 s from now is interrupted. Rows changed so far stay changed.", m.name);
	return report(call, &m, "cancelled", dropped == 0 ? (int64_t)jobs : -1, text, err);
}

static int run_clear(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct migration_ref m;
	const char *state;
	char text[700];
	uint64_t jobs = 0;
	int rc = console_find(con, call, call->args[0], &m, err);

	/* Asked first, so that a Redis that is away leaves the migration running. */
	if (rc == 0)
		rc = console_redis(con, call, err);
	if (rc == 0 && strcmp(m.state, "running") == 0)
		rc = migrations_pause(con->pg, &m, console_actor(con, call), "its queue was cleared", err);
	if (rc == 0)
		rc = drop_jobs(con, call, &m, &jobs, err);
	if (rc == 0)
		rc = migrations_event(con->pg, &m, console_actor(con, call), "clear", NULL, err);
	if (rc != 0)
		return rc;
	console_ring(con, call);
	state = strcmp(m.state, "running") == 0 ? "paused" : m.state;
	snprintf(text, sizeof(text), "%s is %s and its queue is empty: %" PRIu64 " jobs dropped. Its batches stay in the ledger%s%s",
		 m.name, state, jobs, strcmp(state, "paused") == 0 ? "; they are pushed again after: drover resume " : "",
		 strcmp(state, "paused") == 0 ? m.name : "");
	return report(call, &m, state, (int64_t)jobs, text, err);
}

/* ------------------------------------------------------------ tables */

const struct cli_command pause_command = {
	.name = "pause",
	.args = "NAME",
	.min_args = 1,
	.max_args = 1,
	.complete = "migrations",
	.summary = "stop handing out a migration's jobs",
	.help = "Within a second on every worker, also when no producer runs. Statements that run come to their end; nothing new is handed out. "
		"Nothing is lost: `drover resume` goes on. A finished migration can be paused too: that is the way to amend it.",
	.options = options,
	.run = run_pause,
};

const struct cli_command resume_command = {
	.name = "resume",
	.args = "NAME",
	.min_args = 1,
	.max_args = 1,
	.complete = "migrations",
	.summary = "go on with a paused or cancelled migration",
	.help = "Goes on where it was; the circuit breaker counts anew. If the table has not been scanned to its end and no producer runs, "
		"`drover produce NAME` is needed as well.",
	.options = options,
	.run = run_resume,
};

const struct cli_command cancel_command = {
	.name = "cancel",
	.args = "NAME",
	.min_args = 1,
	.max_args = 1,
	.complete = "migrations",
	.summary = "stop a migration for good, what runs too",
	.help = "As `drover pause`, and statements that still run after a second are interrupted and rolled back; its jobs are dropped from Redis. Rows "
		"that were changed stay changed. `drover resume` takes it up again, since the ledger knows what is left.",
	.options = options,
	.run = run_cancel,
};

const struct cli_command clear_command = {
	.name = "clear",
	.args = "NAME",
	.min_args = 1,
	.max_args = 1,
	.complete = "migrations",
	.summary = "pause a migration and empty its queue in Redis",
	.help = "Pauses it first. Its batches stay in the ledger: `drover resume` pushes them again. Jobs that run at this moment finish.",
	.run = run_clear,
};
