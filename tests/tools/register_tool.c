/*
 * register_tool.c - registers or amends a migration and does nothing else, so that a test can run its plan step by step.
 *
 *   register-tool register|amend DATABASE_URL FILE [MODE [BATCH_SIZE]]
 *
 * Prints the registration as JSON. Mistakes go to stderr, one a line; exit status 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "ledger/schema.h"
#include "pg/pg_sync.h"
#include "registration/register.h"

struct call {
	bool amend;
	const char *url, *path;
	struct register_options options;
};

static int run_on(struct pg_sync *c, const struct call *call, struct registration *ret, struct problems *problems, struct err *err)
{
	struct migration_file *f = NULL;
	struct schema_info info;
	int rc = schema_open(c, &info, err);

	if (rc == 0)
		rc = migration_file_read(call->path, NULL, &f, problems, err);
	if (rc == 0 && call->amend)
		rc = register_amend(c, f->name, f, &call->options, ret, problems, err);
	else if (rc == 0)
		rc = register_migration(c, f, &call->options, ret, problems, err);
	migration_file_free(f);
	return rc;
}

static void print(const struct registration *r)
{
	printf("{\"id\": %d, \"revision\": %d, \"mode\": \"%s\", \"batch_size\": %d, \"ledger_only\": %s, \"created\": %s, \"state\": \"%s\", "
	       "\"estimated_rows\": %lld}\n",
	       r->id, r->revision, migration_mode_name(r->mode), r->batch_size, r->ledger_only ? "true" : "false",
	       r->created ? "true" : "false", r->state, (long long)r->estimated_rows);
}

int main(int argc, char **argv)
{
	struct buf text = BUF_INIT(1000000);
	struct err err = ERR_INIT;
	struct problems problems;
	struct registration made;
	struct pg_sync *c = NULL;
	struct call call;
	int rc;

	if (argc < 4)
		return 2;
	call = (struct call){
		.amend = strcmp(argv[1], "amend") == 0,
		.url = argv[2],
		.path = argv[3],
		.options = { .actor = "test", .mode = argc > 4 ? argv[4] : NULL, .batch_size = argc > 5 ? atoi(argv[5]) : 0 },
	};
	problems_init(&problems);
	rc = pg_sync_try_open(&c, call.url, "register-tool", 0, NULL, &err);
	if (rc == 0)
		rc = run_on(c, &call, &made, &problems, &err);
	if (rc == 0)
		print(&made);
	else {
		(void)problems_print(&problems, call.path, &text);
		fprintf(stderr, "%serror: %s\n", text.data, err.msg);
	}
	buf_free(&text);
	problems_free(&problems);
	pg_sync_free(c);
	return rc == 0 ? 0 : 1;
}
