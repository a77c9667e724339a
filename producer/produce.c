/* drover produce: register, scan, push; wait for the end if asked to. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/engine.h"
#include "producer/target.h"
#include "redis/redis_sync.h"
#include "redis/redis_url.h"

static const char *const modes[] = { "batch", "row", NULL };

static const struct cli_option options[] = {
	{ "--mode", .arg = "MODE", .env = "DROVER_MODE", .type = CLI_CHOICE, .choices = modes,
	  .help = "a job per batch of rows, or one per row; otherwise as the file says" },
	{ "--batch-size", .arg = "N", .env = "DROVER_BATCH_SIZE", .type = CLI_U64, .min = 1, .max = 100000,
	  .help = "rows per transaction in batch mode, and per window in row mode; otherwise as the file says, or 5000" },
	{ "--limit", .arg = "N", .type = CLI_U64, .min = 1, .max = 1000000000000,
	  .help = "find at most so many rows: to try a migration out, which is `limited` then; run again, it goes on" },
	{ "--max-backlog", .arg = "N", .env = "DROVER_MAX_BACKLOG", .type = CLI_U64, .min = 1, .max = 10000000,
	  .help = "jobs in Redis at which pushing stops until half of them are done; otherwise the setting max_backlog" },
	{ "--full-speed", .help = "give way to nobody: sets throttle=off for this migration" },
	{ "--wait", .help = "stay until every job is done and the last sweep found nothing" },
	{ "--detach", .help = "register, then go on in the background" },
	{ "--log-file", .arg = "FILE", .complete = "files",
	  .help = "where --detach writes to; otherwise drover-NAME.log in the current directory" },
	{ 0 },
};

static const struct cli_text exits[] = {
	{ "3", "the application still writes old rows: sweep after sweep finds as many as before" },
	{ "4", "finished, with dead letters" },
	{ "130", "interrupted; run it again to go on" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover produce 0001_pages.sql", "find every row and push its job; the workers do the rest" },
	{ "drover produce 0001_pages.sql --wait", "stay until the last job is done" },
	{ "drover produce 0001_pages", "go on with a migration that is registered; the file is not needed" },
	{ "drover produce 0001_pages.sql --limit 1000 --wait", "try it on the first 1000 rows" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "name", "migration", .type = OUT_STR },
	{ "state", NULL, .type = OUT_STR },
	{ "rows_scanned", "rows looked at", .type = OUT_INT },
	{ "rows_found", "to be migrated", .type = OUT_INT },
	{ "rows_changed", "changed", .type = OUT_INT },
	{ "rows_skipped", "skipped", .type = OUT_INT },
	{ "dead", "dead letters", .type = OUT_INT },
	{ "jobs_pushed", NULL, .type = OUT_INT, .where = OUT_ONLY_JSON },
	{ "jobs_refilled", NULL, .type = OUT_INT, .where = OUT_ONLY_JSON },
	{ "sweeps", NULL, .type = OUT_INT, .where = OUT_ONLY_JSON },
	{ "rows_per_s", "rows per second", .type = OUT_NUM, .where = OUT_ONLY_JSON },
	{ "elapsed_ms", "time", .type = OUT_DURATION },
};

static const char *end_name(enum engine_end end)
{
	static const char *const names[] = { "scanned", "complete", "limited", "old writes", "paused", "cancelled" };

	return names[end];
}

static int report(const struct cli_call *call, const struct target *t, const struct engine_result *r, struct err *err)
{
	const struct text_short scanned = text_human_rows((uint64_t)r->rows_scanned), found = text_human_rows((uint64_t)r->rows_found);
	CLEANUP(out_close) struct out out = { 0 };

	out_open(&out, call);
	if (out.format == OUT_HUMAN && r->end == ENGINE_SCANNED) {
		if (r->jobs_pushed == 0)
			out_note(
				&out,
				"%s: nothing left to push (%s rows looked at, %s to be migrated); the workers look for rows that turned up since: "
				"drover status %s",
				t->name, scanned.s, found.s, t->name);
		else
			out_note(&out,
				 "%s: %s rows looked at, %s to be migrated, all of them pushed in %s; the workers go on: drover status %s",
				 t->name, scanned.s, found.s, text_human_duration(r->elapsed_ms).s, t->name);
		return 0;
	}
	out_kv(&out, columns, ARRAY_SIZE(columns));
	out_text(&out, t->name);
	out_text(&out, end_name(r->end));
	out_int(&out, r->rows_scanned);
	out_int(&out, r->rows_found);
	out_int(&out, r->rows_changed);
	out_int(&out, r->rows_skipped);
	out_int(&out, r->dead);
	out_int(&out, r->jobs_pushed);
	out_int(&out, r->refilled);
	out_int(&out, r->sweeps);
	out_num(&out, r->rate_per_s);
	out_uint(&out, r->elapsed_ms);
	return out_end(&out, NULL, err);
}

/* The end as an exit status, or as an error that says what to do. */
static int conclude(const struct target *t, const struct engine_result *r, bool waited, struct err *err)
{
	char advice[CONSOLE_ADVICE_MAX];

	switch (r->end) {
	case ENGINE_CANCELLED:
		return err_set(err, ST_REFUSED, "'%s' is cancelled: %s; `drover resume %s` takes it up again", t->name, r->reason, t->name);
	case ENGINE_PAUSED:
		console_advice(r->reason, t->name, advice, sizeof(advice));
		return err_set(err, ST_REFUSED, "'%s' is paused: %s; %s", t->name, r->reason, advice);
	case ENGINE_OLD_WRITES:
		fprintf(stderr,
			"drover: the application still writes old rows: the last sweep of %s found no less than the ones before; mend the writers, then produce it again\n",
			t->name);
		return CLI_EXIT_NOT_CLEAN;
	default:
		return waited && r->dead > 0 ? CLI_EXIT_DEAD_LETTERS : 0;
	}
}

/* ------------------------------------------------------------ the background */

/* In the child: no terminal, no connections of the parent's, output to a file. */
static int settle_down(const char *path, struct err *err)
{
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (log < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
		return err_set(err, ST_IO, "cannot write to '%s': %s", path, strerror(errno));
	close(log);
	close(null);
	return setsid() < 0 ? err_set(err, ST_IO, "cannot leave the terminal: %s", strerror(errno)) : 0;
}

/* Fork. 1: this is the parent, all is said; 0: this is the child. */
static int detach(struct console *con, const struct cli_call *call, const struct target *t, struct err *err)
{
	CLEANUP(buf_free) struct buf name = BUF_INIT(4096);
	char path[512];
	pid_t pid;

	if (cli_str(call, "--log-file") != NULL)
		snprintf(path, sizeof(path), "%s", cli_str(call, "--log-file"));
	else
		snprintf(path, sizeof(path), "drover-%s.log", t->name);
	if (access(path, F_OK) == 0 && access(path, W_OK) != 0)
		return err_set(err, ST_IO, "cannot write to '%s': %s", path, strerror(errno));
	console_close(con);
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return err_set(err, ST_IO, "cannot go to the background: %s", strerror(errno));
	if (pid == 0)
		return settle_down(path, err);
	if (cli_flag(call, "--json")) {
		text_add_json(&name, t->name);
		printf("{\"name\": %s, \"pid\": %d}\n", name.data, (int)pid);
	} else {
		printf("%s: producing in the background as process %d, which writes to %s\n", t->name, (int)pid, path);
	}
	return 1;
}

/* ------------------------------------------------------------ the command */

/* What is wrong with a URL is said before anything is done. */
static int check_redis_url(const char *url, struct err *err)
{
	struct redis_url parsed;
	int rc;

	if (url == NULL)
		return err_set(err, ST_CONFIG, "REDIS_URL is not set (or give --redis-url); `drover run` needs none");
	rc = redis_url_parse(&parsed, url, err);
	if (rc == 0)
		redis_url_free(&parsed);
	return rc;
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct engine_options o = {
		.redis_url = console_redis_url(call),
		.wait = cli_flag(call, "--wait"),
		.look_again = true,
		.row_limit = (int64_t)cli_u64(call, "--limit"),
		.batch_size = cli_given(call, "--batch-size") ? (int64_t)cli_u64(call, "--batch-size") : 0,
		.max_backlog = cli_u64(call, "--max-backlog"),
	};
	struct engine_result result;
	struct target target = { .file = NULL };
	int rc = check_redis_url(o.redis_url, err);

	con->patient = true;
	con->installs = true;
	if (rc == 0)
		rc = target_read(&target, call, call->args[0], err);
	/* Redis too old, or refusing us: nothing should be registered then. While it is away, that can wait. */
	if (rc == 0) {
		rc = console_redis(con, call, err);
		if (rc == ST_DISCONNECTED || rc == ST_TIMEOUT)
			rc = 0;
	}
	if (rc == 0)
		rc = target_register(&target, con, call, err);
	if (rc == 0 && cli_flag(call, "--detach"))
		rc = detach(con, call, &target, err);
	if (rc == 0 && con->pg == NULL)
		rc = console_pg(con, call, err);
	o.migration_id = target.id;
	if (rc == 0) {
		rc = engine_run(con, call, &o, &result, err);
		if (rc == 0)
			rc = report(call, &target, &result, err);
		if (rc == 0)
			rc = conclude(&target, &result, o.wait, err);
	} else if (rc == 1) {
		rc = 0; /* the parent */
	}
	target_close(&target);
	return rc;
}

const struct cli_command produce_command = {
	.name = "produce",
	.args = "FILE|NAME",
	.min_args = 1,
	.max_args = 1,
	.complete = "files",
	.summary = "register a migration, scan its table, push the jobs",
	.help = "Scans the table in the order of its key and pushes a job for every batch of rows (or every row) that is not migrated yet, never more than a "
		"backlog at a time. Ended at any moment and run again, it goes on where it was; a second one waits and takes over when the first is gone.\n\n"
		"Without `--wait` it ends when the scan is through; the workers do the jobs, sweep the table for rows that turned up meanwhile, and "
		"declare the migration complete.",
	.examples = examples,
	.options = options,
	.exits = exits,
	.run = run,
};
