/* drover config: reads and changes run-time settings while everything runs. */
#include <string.h>

#include "cli/output.h"
#include "ledger/settings.h"
#include "pg/pg_sync.h"
#include "producer/console.h"

#define KEY_MAX 64
#define VALUE_MAX 400 /* bytes of a value as it is printed */

static const struct cli_example examples[] = {
	{ "drover config", "the settings for all migrations" },
	{ "drover config 0001_pages", "those in force for one, and where each comes from" },
	{ "drover config 0001_pages processing_interval_ms=200", "slow it down, from the next transaction on" },
	{ "drover config 0001_pages processing_interval_ms=", "take that back: an empty value unsets" },
	{ "drover config tries", "one value, for a script" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "key", "SETTING", .type = OUT_STR },
	{ "value", "VALUE", .type = OUT_STR },
	{ "unit", "UNIT", .type = OUT_STR },
	{ "origin", "FROM", .type = OUT_STR },
	{ "default", "DEFAULT", .type = OUT_STR },
	{ "updated_at", "SINCE", OUT_TIME, .where = OUT_ONLY_JSON },
	{ "updated_by", "BY", OUT_STR, .where = OUT_ONLY_JSON },
	{ "help", "WHAT IT DOES", OUT_STR, .below = true },
};

/* ------------------------------------------------------------ which migration, which keys */

struct request {
	bool one;               /* of one migration: */
	struct migration_ref m; /* id 0: all */
	char **words;           /* KEY or KEY=VALUE; NULL at the end */
};

/* Somebody wants to go gently from the first row on. */
static void explain_unknown(struct err *err)
{
	struct err why = *err;

	size_t n = strlen(why.msg);

	err_set(err, ST_NOT_FOUND,
		"%s%s Before it is produced, its settings go into its file (-- drover: batch-size 500), or are set for all: drover config KEY=VALUE",
		why.msg, n > 0 && why.msg[n - 1] == '?' ? "" : ".");
}

static bool assigns(char *const *words)
{
	while (*words != NULL && strchr(*words, '=') == NULL)
		words++;
	return *words != NULL;
}

/* The first word is a migration's name unless it is a setting or an assignment. */
static int read_request(struct console *con, const struct cli_call *call, struct request *ret, struct err *err)
{
	const char *first = call->args[0];
	int rc;

	*ret = (struct request){ .words = call->args };
	con->installs = assigns(call->args);
	if (first == NULL || strchr(first, '=') != NULL || settings_find(first) != NULL)
		return console_pg(con, call, err);
	rc = console_find(con, call, first, &ret->m, err);
	if (rc == ST_NOT_FOUND && con->schema.trouble != SCHEMA_MISSING)
		explain_unknown(err);
	ret->one = rc == 0;
	ret->words++;
	return rc;
}

/* ------------------------------------------------------------ reading */

/* The last row of a key is the one in force; -1: nothing was set. */
static int row_of(const PGresult *origins, const char *key)
{
	int found = -1;

	for (int i = 0; i < PQntuples(origins); i++)
		if (strcmp(pg_str(origins, i, "key"), key) == 0)
			found = i;
	return found;
}

static const char *origin_name(const PGresult *origins, int row)
{
	if (row < 0)
		return "default";
	return pg_str(origins, row, "origin");
}

/* The settings in force and where they come from. The size of batches was settled when the migration was registered. */
static int load(struct console *con, const struct request *r, struct settings *s, PGresult **ret_origins, bool *ret_registered,
		struct err *err)
{
	int rc = migrations_settings(con->pg, r->m.id, s, err), row;

	if (rc == 0)
		rc = migrations_settings_origin(con->pg, r->m.id, ret_origins, err);
	if (rc != 0)
		return rc;
	row = row_of(*ret_origins, setting_table[SETTING_BATCH_SIZE].name);
	*ret_registered = r->one && strcmp(origin_name(*ret_origins, row), "migration") != 0;
	if (*ret_registered)
		s->batch_size = (uint64_t)r->m.batch_size;
	return 0;
}

static const char *origin_of(const PGresult *origins, enum setting_id id, bool registered)
{
	return id == SETTING_BATCH_SIZE && registered ? "registration" : origin_name(origins, row_of(origins, setting_table[id].name));
}

static void show_one(struct out *out, const struct settings *s, enum setting_id id, const PGresult *origins, bool registered)
{
	CLEANUP(buf_free) struct buf value = BUF_INIT(VALUE_MAX);
	const struct setting *t = &setting_table[id];
	int row = row_of(origins, t->name);

	settings_print(s, id, &value);
	out_text(out, t->name);
	out_text(out, value.data);
	out_text(out, t->unit);
	out_text(out, origin_of(origins, id, registered));
	out_text(out, t->def);
	out_text(out, row < 0 ? NULL : pg_opt(origins, row, "updated_at"));
	out_text(out, row < 0 ? NULL : pg_opt(origins, row, "updated_by"));
	out_text(out, t->help);
}

static int show(struct console *con, const struct cli_call *call, const struct request *r, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *origins = NULL;
	CLEANUP(out_close) struct out out = { 0 };
	struct settings s;
	bool registered;
	int rc = load(con, r, &s, &origins, &registered, err);

	if (rc != 0)
		return rc;
	out_open(&out, call);
	out_table(&out, columns, ARRAY_SIZE(columns));
	for (int i = 0; i < SETTING_NR; i++)
		show_one(&out, &s, (enum setting_id)i, origins, registered);
	return out_end(&out, NULL, err);
}

/* `drover config [NAME] KEY`: the value alone; with --json as an object. */
static int show_value(struct console *con, const struct cli_call *call, const struct request *r, const struct setting *t, struct err *err)
{
	static const struct out_column value_columns[] = { { "key", NULL, .type = OUT_STR }, { "value", NULL, .type = OUT_STR } };
	CLEANUP(buf_free) struct buf value = BUF_INIT(VALUE_MAX);
	CLEANUP(out_close) struct out out = { 0 };
	CLEANUP(pg_result_freep) PGresult *origins = NULL;
	struct settings s;
	bool registered;
	int rc = load(con, r, &s, &origins, &registered, err);

	if (rc != 0)
		return rc;
	settings_print(&s, (enum setting_id)(t - setting_table), &value);
	out_open(&out, call);
	if (out.format == OUT_HUMAN) {
		out_note(&out, "%s", value.data);
		return 0;
	}
	out_kv(&out, value_columns, ARRAY_SIZE(value_columns));
	out_text(&out, t->name);
	out_text(&out, value.data);
	return out_end(&out, NULL, err);
}

/* ------------------------------------------------------------ changing */

/* What stands before the "=" of @word, in @key of KEY_MAX bytes. */
static const char *key_of(const char *word, char *key)
{
	snprintf(key, KEY_MAX, "%.*s", (int)strcspn(word, "="), word);
	return key;
}

/* Check one "KEY=VALUE"; *@ret_key is a setting's own name, @value what is to be stored, empty: unset. */
static int read_assignment(const char *word, const char **ret_key, struct buf *value, struct err *err)
{
	const char *equals = strchr(word, '=');
	char key[KEY_MAX];
	struct settings s;
	const struct setting *t;
	int rc;

	if (equals == NULL)
		return err_set(err, ST_USAGE, "'%s' is no KEY=VALUE", word);
	settings_defaults(&s);
	t = settings_find(key_of(word, key));
	/* An unknown name gets its error from settings_set(), even when it is to be unset. */
	rc = t != NULL && equals[1] == '\0' ? 0 : settings_set(&s, key, equals + 1, err);
	if (rc != 0 || t == NULL)
		return rc;
	*ret_key = t->name;
	if (equals[1] != '\0')
		rc = settings_print(&s, (enum setting_id)(t - setting_table), value);
	return rc;
}

static int assign(struct console *con, const struct cli_call *call, const struct request *r, const char *word, bool really, struct err *err)
{
	CLEANUP(buf_free) struct buf value = BUF_INIT(VALUE_MAX);
	const char *key = NULL;
	int rc = read_assignment(word, &key, &value, err);

	if (rc != 0 || !really)
		return rc;
	return migrations_configure(con->pg, r->one ? &r->m : NULL, key, value.len > 0 ? value.data : NULL, console_actor(con, call), err);
}

struct change {
	enum setting_id id;
	bool unset; /* to what is in force without it */
	const char *origin;
};

/* "tries: 3 -> 4". @before NULL: it could not be read. */
static void show_change(struct out *out, const struct change *c, const struct settings *before, const struct settings *now)
{
	CLEANUP(buf_free) struct buf old = BUF_INIT(VALUE_MAX);
	CLEANUP(buf_free) struct buf value = BUF_INIT(VALUE_MAX);
	const char *name = setting_table[c->id].name;

	if (before != NULL)
		settings_print(before, c->id, &old);
	settings_print(now, c->id, &value);
	out_note(out, "%s: %s -> %s%s%s%s", name, before != NULL ? old.data : "?", value.data, c->unset ? " (" : "",
		 c->unset ? c->origin : "", c->unset ? ")" : "");
	if (out->format == OUT_HUMAN)
		return;
	out_text(out, name);
	out_text(out, before != NULL ? old.data : NULL);
	out_text(out, value.data);
	out_text(out, c->origin);
}

static int show_changes(struct console *con, const struct cli_call *call, const struct request *r, const struct settings *before,
			struct err *err)
{
	static const struct out_column change_columns[] = {
		{ "key", NULL, .type = OUT_STR },
		{ "old", NULL, .type = OUT_STR },
		{ "value", NULL, .type = OUT_STR },
		{ "origin", NULL, .type = OUT_STR },
	};
	CLEANUP(pg_result_freep) PGresult *origins = NULL;
	CLEANUP(out_close) struct out out = { 0 };
	struct settings now;
	bool registered;
	int rc = load(con, r, &now, &origins, &registered, err);

	if (rc != 0)
		return rc;
	out_open(&out, call);
	if (out.format != OUT_HUMAN)
		out_table(&out, change_columns, ARRAY_SIZE(change_columns));
	for (char **w = r->words; *w != NULL; w++) {
		char key[KEY_MAX];
		struct change c = { .unset = strchr(*w, '=')[1] == '\0' };

		c.id = (enum setting_id)(settings_find(key_of(*w, key)) - setting_table);
		c.origin = origin_of(origins, c.id, registered);
		show_change(&out, &c, before, &now);
	}
	return out.format != OUT_HUMAN ? out_end(&out, NULL, err) : 0;
}

static int change(struct console *con, const struct cli_call *call, const struct request *r, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *origins = NULL;
	struct err why = ERR_INIT;
	struct settings before;
	bool registered;
	int known, rc = 0;

	/* All are checked before the first is changed. */
	for (char **w = r->words; *w != NULL && rc == 0; w++)
		rc = assign(con, call, r, *w, false, err);
	if (rc != 0)
		return rc;
	known = load(con, r, &before, &origins, &registered, &why);
	if (known != 0 && known != ST_INPUT) /* what cannot be read is put right so */
		return err_set(err, known, "%s", why.msg);
	for (char **w = r->words; *w != NULL && rc == 0; w++)
		rc = assign(con, call, r, *w, true, err);
	if (rc != 0)
		return rc;
	console_ring(con, call);
	return show_changes(con, call, r, known == 0 ? &before : NULL, err);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct console *con = ctx;
	struct request r;
	int rc = read_request(con, call, &r, err);

	if (rc != 0)
		return rc;
	if (r.words[0] == NULL)
		return show(con, call, &r, err);
	if (r.words[1] == NULL && settings_find(r.words[0]) != NULL)
		return show_value(con, call, &r, settings_find(r.words[0]), err);
	return change(con, call, &r, err);
}

const struct cli_command config_command = {
	.name = "config",
	.args = "[NAME] [KEY[=VALUE]...]",
	.max_args = CLI_ARGS_ANY,
	.complete = "config",
	.summary = "read or change run-time settings, for all or for one migration",
	.help = "Effective within a second, on every worker and the producer. What is set for a migration beats what its file says, which beats what "
		"is set for all, which beats the default. `KEY=` with nothing behind it unsets. Every change is checked first, told as `key: old -> new`, and is an event in the audit trail.",
	.examples = examples,
	.run = run,
};
