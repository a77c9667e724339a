/* The console as tables: parsing, help, completion and docs/console.md all read them. */
#include <stdio.h>
#include <string.h>

#include "ledger/settings.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "version.h"

static const struct cli_option options[] = {
	CLI_OPTION_DATABASE_URL,
	CLI_OPTION_REDIS_URL,
	CLI_OPTION_JSON,
	CLI_OPTION_NO_COLOR,
	CLI_OPTION_QUIET,
	CLI_OPTION_VERBOSE,
	CLI_OPTION_YES,
	{ "--actor", .arg = "NAME", .env = "DROVER_ACTOR", .help = "who is named in the audit trail; otherwise the user and the host" },
	{ 0 },
};

static const struct cli_text env[] = {
	CLI_TEXT_PASSWORDS,
	{ "PGHOST, PGUSER, PGPASSFILE ...", "libpq's own, for what DATABASE_URL leaves out" },
	{ "NO_COLOR", "no colours" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover run 0001_pages.sql", "everything on this machine: only DATABASE_URL is needed" },
	{ "drover produce 0001_pages.sql --wait", "push the jobs for a fleet of workers and stay until the last is done" },
	{ "drover status --watch", "look on" },
	{ "drover failed --group", "what went wrong, by kind" },
	{ "drover retry all --error 23514", "replay the dead letters of one kind, once the cause is mended" },
	{ 0 },
};

static const struct cli_text exits[] = {
	{ "3", "not clean: verify found rows, or doctor something that needs a hand" },
	{ "4", "finished, with dead letters" },
	{ 0 },
};

/* PostgreSQL is asked once, without waiting: somebody sits there. */
static int complete(void *ctx, const struct cli_call *call, const char *kind, struct strvec *ret)
{
	struct console *con = ctx;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	bool workers = strcmp(kind, "workers") == 0, config = strcmp(kind, "config") == 0;
	char setting[64];
	int rc;

	if (!workers && !config && strcmp(kind, "migrations") != 0)
		return ST_NOT_FOUND;
	for (int i = 0; config && i < SETTING_NR; i++) {
		snprintf(setting, sizeof(setting), "%s=", setting_table[i].name);
		rc = strvec_push(ret, setting);
		if (rc != 0)
			return rc;
	}
	rc = console_try_pg(con, call, NULL);
	if (rc == 0)
		rc = workers ? migrations_workers(con->pg, &res, NULL) : migrations_names(con->pg, &res, NULL);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++)
		rc = strvec_push(ret, pg_str(res, i, "name"));
	return rc;
}

const struct cli_program *console_program(void)
{
	/* A table of constants of other files is no constant in C: it is put together at the first call. */
	static struct cli_command commands[32];
	static struct cli_program program = {
		.name = "drover",
		.version = DROVER_VERSION,
		.summary = "migrate the rows of a live PostgreSQL table while the application keeps running",
		.help = "A migration is one SQL file. The producer scans the table for rows that are not migrated yet and pushes jobs into Redis; "
			"any number of `drover-worker` processes do them. PostgreSQL keeps the ledger: Redis may be lost at any moment.\n\n"
			"`drover help COMMAND` explains a command.",
		.commands = commands,
		.options = options,
		.env = env,
		.exits = exits,
		.examples = examples,
		.complete = complete,
	};
	const struct cli_command *all[] = {
		&init_command,    &run_command,    &produce_command, &status_command, &doctor_command,   &verify_command,
		&pause_command,   &resume_command, &cancel_command,  &config_command, &failed_command,   &failed_show_command,
		&retry_command,   &forget_command, &flush_command,   &prune_command,  &workers_command,  &restart_command,
		&monitor_command, &clear_command,  &amend_command,   &events_command, &exporter_command, &docs_command,
	};

	_Static_assert(ARRAY_SIZE(all) < ARRAY_SIZE(commands), "the last entry stays empty");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		commands[i] = *all[i];
	return &program;
}
