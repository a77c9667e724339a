/* drover monitor: one line per migration, for cron. It waits for nothing: a server that is away is an alert. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli/output.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "producer/standing.h"

static const struct cli_option options[] = {
	{ "--max", .arg = "N", .env = "DROVER_MONITOR_MAX", .type = CLI_U64, .def = "0",
	  .help = "dead letters of a migration that are still fine" },
	{ "--max-idle", .arg = "TIME", .env = "DROVER_MONITOR_MAX_IDLE", .type = CLI_DURATION, .def = "15m", .min = 1000,
	  .help = "longest time without a commit while there is work" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "*/5 * * * * drover monitor --quiet || page-somebody", "in a crontab: with --quiet only alerts are printed" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "verdict", NULL, .type = OUT_STR }, { "name", NULL, .type = OUT_STR }, { "state", NULL, .type = OUT_STR },
	{ "failed", NULL, .type = OUT_INT },  { "why", NULL, .type = OUT_STR },
};

static void say_alert(struct buf *out, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say_alert(struct buf *out, const char *fmt, ...)
{
	va_list ap;

	if (out->len > 0)
		buf_puts(out, "; ");
	va_start(ap, fmt);
	buf_vprintf(out, fmt, ap);
	va_end(ap);
}

/* What somebody should look at. An operator's own pause is one too: it is forgotten easily. */
static void judge(const struct cli_call *call, const struct fleet *f, const struct standing *s, struct buf *out)
{
	uint64_t max_idle_ms = cli_duration_ms(call, "--max-idle");
	bool running = standing_is(s, "running"), work = s->incomplete > 0 || s->waiting > 0;

	if (standing_is(s, "paused"))
		say_alert(out, "paused by %s%s%s", s->by != NULL ? s->by : "somebody", s->reason != NULL ? ": " : "",
			  s->reason != NULL ? s->reason : "");
	if (s->dead > 0 && (uint64_t)s->dead > cli_u64(call, "--max"))
		say_alert(out, "%s dead letter%s", text_human_rows((uint64_t)s->dead).s, text_s((uint64_t)s->dead));
	if (running && !s->scan_done && !s->producing)
		say_alert(out, "not scanned to its end and no producer runs");
	if (work && !standing_is(s, "paused") && !standing_is(s, "cancelled") && s->workers_able == 0)
		say_alert(out, "no worker takes jobs");
	else if (running && work && s->idle_s >= 0 && (uint64_t)s->idle_s * 1000 > max_idle_ms)
		say_alert(out, "nothing committed for %s", text_human_duration((uint64_t)s->idle_s * 1000).s);
	if (running && f->redis[0] != '\0')
		say_alert(out, "Redis: %s", f->redis);
	if (running && s->sweep_stuck >= 3)
		say_alert(out, "the application still writes old rows");
}

/* For people a bare line that begins with the verdict: cron mails it, grep finds it. */
static void put(struct out *out, bool alert, const char *name, const char *state, int64_t failed, const char *why)
{
	const char *verdict = alert ? "ALERT" : "OK";

	if (out->format == OUT_HUMAN) {
		CLEANUP(buf_free) struct buf line = BUF_INIT(8000);

		text_add_printable(&line, why != NULL ? why : state);
		out_note(out, "%s%s%s %s: %s", out_style_on(alert ? OUT_RED : OUT_GREEN, out->color), verdict,
			 out_style_off(alert ? OUT_RED : OUT_GREEN, out->color), name, line.data);
		return;
	}
	out_text(out, verdict);
	out_text(out, name);
	out_text(out, state);
	if (failed < 0)
		out_null(out);
	else
		out_int(out, failed);
	out_text(out, why);
}

static int monitor(struct console *con, const struct cli_call *call, struct out *out, bool *ret_alert, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct fleet fleet = { .alive = 0 };
	int rc = console_try_pg(con, call, err);

	if (rc == 0)
		rc = fleet_read(con, call, &fleet, err);
	if (rc == 0)
		rc = migrations_status(con->pg, 0, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
		CLEANUP(buf_free) struct buf why = BUF_INIT(4000);
		struct standing s;

		standing_of_row(res, i, &s);
		judge(call, &fleet, &s, &why);
		*ret_alert = *ret_alert || why.len > 0;
		if (why.len > 0 || !cli_flag(call, "--quiet"))
			put(out, why.len > 0, s.name, s.state, s.dead, why.len > 0 ? why.data : NULL);
	}
	if (rc == 0 && out->format == OUT_HUMAN && PQntuples(res) == 0 && !cli_flag(call, "--quiet"))
		out_note(out, "OK drover: no migrations");
	return rc;
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	CLEANUP(out_close) struct out out = { 0 };
	struct err why = ERR_INIT;
	bool alert = false;
	int rc;

	out_open(&out, call);
	if (out.format != OUT_HUMAN)
		out_table(&out, columns, ARRAY_SIZE(columns));
	rc = monitor(ctx, call, &out, &alert, &why);
	if (rc == ST_INTERRUPTED || rc == ST_USAGE)
		return err_set(err, rc, "%s", why.msg);
	if (rc != 0) {
		put(&out, true, "drover", "unknown", -1, why.msg);
		alert = true;
	}
	if (out.format != OUT_HUMAN && out_end(&out, NULL, err) != 0)
		return err->code;
	return alert ? CLI_EXIT_ERROR : 0;
}

const struct cli_command monitor_command = {
	.name = "monitor",
	.summary = "one line per migration, OK or ALERT, for cron",
	.help = "Exit status 1 if there is an alert: dead letters beyond --max, a pause, work without workers or without progress, a scan without a producer, a "
		"server that does not answer. It never waits.",
	.examples = examples,
	.options = options,
	.run = run,
};
