/* drover failed, drover failed show: dead letters, page by page, by kind, and one in full. */
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "producer/filter.h"

#define PAGE 200 /* rows fetched at once: a row may bring a message of several kB */

static const char *const states[] = { "retrying", "dead", "queued", "done", "gone", "not pending", "ignored", NULL };

static const struct cli_option options[] = {
	FILTER_OPTION_ERROR,
	FILTER_OPTION_SINCE,
	{ "--state", .arg = "STATE,...", .type = CLI_LIST, .def = "dead,queued,retrying",
	  .complete = "dead queued retrying ignored done gone all",
	  .help = "of dead, queued (for a replay), retrying, ignored (forgotten), and those settled: done, gone, 'not pending'; or all" },
	{ "--group", .help = "one line per kind of error, with counts" },
	{ "--limit", .arg = "N", .type = CLI_U64, .def = "50", .max = 1000000000, .help = "at most so many; 0: all" },
	{ "--before", .arg = "ID", .type = CLI_U64, .max = INT64_MAX - 1, .help = "the next page: those older than this id" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover failed", "the newest, of all migrations" },
	{ "drover failed 0001_pages --group", "what kinds of errors there are" },
	{ "drover failed 0001_pages --error 23514 --since 2h --json", "for a program" },
	{ "drover failed show 42", "everything about one" },
	{ 0 },
};

static enum out_style state_style(const char *state)
{
	if (strcmp(state, "dead") == 0)
		return OUT_RED;
	if (strcmp(state, "queued") == 0 || strcmp(state, "retrying") == 0)
		return OUT_YELLOW;
	return OUT_PLAIN;
}

static const struct out_column page_columns[] = {
	{ "id", "ID", .type = OUT_ID },
	{ "migration", "MIGRATION", .type = OUT_STR },
	{ "key", NULL, OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "key_text", "KEY", OUT_STR, .clip = true, .where = OUT_ONLY_HUMAN },
	{ "state", "STATE", OUT_STR, .style = state_style },
	{ "sqlstate", "ERROR", .type = OUT_STR },
	{ "message", "MESSAGE", OUT_STR, .below = true },
	{ "constraint", NULL, OUT_STR, .where = OUT_ONLY_JSON },
	{ "attempts", "TRIES", .type = OUT_INT },
	{ "replays", "REPLAYS", .type = OUT_INT },
	{ "worker", NULL, OUT_STR, .where = OUT_ONLY_JSON },
	{ "first_failed_at", NULL, OUT_TIME, .where = OUT_ONLY_JSON },
	{ "last_failed_at", "FAILED", .type = OUT_TIME },
};

static const struct out_column group_columns[] = {
	{ "count", "COUNT", .type = OUT_INT },
	{ "migration", "MIGRATION", .type = OUT_STR },
	{ "sqlstate", "ERROR", .type = OUT_STR },
	{ "constraint", "CONSTRAINT", .type = OUT_STR },
	{ "example", "EXAMPLE", OUT_STR, .below = true },
	{ "example_id", "ID", .type = OUT_ID },
	{ "kind", NULL, OUT_STR, .where = OUT_ONLY_JSON },
	{ "first_failed_at", NULL, OUT_TIME, .where = OUT_ONLY_JSON },
	{ "last_failed_at", "LAST", .type = OUT_TIME },
};

/* ------------------------------------------------------------ the list */

static void put_row(struct out *out, const PGresult *res, int i)
{
	out_text(out, pg_str(res, i, "id"));
	out_text(out, pg_str(res, i, "migration"));
	out_json(out, pg_str(res, i, "key"));
	out_text(out, pg_str(res, i, "key_text"));
	out_text(out, pg_str(res, i, "state"));
	out_text(out, pg_opt(res, i, "sqlstate"));
	out_text(out, pg_opt(res, i, "message"));
	out_text(out, pg_opt(res, i, "constraint_name"));
	out_text(out, pg_str(res, i, "attempts"));
	out_text(out, pg_str(res, i, "replays"));
	out_text(out, pg_opt(res, i, "worker"));
	out_text(out, pg_str(res, i, "first_failed_at"));
	out_text(out, pg_str(res, i, "last_failed_at"));
}

static int list(struct console *con, const struct cli_call *call, const struct failed_filter *f, struct err *err)
{
	CLEANUP(out_close) struct out out = { 0 };
	uint64_t limit = cli_u64(call, "--limit"), left = limit == 0 ? UINT64_MAX : limit;
	int64_t before = (int64_t)cli_u64(call, "--before");
	int rc = 0, n = PAGE;

	out_open(&out, call);
	out_table(&out, page_columns, ARRAY_SIZE(page_columns));
	while (rc == 0 && left > 0 && n == PAGE) {
		CLEANUP(pg_result_freep) PGresult *res = NULL;

		rc = failed_page(con->pg, f, before, left < PAGE ? (int)left : PAGE, &res, err);
		n = rc == 0 ? PQntuples(res) : 0;
		for (int i = 0; i < n; i++) {
			put_row(&out, res, i);
			before = pg_i64(res, i, "id");
		}
		left -= (uint64_t)n;
	}
	if (rc == 0)
		rc = out_end(&out, "no failed jobs", err);
	if (rc == 0 && left == 0)
		out_note(&out, "\nOlder ones, if any: the same with --before %" PRId64 ". By kind: --group. In full: drover failed show ID",
			 before);
	return rc;
}

static int groups(struct console *con, const struct cli_call *call, const struct failed_filter *f, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	CLEANUP(out_close) struct out out = { 0 };
	uint64_t limit = cli_u64(call, "--limit");
	int rc = failed_groups(con->pg, f, limit == 0 ? INT32_MAX : (int)limit, &res, err);

	if (rc != 0)
		return rc;
	out_open(&out, call);
	out_table(&out, group_columns, ARRAY_SIZE(group_columns));
	for (int i = 0; i < PQntuples(res); i++) {
		out_text(&out, pg_str(res, i, "n"));
		out_text(&out, pg_str(res, i, "migration"));
		out_text(&out, pg_opt(res, i, "sqlstate"));
		out_text(&out, pg_opt(res, i, "constraint_name"));
		out_text(&out, pg_opt(res, i, "example"));
		out_text(&out, pg_str(res, i, "example_id"));
		out_text(&out, pg_opt(res, i, "kind"));
		out_text(&out, pg_str(res, i, "first_failed_at"));
		out_text(&out, pg_str(res, i, "last_failed_at"));
	}
	return out_end(&out, "no failed jobs", err);
}

/* "dead,ignored" -> an array literal; `all` does not restrict. */
static int read_states(const struct cli_call *call, struct buf *out, struct err *err)
{
	const struct strvec *given = cli_list(call, "--state");

	for (size_t i = 0; i < given->n; i++) {
		if (strcmp(given->v[i], "all") == 0) {
			buf_reset(out);
			return 0;
		}
		if (!text_one_of(given->v[i], states))
			return err_set(
				err, ST_USAGE,
				"--state: there is no state '%s': dead, queued, retrying, ignored, done, gone, 'not pending', or all",
				given->v[i]);
		buf_printf(out, "%s%s", i > 0 ? "," : "", given->v[i]);
	}
	return 0;
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	CLEANUP(buf_free) struct buf wanted = BUF_INIT(1000);
	struct migration_ref m;
	struct filter f;
	int rc = filter_open(&f, con, call, NULL, err);

	if (rc == 0)
		rc = read_states(call, &wanted, err);
	f.failed.states = wanted.len > 0 ? wanted.data : NULL;
	if (rc == 0)
		rc = call->nargs > 0 ? console_find(con, call, call->args[0], &m, err) : console_pg(con, call, err);
	if (rc == 0 && call->nargs > 0)
		f.failed.migration_id = m.id;
	if (rc == 0)
		rc = cli_flag(call, "--group") ? groups(con, call, &f.failed, err) : list(con, call, &f.failed, err);
	filter_close(&f);
	return rc;
}

/* ------------------------------------------------------------ one */

static const struct out_column show_columns[] = {
	{ "id", NULL, .type = OUT_ID },
	{ "migration", NULL, .type = OUT_STR },
	{ "migration_state", NULL, OUT_STR, .where = OUT_ONLY_JSON },
	{ "state", NULL, OUT_STR, .style = state_style },
	{ "table", NULL, .type = OUT_STR },
	{ "key_columns", NULL, OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "key", NULL, OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "key_text", "key", OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "batch", NULL, .type = OUT_ID },
	{ "root", "first split off", .type = OUT_ID },
	{ "sqlstate", NULL, .type = OUT_STR },
	{ "message", NULL, .type = OUT_STR },
	{ "detail", NULL, .type = OUT_STR },
	{ "hint", NULL, .type = OUT_STR },
	{ "context", NULL, .type = OUT_STR },
	{ "constraint", NULL, .type = OUT_STR },
	{ "statement", NULL, .type = OUT_STR },
	{ "row", NULL, .type = OUT_STR },
	{ "kind", NULL, .type = OUT_STR },
	{ "attempts", "attempts", .type = OUT_INT },
	{ "replays", NULL, .type = OUT_INT },
	{ "worker", NULL, .type = OUT_STR },
	{ "first_failed_at", "first failed", .type = OUT_TIME },
	{ "last_failed_at", "last failed", .type = OUT_TIME },
	{ "due_at", "next attempt", .type = OUT_TIME },
	{ "queued_at", "replayed", .type = OUT_TIME },
	{ "history", "before that", OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "history_text", "before that", OUT_STR, .where = OUT_ONLY_HUMAN },
};

static int run_show(const struct cli_call *call, void *ctx, struct err *err)
{
	static const char *const texts[] = { "sqlstate", "message",  "detail",   "hint",    "context", "constraint_name", "statement",
					     "row",      "kind",     "attempts", "replays", "worker",  "first_failed_at", "last_failed_at",
					     "due_at",   "queued_at" };
	struct console *con = ctx;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	CLEANUP(out_close) struct out out = { 0 };
	uint64_t id;
	int rc = text_parse_u64(call->args[0], 1, INT64_MAX - 1, &id, err);

	if (rc != 0)
		return err_set(err, ST_USAGE, "'%s' is no id of a failed job", call->args[0]);
	rc = console_pg(con, call, err);
	if (rc == 0)
		rc = failed_show(con->pg, (int64_t)id, &res, err);
	if (rc != 0)
		return rc;
	out_open(&out, call);
	out_kv(&out, show_columns, ARRAY_SIZE(show_columns));
	out_text(&out, pg_str(res, 0, "id"));
	out_text(&out, pg_str(res, 0, "migration"));
	out_text(&out, pg_str(res, 0, "migration_state"));
	out_text(&out, pg_str(res, 0, "state"));
	out_text(&out, pg_str(res, 0, "table_name"));
	out_json(&out, pg_str(res, 0, "key_columns"));
	out_json(&out, pg_str(res, 0, "key"));
	out_text(&out, pg_str(res, 0, "key_text"));
	out_text(&out, pg_str(res, 0, "batch"));
	out_text(&out, pg_str(res, 0, "root"));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		out_text(&out, pg_opt(res, 0, texts[i]));
	out_json(&out, pg_str(res, 0, "history"));
	out_text(&out, pg_opt(res, 0, "history_text"));
	return out_end(&out, NULL, err);
}

const struct cli_command failed_command = {
	.name = "failed",
	.args = "[NAME]",
	.max_args = 1,
	.complete = "migrations",
	.summary = "list dead letters, newest first, or count them by kind",
	.help = "A dead letter is a row that could not be migrated: it failed alone, and is kept in PostgreSQL with everything that was known. Mend the "
		"data, the constraint or the migration, then `drover retry`.\n\n"
		"Those that wait for a replay or another attempt are shown too; those that are settled with `--state all`.",
	.examples = examples,
	.options = options,
	.run = run,
};

const struct cli_command failed_show_command = {
	.name = "failed show",
	.args = "ID",
	.min_args = 1,
	.max_args = 1,
	.summary = "everything about one dead letter",
	.help = "The row as it was, the error with its detail, context and constraint, the statement, the worker, and what became of earlier replays.",
	.run = run_show,
};
