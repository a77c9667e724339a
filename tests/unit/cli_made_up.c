#include "cli_made_up.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int cli_run_nothing(const struct cli_call *call, void *ctx, struct err *err)
{
	(void)call;
	(void)ctx;
	(void)err;
	return 0;
}

static int run_status(const struct cli_call *call, void *ctx, struct err *err)
{
	*(unsigned *)ctx += call->nargs + 1;
	if (cli_flag(call, "--watch"))
		return err_set(err, ST_REFUSED, "cannot watch '%s'", call->nargs > 0 ? call->args[0] : "");
	return cli_flag(call, "--quiet") ? CLI_EXIT_DEAD_LETTERS : 0;
}

static int complete(void *ctx, const struct cli_call *call, const char *kind, struct strvec *ret)
{
	(void)ctx;
	(void)call;
	if (strcmp(kind, "migrations") != 0)
		return ST_NOT_FOUND;
	strvec_push(ret, "0002_users");
	return strvec_push(ret, "0001_pages");
}

static const char *const modes[] = { "batch", "row", NULL };

static const struct cli_option produce_options[] = {
	{ "--batch-size", .arg = "N", .env = "T_BATCH_SIZE", .type = CLI_U64, .def = "1000", .min = 1, .max = 100000,
	  .help = "rows per job" },
	{ "--mode", .arg = "MODE", .type = CLI_CHOICE, .choices = modes, .def = "batch", .help = "one job per batch or per row" },
	{ "--wait", .env = "T_WAIT", .help = "stay until all is done" },
	{ "--timeout", .short_name = 't', .arg = "TIME", .type = CLI_DURATION, .min = 100, .max = 60000, .def = "5s",
	  .help = "longest statement" },
	{ "--max-memory", .arg = "SIZE", .type = CLI_BYTES, .min = 1024, .help = "ceiling" },
	{ "--backoff", .arg = "TIMES", .type = CLI_DURATION_LIST, .def = "1,5,30", .help = "waits between attempts" },
	{ "--rate", .arg = "N/s", .type = CLI_RATE, .help = "pace" },
	{ "--breaker", .arg = "PERCENT", .type = CLI_PERCENT, .def = "20%", .help = "pause at this share" },
	{ "--offset", .arg = "N", .type = CLI_I64, .help = "any number" },
	{ "--tag", .arg = "TEXT", .repeatable = true, .help = "a note" },
	{ "--migration", .arg = "NAMES", .type = CLI_LIST, .complete = "migrations", .help = "only these" },
	{ "--inner", .hidden = true, .help = "not for people" },
	{ 0 },
};

static const struct cli_option status_options[] = {
	{ "--watch", .short_name = 'w', .help = "again and again" },
	{ 0 },
};

static const struct cli_option common_options[] = {
	CLI_OPTION_DATABASE_URL, CLI_OPTION_JSON, CLI_OPTION_NO_COLOR, CLI_OPTION_QUIET, CLI_OPTION_VERBOSE, { 0 },
};

static const struct cli_example produce_examples[] = {
	{ "drover produce 0001_pages.sql --wait", "push every job and stay" },
	{ 0 },
};

static const struct cli_text verify_exits[] = { { "3", "rows are left" }, { 0 } };

static const struct cli_command commands[] = {
	{ "produce", .args = "FILE", .min_args = 1, .max_args = 1, .summary = "push the jobs of a migration", .options = produce_options,
	  .help = "Scans the table.\n\nRun again, it goes on where it was.", .examples = produce_examples, .complete = "files",
	  .run = cli_run_nothing },
	{ "status", .args = "[NAME]", .max_args = 1, .summary = "show how far it is", .options = status_options, .complete = "migrations",
	  .run = run_status },
	{ "failed", .args = "[NAME]", .max_args = 1, .summary = "list dead letters", .complete = "migrations", .run = cli_run_nothing },
	{ "failed show", .args = "ID", .min_args = 1, .max_args = 1, .summary = "show one", .run = cli_run_nothing },
	{ "retry", .args = "ID...", .min_args = 1, .max_args = CLI_ARGS_ANY, .summary = "run them again",
	  .complete = "migrations,dead gone", .run = cli_run_nothing },
	{ "verify", .summary = "prove it", .exits = verify_exits, .run = cli_run_nothing },
	{ "secret", .summary = "hidden", .hidden = true, .run = cli_run_nothing },
	{ 0 },
};

const struct cli_program cli_made_up = {
	.name = "drover",
	.version = "1.2.3",
	.summary = "migrates rows",
	.commands = commands,
	.options = common_options,
	.complete = complete,
};

const struct cli_program cli_lone = {
	.name = "drover-worker",
	.version = "1.2.3",
	.summary = "does the jobs",
	.options = produce_options,
	.run = cli_run_nothing,
};

int cli_set_up(void **state)
{
	(void)state;
	unsetenv("T_BATCH_SIZE");
	unsetenv("T_WAIT");
	unsetenv("DATABASE_URL");
	unsetenv("DROVER_JSON");
	return 0;
}
