/* drover amend: a mended file in the place of a paused migration's, on the same ledger, as a new revision. */
#include <string.h>

#include "cli/output.h"
#include "producer/target.h"
#include "registration/register.h"

static const struct out_column columns[] = {
	{ "name", "migration", .type = OUT_STR },
	{ "revision", NULL, .type = OUT_ID },
	{ "state", NULL, .type = OUT_STR },
};

static int report(const struct cli_call *call, const struct registration *r, struct err *err)
{
	CLEANUP(out_close) struct out out = { 0 };

	out_open(&out, call);
	if (out.format == OUT_HUMAN) {
		out_note(&out, "%s is at revision %d now, and paused; to go on: drover resume %s", r->name, r->revision, r->name);
		return 0;
	}
	out_kv(&out, columns, ARRAY_SIZE(columns));
	out_text(&out, r->name);
	out_int(&out, r->revision);
	out_text(&out, r->state);
	return out_end(&out, NULL, err);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	bool from_input = strcmp(call->args[1], "-") == 0;
	const char *shown = from_input ? "standard input" : call->args[1];
	struct register_options options = { .actor = console_actor(con, call) };
	struct migration_file *file = NULL;
	struct registration registration;
	struct problems problems;
	struct migration_ref m;
	int rc;

	problems_init(&problems);
	rc = migration_file_read(call->args[1], from_input ? call->args[0] : NULL, &file, &problems, err);
	if (rc == 0)
		rc = console_find(con, call, call->args[0], &m, err);
	if (rc == 0)
		rc = register_amend(con->pg, m.name, file, &options, &registration, &problems, err);
	if (rc == 0)
		console_ring(con, call);
	if (rc == 0)
		rc = report(call, &registration, err);
	else
		target_print_problems(call, &problems, shown, err);
	migration_file_free(file);
	problems_free(&problems);
	return rc;
}

const struct cli_command amend_command = {
	.name = "amend",
	.args = "NAME FILE",
	.min_args = 2,
	.max_args = 2,
	.complete = "migrations,files",
	.summary = "put a mended file in the place of a paused migration's",
	.help = "A registered migration does not change: this is the way out for a file with a mistake. The migration must be paused, and table, key, mode and "
		"whether it is ledger-only must stay as they are. What is done stays done; the rest is done by the new revision. An event in the audit trail tells of it.\n\n"
		"`-` as FILE is standard input: where the console has no files, as in a container.",
	.run = run,
};
