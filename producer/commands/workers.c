/* drover workers, drover restart: who is alive, and asking them to begin anew. */
#include <string.h>

#include "cli/output.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/console.h"

static enum out_style state_style(const char *state)
{
	if (strcmp(state, "lost") == 0)
		return OUT_RED;
	return strcmp(state, "running") == 0 ? OUT_GREEN : OUT_YELLOW;
}

static const struct out_column columns[] = {
	{ "name", "WORKER", .type = OUT_STR },
	{ "where", "HOST:PID", OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "host", NULL, OUT_STR, .where = OUT_ONLY_JSON },
	{ "pid", NULL, OUT_ID, .where = OUT_ONLY_JSON },
	{ "version", "VERSION", .type = OUT_STR },
	{ "lanes", NULL, OUT_INT, .where = OUT_ONLY_JSON },
	{ "state", "STATE", OUT_STR, .style = state_style },
	{ "alive", NULL, OUT_BOOL, .where = OUT_ONLY_JSON },
	{ "busy_lanes", "BUSY", OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "jobs_done", "JOBS", .type = OUT_INT },
	{ "rows_done", "ROWS", .type = OUT_INT },
	{ "rate", "RATE", OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "rows_per_s", NULL, OUT_NUM, .where = OUT_ONLY_JSON },
	{ "migrations", NULL, OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "cannot", NULL, OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "restart_asked", NULL, OUT_BOOL, .where = OUT_ONLY_JSON },
	{ "started_at", NULL, OUT_TIME, .where = OUT_ONLY_JSON },
	{ "up_ms", "UP", OUT_DURATION, .where = OUT_ONLY_HUMAN },
	{ "heartbeat_at", NULL, OUT_TIME, .where = OUT_ONLY_JSON },
	{ "silent_ms", "SILENT", .type = OUT_DURATION },
	{ "doing", NULL, OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "doing_text", "DOING", OUT_STR, .below = true, .where = OUT_ONLY_HUMAN },
};

static int run_workers(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	CLEANUP(out_close) struct out out = { 0 };
	int rc = console_pg(con, call, err);

	if (rc == 0)
		rc = migrations_workers(con->pg, &res, err);
	if (rc != 0)
		return rc;
	out_open(&out, call);
	out_table(&out, columns, ARRAY_SIZE(columns));
	for (int i = 0; i < PQntuples(res); i++) {
		out_text(&out, pg_str(res, i, "name"));
		out_textf(&out, "%s:%s", pg_str(res, i, "host"), pg_str(res, i, "pid"));
		out_text(&out, pg_str(res, i, "host"));
		out_text(&out, pg_str(res, i, "pid"));
		out_text(&out, pg_str(res, i, "version"));
		out_text(&out, pg_str(res, i, "lanes"));
		out_text(&out, pg_str(res, i, "state"));
		out_text(&out, pg_str(res, i, "alive"));
		out_textf(&out, "%s of %s", pg_str(res, i, "busy"), pg_str(res, i, "lanes"));
		out_text(&out, pg_str(res, i, "jobs_done"));
		out_text(&out, pg_str(res, i, "rows_done"));
		out_textf(&out, "%s", text_human_rate(pg_f64(res, i, "rows_per_s")).s);
		out_num(&out, pg_f64(res, i, "rows_per_s"));
		out_json(&out, pg_opt(res, i, "migrations"));
		out_json(&out, pg_str(res, i, "cannot"));
		out_text(&out, pg_str(res, i, "restart_asked"));
		out_text(&out, pg_str(res, i, "started_at"));
		out_text(&out, pg_str(res, i, "up_ms"));
		out_text(&out, pg_str(res, i, "heartbeat_at"));
		out_text(&out, pg_str(res, i, "silent_ms"));
		out_json(&out, pg_str(res, i, "doing"));
		out_text(&out, pg_null(res, i, "doing_text") ? NULL : pg_str(res, i, "doing_text"));
	}
	return out_end(&out, "no workers: start some with drover-worker", err);
}

static int run_restart(const struct cli_call *call, void *ctx, struct err *err)
{
	static const struct out_column asked_columns[] = { { "asked", "workers asked", .type = OUT_INT } };
	struct console *con = ctx;
	CLEANUP(out_close) struct out out = { 0 };
	int rc = console_pg(con, call, err), n = 0;

	if (rc == 0)
		rc = migrations_restart(con->pg, call->args[0], console_actor(con, call), &n, err);
	if (rc != 0)
		return rc;
	console_ring(con, call);
	out_open(&out, call);
	if (out.format == OUT_HUMAN) {
		out_note(&out, n == 0 ? "no worker is alive" : n == 1 ? "1 worker drains and exits" : "%d workers drain and exit", n);
		return 0;
	}
	out_kv(&out, asked_columns, ARRAY_SIZE(asked_columns));
	out_int(&out, n);
	return out_end(&out, NULL, err);
}

const struct cli_command workers_command = {
	.name = "workers",
	.summary = "who is alive, and what each does",
	.help = "A worker that was not heard of for 15 s is shown as lost, for an hour: what it held is taken over when its lease is over. What "
		"a worker does, for how long, and its rows per second are as of its last heartbeat: one comes every 5 s.",
	.run = run_workers,
};

const struct cli_command restart_command = {
	.name = "restart",
	.args = "[WORKER]",
	.max_args = 1,
	.complete = "workers",
	.summary = "ask every worker, or one, to drain and exit",
	.help = "They finish what they do, give back the rest, and exit with status 0, so that their supervisor (systemd, Docker, Kubernetes) starts "
		"them anew: after an upgrade, say.",
	.run = run_restart,
};
