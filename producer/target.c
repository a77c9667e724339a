#include "producer/target.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ledger/settings.h"
#include "registration/register.h"

void target_print_problems(const struct cli_call *call, struct problems *p, const char *file, struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(256 * 1024);

	if (p->n == 0 || err->code != ST_INPUT || cli_flag(call, "--json"))
		return;
	problems_print(p, file, &text);
	fputs(text.data, stderr);
	/* Said above; --json has the first in its message instead. */
	err_set(err, err->code, "%zu mistake%s in '%s'; nothing was changed", p->total, p->total == 1 ? "" : "s", file);
}

/* A file, or what was meant as one. */
static bool is_file(const char *arg)
{
	size_t n = strlen(arg);
	struct stat st;

	return stat(arg, &st) == 0 || strchr(arg, '/') != NULL || strcmp(arg, "-") == 0 || (n > 4 && strcmp(arg + n - 4, ".sql") == 0);
}

int target_read(struct target *t, const struct cli_call *call, const char *arg, struct err *err)
{
	struct problems problems;
	int rc;

	memset(t, 0, sizeof(*t));
	t->arg = arg;
	if (!is_file(arg))
		return 0;
	problems_init(&problems);
	rc = migration_file_read(arg, NULL, &t->file, &problems, err);
	if (rc != 0)
		target_print_problems(call, &problems, arg, err);
	problems_free(&problems);
	return rc;
}

static int find(struct target *t, struct console *con, const struct cli_call *call, struct err *err)
{
	struct migration_ref m;
	int rc;

	if (cli_given(call, "--mode"))
		return err_set(err, ST_USAGE, "--mode is settled when a file is registered: give the file, or leave it out");
	rc = console_find(con, call, t->arg, &m, err);
	if (rc != 0)
		return rc;
	t->id = m.id;
	t->row_mode = m.row_mode;
	t->ledger_only = m.ledger_only;
	snprintf(t->name, sizeof(t->name), "%s", m.name);
	snprintf(t->state, sizeof(t->state), "%s", m.state);
	return 0;
}

static int register_file(struct target *t, struct console *con, const struct cli_call *call, struct err *err)
{
	struct register_options options = {
		.actor = console_actor(con, call),
		.mode = cli_str(call, "--mode"),
		.batch_size = cli_given(call, "--batch-size") ? (int)cli_u64(call, "--batch-size") : 0,
		.row_limit = (int64_t)cli_u64(call, "--limit"),
	};
	struct registration r;
	struct problems problems;
	struct settings general; /* where neither the file nor the command line says */
	int rc;

	rc = console_pg(con, call, err);
	if (rc == 0)
		rc = migrations_settings(con->pg, 0, &general, err);
	if (rc != 0)
		return rc;
	options.default_batch_size = (int)general.batch_size;
	problems_init(&problems);
	rc = register_migration(con->pg, t->file, &options, &r, &problems, err);
	if (rc != 0)
		target_print_problems(call, &problems, t->arg, err);
	problems_free(&problems);
	if (rc != 0)
		return rc;
	t->id = r.id;
	t->created = r.created;
	t->row_mode = r.mode == MIGRATION_ROW;
	t->ledger_only = r.ledger_only;
	snprintf(t->name, sizeof(t->name), "%s", r.name);
	snprintf(t->state, sizeof(t->state), "%s", r.state);
	if (r.created)
		console_note(call, "registered '%s' on %s, in %s mode", r.name, r.table, migration_mode_name(r.mode));
	return 0;
}

static int try(struct target *t, struct console *con, const struct cli_call *call, struct err *err)
{
	int rc = t->file != NULL ? register_file(t, con, call, err) : find(t, con, call, err);
	struct migration_ref m = { .id = t->id };

	if (rc == 0 && cli_flag(call, "--full-speed"))
		rc = migrations_configure(con->pg, &m, setting_table[SETTING_THROTTLE].name, "off", console_actor(con, call), err);
	return rc;
}

/* What was committed before an outage broke in is found so. */
int target_register(struct target *t, struct console *con, const struct cli_call *call, struct err *err)
{
	int rc;

	do {
		rc = try(t, con, call, err);
	} while (rc != 0 && (rc = console_ride_out(con, err)) == 0);
	return rc;
}

void target_close(struct target *t)
{
	if (t->file != NULL)
		migration_file_free(t->file);
	t->file = NULL;
}
