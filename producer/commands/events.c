/* drover events: the audit trail, newest first. */
#include "cli/output.h"
#include "pg/pg_sync.h"
#include "producer/console.h"

#define PAGE 500 /* rows fetched at once */

static const struct cli_option options[] = {
	{ "--limit", .arg = "N", .type = CLI_U64, .def = "50", .min = 1, .max = 1000000000, .help = "at most so many, newest first" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "id", NULL, OUT_ID, .where = OUT_ONLY_JSON }, { "at", "WHEN", .type = OUT_TIME },
	{ "migration", "MIGRATION", .type = OUT_STR },  { "actor", "WHO", .type = OUT_STR },
	{ "action", "WHAT", .type = OUT_STR },          { "detail", "WHY", OUT_STR, .below = true },
};

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct migration_ref m = { .id = 0 };
	CLEANUP(out_close) struct out out = { 0 };
	uint64_t left = cli_u64(call, "--limit");
	int64_t before = 0;
	int n = PAGE, rc = call->nargs > 0 ? console_find(con, call, call->args[0], &m, err) : console_pg(con, call, err);

	if (rc != 0)
		return rc;
	out_open(&out, call);
	out_table(&out, columns, ARRAY_SIZE(columns));
	while (rc == 0 && left > 0 && n == PAGE) {
		CLEANUP(pg_result_freep) PGresult *res = NULL;

		rc = migrations_events(con->pg, m.id, before, left < PAGE ? (int)left : PAGE, &res, err);
		n = rc == 0 ? PQntuples(res) : 0;
		for (int i = 0; i < n; i++) {
			out_text(&out, pg_str(res, i, "id"));
			out_text(&out, pg_str(res, i, "at"));
			out_text(&out, pg_opt(res, i, "migration"));
			out_text(&out, pg_str(res, i, "actor"));
			out_text(&out, pg_str(res, i, "action"));
			out_text(&out, pg_opt(res, i, "detail"));
			before = pg_i64(res, i, "id");
		}
		left -= (uint64_t)n;
	}
	if (rc != 0)
		return rc;
	return out_end(&out, "no events", err);
}

const struct cli_command events_command = {
	.name = "events",
	.args = "[NAME]",
	.max_args = 1,
	.complete = "migrations",
	.summary = "the audit trail: who did what, when, and why",
	.help = "Registrations, pauses with their reason, changed settings, replays and the like, of all migrations or of one, newest first.",
	.options = options,
	.run = run,
};
