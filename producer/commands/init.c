/* drover init: install, upgrade, re-key the schema; grant the roles their rights. */
#include "cli/output.h"
#include "core/outage.h"
#include "pg/pg_sync.h"
#include "producer/console.h"

static const struct cli_option options[] = {
	{ "--worker-role", .arg = "NAME", .env = "DROVER_WORKER_ROLE", .help = "grant this role what drover-worker needs of the schema" },
	{ "--producer-role", .arg = "NAME", .env = "DROVER_PRODUCER_ROLE",
	  .help = "grant this role what produce and the other commands need of the schema" },
	{ "--reader-role", .arg = "NAME", .env = "DROVER_READER_ROLE", .help = "grant this role what status, failed and monitor need" },
	{ "--rekey", .help = "make a copied database an installation of its own, with keys of its own in Redis" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover init", "install or upgrade; produce and run do it themselves where they may" },
	{ "drover init --worker-role app_worker --producer-role app_admin", "and let two roles work with it" },
	{ "drover init --rekey", "in a copy of a database, before anything is run there" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "schema_version", "schema", .type = OUT_ID },          { "installation", NULL, .type = OUT_STR },
	{ "installed", NULL, OUT_BOOL, .where = OUT_ONLY_JSON }, { "upgraded_from", NULL, OUT_ID, .where = OUT_ONLY_JSON },
	{ "rekeyed", NULL, OUT_BOOL, .where = OUT_ONLY_JSON },
};

static int rekey(struct console *con, const struct cli_call *call, struct err *err)
{
	int rc = console_connect(con, call, err);

	if (rc != 0)
		return rc;
	return schema_rekey(con->pg, console_actor(con, call), &con->schema, err);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	const struct schema_roles roles = { cli_str(call, "--worker-role"), cli_str(call, "--producer-role"),
					    cli_str(call, "--reader-role") };
	bool rekeyed = cli_flag(call, "--rekey");
	CLEANUP(out_close) struct out out = { 0 };
	int rc = 0;

	out_open(&out, call);
	con->installs = true;
	if (rekeyed)
		rc = rekey(con, call, err);
	if (rc == 0 && rekeyed)
		rc = schema_open(con->pg, &con->schema, err);
	else if (rc == 0)
		rc = console_pg(con, call, err);
	if (rc == 0)
		rc = schema_grant(con->pg, &roles, err);
	if (rc != 0)
		return rc;
	out_kv(&out, columns, ARRAY_SIZE(columns));
	out_int(&out, con->schema.version);
	out_text(&out, con->schema.installation);
	out_bool(&out, con->schema.installed);
	if (con->schema.upgraded_from > 0)
		out_int(&out, con->schema.upgraded_from);
	else
		out_null(&out);
	out_bool(&out, rekeyed);
	return out_end(&out, NULL, err);
}

const struct cli_command init_command = {
	.name = "init",
	.summary = "install or upgrade the schema drover",
	.help = "Installs the schema `drover` in the database, or upgrades it; safe to run again and from several places at once. `produce`, `run` and "
		"changes of settings do it by themselves where their role may; every other command changes nothing and says that it is missing.\n\n"
		"The installation is bound to this server and database: in a copy (a restored dump, a template) every command refuses to work, so that the "
		"copy does not take the original's jobs from Redis. `--rekey` makes the copy an installation of its own; so does a server that went through "
		"pg_upgrade need it.\n\n"
		"The role options grant the least rights on the schema. On the migrated tables grant by hand: SELECT and UPDATE to the worker role (and "
		"what a backfill section or a procedure touches), SELECT to the producer role.",
	.examples = examples,
	.options = options,
	.run = run,
};
