/* drover run: everything on one machine. A Redis of its own unless REDIS_URL is set, workers, produce, wait, verify, and a summary. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "core/clock.h"
#include "core/text.h"
#include "ledger/failed.h"
#include "pg/pg_sync.h"
#include "pg/pg_url.h"
#include "producer/engine.h"
#include "producer/fleet.h"
#include "producer/target.h"
#include "redis/redis_url.h"
#include "steward/verify.h"

#define KINDS_MAX 10 /* kinds of errors in the summary */
#define LANES_MAX 64 /* what drover-worker takes */
#define KEYS_MAX 5   /* keys of rows that are left */
#define KEYS_BYTES_MAX 8000

static const char *const modes[] = { "batch", "row", NULL };

static const struct cli_option options[] = {
	{ "--workers", .arg = "N", .env = "DROVER_WORKERS", .type = CLI_U64, .def = "2", .min = 1, .max = FLEET_WORKERS_MAX,
	  .help = "worker processes" },
	{ "--concurrency", .arg = "N", .env = "DROVER_CONCURRENCY", .type = CLI_U64, .def = "2", .min = 1, .max = LANES_MAX,
	  .help = "lanes of each worker: connections to PostgreSQL, with a job on each" },
	{ "--mode", .arg = "MODE", .env = "DROVER_MODE", .type = CLI_CHOICE, .choices = modes,
	  .help = "a job per batch of rows, or one per row; otherwise as the file says" },
	{ "--batch-size", .arg = "N", .env = "DROVER_BATCH_SIZE", .type = CLI_U64, .min = 1, .max = 100000,
	  .help = "rows per transaction in batch mode, and per window in row mode; otherwise as the file says, or 5000" },
	{ "--limit", .arg = "N", .type = CLI_U64, .min = 1, .max = 1000000000000,
	  .help = "find at most so many rows: to try a migration out; run again, it goes on" },
	{ "--max-backlog", .arg = "N", .env = "DROVER_MAX_BACKLOG", .type = CLI_U64, .min = 1, .max = 10000000,
	  .help = "jobs in Redis at which pushing stops until half of them are done; otherwise the setting max_backlog" },
	{ "--full-speed", .help = "give way to nobody: sets throttle=off for this migration" },
	{ "--no-verify", .help = "leave out the proof at the end" },
	{ "--keep", .help = "keep the temporary directory with the logs of the workers and of Redis" },
	{ 0 },
};

static const struct cli_text exits[] = {
	{ "3", "not clean: rows are left, or the application still writes old rows" },
	{ "4", "finished, with dead letters" },
	{ "130", "interrupted; run it again to go on" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover run 0001_pages.sql", "migrate, prove, sum up; only DATABASE_URL is needed" },
	{ "drover run 0001_pages.sql --workers 4", "with more processes" },
	{ 0 },
};

struct job {
	struct console *con;
	const struct cli_call *call;
	struct target target;
	struct fleet fleet;
	struct engine_result result;
	struct verify_result proof;
	bool proved;
	struct buf keys; /* of rows that are left, as a JSON array without its end */
	unsigned nkeys;
	struct progress progress;
	struct progress_view view;
};

static void say(void *arg, const char *line)
{
	const struct job *j = arg;

	console_note(j->call, "%s", line);
}

static int tick(void *arg, struct err *err)
{
	struct job *j = arg;

	return fleet_tick(&j->fleet, err);
}

/* ------------------------------------------------------------ the proof */

static int on_key(void *arg, const char *key_json, struct err *err)
{
	struct job *j = arg;

	(void)err;
	/* Whole or not at all: it has to stay JSON, and a key can be of 8 kB. */
	if (j->keys.len + strlen(key_json) + 1 > KEYS_BYTES_MAX)
		return 0;
	buf_printf(&j->keys, "%s%s", j->nkeys++ > 0 ? "," : "", key_json);
	return 0;
}

static void on_progress(void *arg, uint64_t scanned, uint64_t estimated)
{
	struct job *j = arg;
	const struct progress_counts counts = {
		.done = scanned, .total = estimated > scanned ? estimated : scanned, .share = -1, .note = "verifying"
	};

	progress_update(&j->progress, clock_now_ms(clock_system()), &counts);
	progress_view_show(&j->view, &j->progress);
}

static int prove(struct job *j, struct err *err)
{
	const struct verify_options o = { .max_keys = KEYS_MAX, .key = on_key, .progress = on_progress, .arg = j, .stop = &j->con->stop };
	int rc;

	if (cli_flag(j->call, "--no-verify") || j->result.end == ENGINE_LIMITED)
		return 0;
	progress_init(&j->progress, j->target.name, clock_now_ms(clock_system()));
	progress_view_open(&j->view, j->call);
	rc = verify_walk(j->con->pg, j->target.id, &o, &j->proof, err);
	progress_view_clear(&j->view);
	j->proved = rc == 0;
	return rc;
}

static uint64_t left(const struct job *j)
{
	return j->proof.pending - j->proof.ignored;
}

/* Rows that are left though no dead letter says why. */
static bool is_unclean(const struct job *j)
{
	return j->result.end == ENGINE_OLD_WRITES || (j->proved && left(j) > j->proof.dead);
}

static void verdict(const struct job *j, struct buf *out)
{
	if (!j->proved)
		buf_puts(out, j->result.end == ENGINE_LIMITED ? "limited: the table was not meant to be done whole" : "not verified");
	else if (verify_clean(&j->proof) && j->proof.ledger_only)
		buf_puts(out, "covered by the ledger: every row that the scan found was changed once");
	else if (verify_clean(&j->proof))
		buf_puts(out, "verified: no row is left");
	else if (!is_unclean(j))
		buf_puts(out, "verified: no row is left but those with a dead letter");
	else
		buf_printf(out, "not clean: %s rows are left", text_human_rows(left(j)).s);
}

/* ------------------------------------------------------------ the summary */

static int kinds(const struct job *j, PGresult **ret, struct err *err)
{
	const struct failed_filter filter = { .migration_id = j->target.id, .states = "dead" };

	return failed_groups(j->con->pg, &filter, KINDS_MAX, ret, err);
}

static void print_people(const struct job *j, const PGresult *groups, const char *words)
{
	const struct engine_result *r = &j->result;
	bool color = cli_use_color(j->call, stdout);

	printf("%s%s%s: %s in %s", out_style_on(OUT_BOLD, color), j->target.name, out_style_off(OUT_BOLD, color),
	       r->end == ENGINE_COMPLETE ? "complete" :
	       r->end == ENGINE_LIMITED  ? "limited" :
					   "not complete",
	       text_human_duration(r->elapsed_ms).s);
	if (r->rate_per_s >= 1)
		printf(", %s rows/s", text_human_rows((uint64_t)r->rate_per_s).s);
	printf("\n  looked at %s rows, found %s, changed %s, skipped %s\n", text_human_rows((uint64_t)r->rows_scanned).s,
	       text_human_rows((uint64_t)r->rows_found).s, text_human_rows((uint64_t)r->rows_changed).s,
	       text_human_rows((uint64_t)r->rows_skipped).s);
	if (r->dead > 0) {
		printf("  %s%s dead letter%s%s\n", out_style_on(OUT_RED, color), text_human_rows((uint64_t)r->dead).s,
		       r->dead == 1 ? "" : "s", out_style_off(OUT_RED, color));
		for (int i = 0; i < PQntuples(groups); i++) {
			CLEANUP(buf_free) struct buf example = BUF_INIT(64 * 1024);

			text_add_printable(&example, pg_str(groups, i, "example"));
			printf("    %8s  %s  %.200s\n", text_human_rows((uint64_t)pg_i64(groups, i, "n")).s, pg_str(groups, i, "sqlstate"),
			       example.data);
		}
		printf("  look: drover failed %s; mend, then: drover retry all --migration %s\n", j->target.name, j->target.name);
	}
	printf("  %s%s%s\n", out_style_on(is_unclean(j) ? OUT_RED : OUT_GREEN, color), words,
	       out_style_off(is_unclean(j) ? OUT_RED : OUT_GREEN, color));
	if (is_unclean(j) && j->nkeys > 0)
		printf("  keys: %s%s\n", j->keys.data, left(j) > j->nkeys ? ", ..." : "");
	if (r->end == ENGINE_OLD_WRITES)
		printf("  the application still writes old rows: mend the writers, then run it again\n");
}

static const struct out_column columns[] = {
	{ "name", NULL, .type = OUT_STR },         { "state", NULL, .type = OUT_STR },
	{ "rows_scanned", NULL, .type = OUT_INT }, { "rows_found", NULL, .type = OUT_INT },
	{ "rows_changed", NULL, .type = OUT_INT }, { "rows_skipped", NULL, .type = OUT_INT },
	{ "dead", NULL, .type = OUT_INT },         { "kinds", NULL, .type = OUT_RAW_JSON },
	{ "rows_per_s", NULL, .type = OUT_NUM },   { "elapsed_ms", NULL, .type = OUT_DURATION },
	{ "sweeps", NULL, .type = OUT_INT },       { "clean", NULL, .type = OUT_BOOL },
	{ "verdict", NULL, .type = OUT_STR },      { "rows_left", NULL, .type = OUT_INT },
	{ "keys", NULL, .type = OUT_RAW_JSON },
};

static void kinds_json(const PGresult *groups, struct buf *out)
{
	buf_putc(out, '[');
	for (int i = 0; i < PQntuples(groups); i++) {
		buf_printf(out, "%s{\"n\": %" PRId64 ", \"sqlstate\": ", i > 0 ? ", " : "", pg_i64(groups, i, "n"));
		text_add_json(out, pg_opt(groups, i, "sqlstate"));
		buf_puts(out, ", \"constraint\": ");
		text_add_json(out, pg_opt(groups, i, "constraint_name"));
		buf_puts(out, ", \"example\": ");
		text_add_json(out, pg_opt(groups, i, "example"));
		buf_putc(out, '}');
	}
	buf_putc(out, ']');
}

static int print_json(struct job *j, struct out *out, const PGresult *groups, const char *words, struct err *err)
{
	CLEANUP(buf_free) struct buf json = BUF_INIT(1 << 20), keys = BUF_INIT(KEYS_BYTES_MAX + 16);
	const struct engine_result *r = &j->result;

	kinds_json(groups, &json);
	buf_printf(&keys, "[%s]", j->keys.data);
	out_kv(out, columns, ARRAY_SIZE(columns));
	out_text(out, j->target.name);
	out_text(out, r->end == ENGINE_COMPLETE ? "complete" : r->end == ENGINE_LIMITED ? "limited" : "running");
	out_int(out, r->rows_scanned);
	out_int(out, r->rows_found);
	out_int(out, r->rows_changed);
	out_int(out, r->rows_skipped);
	out_int(out, r->dead);
	out_json(out, buf_ok(&json) ? json.data : "[]");
	out_num(out, r->rate_per_s);
	out_uint(out, r->elapsed_ms);
	out_int(out, r->sweeps);
	out_bool(out, j->proved && verify_clean(&j->proof));
	out_text(out, words);
	if (j->proved)
		out_uint(out, left(j));
	else
		out_null(out);
	out_json(out, keys.data);
	return out_end(out, NULL, err);
}

static int sum_up(struct job *j, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *groups = NULL;
	CLEANUP(buf_free) struct buf words = BUF_INIT(500);
	CLEANUP(out_close) struct out out = { 0 };
	int rc = kinds(j, &groups, err);

	if (rc != 0)
		return rc;
	verdict(j, &words);
	out_open(&out, j->call);
	if (out.format != OUT_HUMAN)
		return print_json(j, &out, groups, words.data, err);
	print_people(j, groups, words.data);
	return 0;
}

static int conclude(const struct job *j, struct err *err)
{
	const struct engine_result *r = &j->result;
	char advice[CONSOLE_ADVICE_MAX];

	if (r->end == ENGINE_CANCELLED)
		return err_set(err, ST_REFUSED, "'%s' is cancelled: %s", j->target.name, r->reason);
	if (r->end == ENGINE_PAUSED) {
		console_advice(r->reason, j->target.name, advice, sizeof(advice));
		return err_set(err, ST_REFUSED, "'%s' is paused: %s; %s; and run it again", j->target.name, r->reason, advice);
	}
	if (is_unclean(j))
		return CLI_EXIT_NOT_CLEAN;
	return r->dead > 0 ? CLI_EXIT_DEAD_LETTERS : 0;
}

/* ------------------------------------------------------------ the command */

static int check_urls(const struct cli_call *call, struct err *err)
{
	struct redis_url redis;
	struct pg_url pg;
	int rc = pg_url_parse(&pg, console_database_url(call), "drover", err);

	if (rc == 0)
		pg_url_free(&pg);
	if (rc == 0 && console_redis_url(call) != NULL) {
		rc = redis_url_parse(&redis, console_redis_url(call), err);
		if (rc == 0)
			redis_url_free(&redis);
	}
	return rc;
}

static int work(struct job *j, struct err *err)
{
	const struct cli_call *call = j->call;
	const struct fleet_options fleet = {
		.workers = (unsigned)cli_u64(call, "--workers"),
		.concurrency = (unsigned)cli_u64(call, "--concurrency"),
		.database_url = console_database_url(call),
		.redis_url = console_redis_url(call),
		.migration = j->target.name,
		.keep = cli_flag(call, "--keep"),
		.verbose = cli_flag(call, "--verbose"),
		.say = say,
		.arg = j,
	};
	const struct engine_options o = {
		.migration_id = j->target.id,
		.redis_url = j->fleet.redis_url,
		.wait = true,
		.end_when_paused = true,
		.look_again = true,
		.row_limit = (int64_t)cli_u64(call, "--limit"),
		.batch_size = cli_given(call, "--batch-size") ? (int64_t)cli_u64(call, "--batch-size") : 0,
		.max_backlog = cli_u64(call, "--max-backlog"),
		.tick = tick,
		.arg = j,
	};
	int rc = fleet_open(&j->fleet, &fleet, err);

	if (rc != 0)
		return rc;
	rc = fleet_start_workers(&j->fleet, err);
	if (rc == 0)
		rc = engine_run(j->con, call, &o, &j->result, err);
	fleet_close(&j->fleet);
	if (rc != 0 || j->result.end == ENGINE_PAUSED || j->result.end == ENGINE_CANCELLED)
		return rc;
	rc = prove(j, err);
	return rc == 0 ? sum_up(j, err) : rc;
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct job j = { .con = ctx, .call = call, .keys = BUF_INIT(KEYS_BYTES_MAX) };
	int rc = check_urls(call, err);

	j.fleet.watchdog_pipe = -1;
	j.con->patient = true;
	j.con->installs = true;
	if (rc == 0)
		rc = target_read(&j.target, call, call->args[0], err);
	if (rc == 0)
		rc = target_register(&j.target, j.con, call, err);
	if (rc == 0)
		rc = work(&j, err);
	if (rc == 0)
		rc = conclude(&j, err);
	if (rc == ST_INTERRUPTED)
		err_set(err, rc, "interrupted; run it again, and it goes on where it was");
	buf_free(&j.keys);
	target_close(&j.target);
	return rc;
}

const struct cli_command run_command = {
	.name = "run",
	.args = "FILE|NAME",
	.min_args = 1,
	.max_args = 1,
	.complete = "files",
	.summary = "everything on this machine: a Redis, workers, produce, wait, verify",
	.help = "Needs a database and nothing else. Unless `REDIS_URL` is set it starts a private `redis-server` on a Unix socket in a directory of its own, then "
		"workers, and works on this one migration until it is complete and verified. All that it started ends with it, however it ends; "
		"what is done stays done: run it again, and it goes on.",
	.examples = examples,
	.options = options,
	.exits = exits,
	.run = run,
};
