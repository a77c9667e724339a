/* drover forget, flush, prune: dead letters that nobody will replay. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/confirm.h"
#include "cli/output.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "producer/filter.h"

#define CHUNK 1000 /* rows of one transaction */

static const struct out_column columns[] = {
	{ "matched", NULL, .type = OUT_INT },
	{ "dropped", NULL, .type = OUT_INT },
};

struct drop {
	struct console *con;
	const struct cli_call *call;
	struct filter filter;
	const char *action; /* of the audit trail */
	bool tombstones;    /* forget; otherwise they are deleted */
	int64_t newest, matched, dropped;
};

static int one_chunk(struct drop *d, int64_t *after, int *ret_n, struct err *err)
{
	const struct failed_filter *f = &d->filter.failed;

	if (d->tombstones)
		return failed_ignore(d->con->pg, f, *after, d->newest, CHUNK, console_actor(d->con, d->call), ret_n, after, err);
	return failed_delete(d->con->pg, f, *after, d->newest, CHUNK, ret_n, after, err);
}

static int drop_all(struct drop *d, struct err *err)
{
	CLEANUP(buf_free) struct buf what = BUF_INIT(4000);
	CLEANUP(buf_free) struct buf detail = BUF_INIT(5000);
	const struct migration_ref m = { .id = d->filter.failed.migration_id };
	int64_t after = 0;
	int rc = 0, n = 1;

	while (rc == 0 && n > 0) {
		rc = one_chunk(d, &after, &n, err);
		d->dropped += rc == 0 ? n : 0;
	}
	if (d->dropped == 0 || pg_sync_lost(d->con->pg))
		return rc;
	filter_describe(&d->filter, d->call, &what);
	buf_printf(&detail, "%" PRId64 " dead letters (%s)", d->dropped, what.data);
	if (rc != 0)
		return rc;
	return migrations_event(d->con->pg, &m, console_actor(d->con, d->call), d->action, detail.data, err);
}

static int report(struct drop *d, const char *done, struct err *err)
{
	CLEANUP(out_close) struct out out = { 0 };

	out_open(&out, d->call);
	if (out.format == OUT_HUMAN) {
		out_note(&out, "%s dead letter%s %s", text_human_rows((uint64_t)d->dropped).s, d->dropped == 1 ? "" : "s", done);
		if (d->dropped < d->matched)
			out_note(
				&out,
				"%s stay: those of ledger-only migrations, of which nothing else knows (drover forget), and those that wait for "
				"another attempt",
				text_human_rows((uint64_t)(d->matched - d->dropped)).s);
		return 0;
	}
	out_kv(&out, columns, ARRAY_SIZE(columns));
	out_int(&out, d->matched);
	out_int(&out, d->dropped);
	return out_end(&out, NULL, err);
}

/* @question and @done are what is asked and said of the number found. */
static int drop(struct drop *d, const char *question, const char *done, struct err *err)
{
	char text[700];
	int rc = console_pg(d->con, d->call, err);

	if (rc == 0)
		rc = failed_newest(d->con->pg, &d->newest, err);
	if (rc == 0)
		rc = failed_count(d->con->pg, &d->filter.failed, d->newest, &d->matched, err);
	if (rc != 0)
		return rc;
	if (d->matched == 0 && d->filter.failed.nranges > 0)
		return err_set(err, ST_NOT_FOUND, "none of these is a dead letter; `drover failed` lists them");
	if (d->matched > 0) {
		snprintf(text, sizeof(text), question, text_human_rows((uint64_t)d->matched).s);
		rc = cli_confirm(text, cli_flag(d->call, "--yes"), err);
		if (rc == 0)
			rc = drop_all(d, err);
	}
	return rc != 0 ? rc : report(d, done, err);
}

/* "--hours 24" -> failed longer ago than that. */
static void set_age(struct drop *d, char *out, size_t size)
{
	if (!cli_given(d->call, "--hours") && cli_source(d->call, "--hours") != CLI_FROM_DEFAULT)
		return;
	snprintf(out, size, "%" PRIu64 " hours", cli_u64(d->call, "--hours"));
	d->filter.failed.before = out;
}

/* ------------------------------------------------------------ forget */

static const struct cli_option forget_options[] = {
	FILTER_OPTION_MIGRATION,
	FILTER_OPTION_ERROR,
	FILTER_OPTION_SINCE,
	{ 0 },
};

static int run_forget(const struct cli_call *call, void *ctx, struct err *err)
{
	struct drop d = { .con = ctx, .call = call, .action = "forget", .tombstones = true };
	int rc = filter_open(&d.filter, d.con, call, call->args, err);

	d.filter.failed.states = "dead";
	if (rc == 0)
		rc = drop(&d, "Leave %s rows as they are, for good?",
			  "forgotten: sweeps pass over their rows, verify names them as forgotten", err);
	filter_close(&d.filter);
	return rc;
}

const struct cli_command forget_command = {
	.name = "forget",
	.args = "ID|A-B|all...",
	.min_args = 1,
	.max_args = CLI_ARGS_ANY,
	.complete = "all",
	.summary = "leave rows as they are: their dead letters become tombstones",
	.help = "The row will not be migrated. A tombstone (state `ignored`) stays, so that sweeps pass over the row and `drover verify` can name it. "
		"`drover retry ID` takes it back. Asks unless --yes.",
	.options = forget_options,
	.run = run_forget,
};

/* ------------------------------------------------------------ flush */

static const struct cli_option flush_options[] = {
	FILTER_OPTION_MIGRATION,
	FILTER_OPTION_ERROR,
	{ "--hours", .arg = "N", .type = CLI_U64, .max = 1000000, .help = "only those whose last failure was longer ago" },
	{ 0 },
};

static int run_flush(const struct cli_call *call, void *ctx, struct err *err)
{
	struct drop d = { .con = ctx, .call = call, .action = "flush" };
	char age[48];
	int rc = filter_open(&d.filter, d.con, call, NULL, err);

	d.filter.failed.states = "dead,ignored,done,gone,not pending";
	set_age(&d, age, sizeof(age));
	if (rc == 0)
		rc = drop(
			&d,
			"Drop %s dead letters? Rows that are still pending will be found and tried again by the sweeps of a running migration; "
			"in a finished one they stay as they are, and only verify knows of them.",
			"dropped", err);
	filter_close(&d.filter);
	return rc;
}

const struct cli_command flush_command = {
	.name = "flush",
	.summary = "drop dead letters, with what is known of them",
	.help = "Deletes them, dead, forgotten and settled ones alike; not those that wait for a replay or another attempt. It does not settle the rows: what is "
		"still pending is found by the next sweep of a running migration and tried again; in a finished migration `drover verify` finds it. To leave "
		"rows as they are, use `drover forget`.\n\n"
		"Those of a ledger-only migration stay, since nothing else knows of their rows. Asks unless --yes.",
	.options = flush_options,
	.run = run_flush,
};

/* ------------------------------------------------------------ prune */

static const struct cli_option prune_options[] = {
	FILTER_OPTION_MIGRATION,
	{ "--hours", .arg = "N", .type = CLI_U64, .def = "24", .max = 1000000, .help = "only those whose last failure was longer ago" },
	{ 0 },
};

static int run_prune(const struct cli_call *call, void *ctx, struct err *err)
{
	struct drop d = { .con = ctx, .call = call, .action = "prune" };
	char age[48];
	int rc = filter_open(&d.filter, d.con, call, NULL, err);

	d.filter.failed.states = "done,gone,not pending";
	set_age(&d, age, sizeof(age));
	if (rc == 0)
		rc = drop(&d, "Drop the history of %s dead letters that are settled?", "with a settled fate dropped", err);
	filter_close(&d.filter);
	return rc;
}

const struct cli_command prune_command = {
	.name = "prune",
	.summary = "drop old dead letters that are settled",
	.help = "Those whose replay succeeded, whose row is gone, or was migrated meanwhile. Nothing that anybody has still to decide on. Asks unless --yes.",
	.options = prune_options,
	.run = run_prune,
};
