/*
 * register.c - put a migration file into the ledger.
 */
#include "registration/register.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/failpoint.h"
#include "ledger/settings.h"
#include "migration/plan.h"
#include "pg/pg_array.h"
#include "pg/pg_status.h"
#include "registration/check.h"
#include "registration/introspect.h"
#include "sql.h"

#define LOCK_WAIT "5s"       /* for the table, which others may hold for hours, and behind whom writers would queue up with us */
#define AMEND_WAIT_MS 600000 /* for the last job to leave: longer than any job runs by default */

struct draft {
	const struct migration_file *f;
	const struct register_options *o;
	struct introspection in;
	json_t *plan;
	enum migration_mode mode;
	int batch_size;
	int64_t estimated_rows;
	char *plan_text, *settings_text, *options_text;
	struct buf keys; /* array literal */
};

static void draft_init(struct draft *d, const struct migration_file *f, const struct register_options *o)
{
	memset(d, 0, sizeof(*d));
	d->f = f;
	d->o = o;
	buf_init(&d->keys, 4096);
	d->mode = f->mode;
	if (o->mode != NULL)
		d->mode = strcmp(o->mode, "row") == 0 ? MIGRATION_ROW : MIGRATION_BATCH;
	d->batch_size = o->default_batch_size > 0 ? o->default_batch_size : 1000;
	if (f->batch_size.text != NULL)
		d->batch_size = atoi(f->batch_size.text);
	if (o->batch_size > 0)
		d->batch_size = o->batch_size;
}

static void draft_free(struct draft *d)
{
	introspect_free(&d->in);
	json_decref(d->plan);
	free(d->plan_text);
	free(d->settings_text);
	free(d->options_text);
	buf_free(&d->keys);
}

/* ------------------------------------------------------------ what is kept */

/* The directives that are settings, by the names that `drover config` knows them by. Their bounds were checked when the file was read. */
static const struct option {
	const char *setting;
	size_t offset; /* of the struct migration_value in struct migration_file */
} options[] = {
	{ "batch_size", offsetof(struct migration_file, batch_size) },
	{ "tries", offsetof(struct migration_file, tries) },
	{ "backoff", offsetof(struct migration_file, backoff) },
	{ "query_timeout_ms", offsetof(struct migration_file, timeout) },
	{ "lock_timeout_ms", offsetof(struct migration_file, lock_timeout) },
};

static const struct migration_value *value_of(const struct migration_file *f, const struct option *o)
{
	return (const struct migration_value *)(const void *)((const char *)f + o->offset);
}

static char *options_of(const struct draft *d)
{
	json_t *json = json_object();
	char decimal[24], *text;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct migration_value *v = value_of(d->f, &options[i]);

		if (v->text != NULL)
			(void)json_object_set_new(json, options[i].setting, json_string(v->text));
	}
	/* A default is not kept: what is configured for all migrations counts then. */
	(void)snprintf(decimal, sizeof(decimal), "%d", d->batch_size);
	if (d->o->batch_size > 0)
		(void)json_object_set_new(json, "batch_size", json_string(decimal));
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

static int dump(struct draft *d, struct err *err)
{
	d->plan_text = json_dumps(d->plan, JSON_COMPACT);
	d->settings_text = json_dumps(d->in.settings, JSON_COMPACT);
	d->options_text = options_of(d);
	for (size_t i = 0; i < d->in.table.nr_keys; i++)
		(void)pg_array_add(&d->keys, i == 0, d->in.table.keys[i]->name);
	(void)pg_array_end(&d->keys, false);
	if (d->plan_text == NULL || d->settings_text == NULL || d->options_text == NULL || !buf_ok(&d->keys))
		return err_set(err, ST_NOMEM, "out of memory");
	return 0;
}

/* From pg_class, as the planner reads it: it sums partitions and knows what a table without statistics may hold. */
static int estimate(struct pg_sync *c, struct draft *d, struct err *err)
{
	CLEANUP(buf_free) struct buf sql = BUF_INIT(2000);
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	json_t *json;
	int rc;

	if (d->in.bytes == 0)
		return 0;
	(void)buf_printf(&sql, "EXPLAIN (FORMAT JSON) SELECT FROM %s", d->in.quoted);
	rc = pg_exec(c, sql.data, 0, NULL, &res, err);
	if (rc != 0)
		return rc;
	json = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	d->estimated_rows = (int64_t)json_number_value(json_object_get(json_object_get(json_array_get(json, 0), "Plan"), "Plan Rows"));
	json_decref(json);
	return 0;
}

/* Look at everything and make the plan, within the open transaction. */
static int prepare_draft(struct pg_sync *c, struct draft *d, int id, struct problems *problems, struct err *err)
{
	size_t before = problems->total;
	int rc;

	rc = introspect(c, d->f, &d->in, problems, err);
	if (rc != 0)
		return rc;
	rc = pg_exec(c, "SET LOCAL lock_timeout = '" LOCK_WAIT "'", 0, NULL, NULL, err);
	if (rc == 0 && problems->total == before)
		rc = check_file(c, d->f, &d->in, problems, err);
	if (rc == 0 && problems->total == before)
		rc = plan_make(d->f, &d->in.table, d->mode, id, &d->plan, problems, err);
	if (rc == 0 && problems->total == before)
		rc = check_plan(c, d->f, d->plan, problems, err);
	if (rc == 0)
		rc = pg_exec(c, "SET LOCAL lock_timeout = 0", 0, NULL, NULL, err);
	if (rc == 0 && problems->total > before)
		rc = err_set(err, ST_INPUT, "the file has mistakes");
	if (rc == 0)
		rc = estimate(c, d, err);
	return rc == 0 ? dump(d, err) : rc;
}

/* ------------------------------------------------------------ results */

static void fill_common(const struct draft *d, struct registration *ret)
{
	(void)snprintf(ret->name, sizeof(ret->name), "%s", d->f->name);
}

static void fill_found(const struct draft *d, const PGresult *res, struct registration *ret)
{
	fill_common(d, ret);
	ret->id = (int)pg_i64(res, 0, "id");
	ret->revision = (int)pg_i64(res, 0, "revision");
	ret->mode = strcmp(pg_str(res, 0, "mode"), "row") == 0 ? MIGRATION_ROW : MIGRATION_BATCH;
	ret->batch_size = (int)pg_i64(res, 0, "batch_size");
	ret->ledger_only = pg_bool(res, 0, "ledger_only");
	ret->estimated_rows = pg_i64(res, 0, "estimated_rows");
	(void)snprintf(ret->state, sizeof(ret->state), "%s", pg_str(res, 0, "state"));
	(void)snprintf(ret->table, sizeof(ret->table), "%s", pg_str(res, 0, "table_name"));
}

static int begin(struct pg_sync *c, struct err *err)
{
	return pg_exec(c, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL, NULL, err);
}

/* Who has the table, if that can be found out. */
static int say_locked(struct pg_sync *c, const struct draft *d, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	const char *const params[] = { d->in.quoted };
	struct err why = ERR_INIT;
	char who[300] = "somebody";

	if (pg_exec(c, SQL_LOCKS_ON_TABLE, 1, params, &res, &why) == 0 && PQntuples(res) > 0 && !pg_null(res, 0, "pid"))
		snprintf(who, sizeof(who), "pid %s (%.200s)", pg_str(res, 0, "pid"),
			 pg_null(res, 0, "who") ? "unknown" : pg_str(res, 0, "who"));
	return err_set(err, ST_REFUSED,
		       "%s is locked by %s: gave up after " LOCK_WAIT "; nothing was changed; run it again when the lock is gone",
		       d->in.quoted, who);
}

/* Commit, or leave the transaction and sum the mistakes up. */
static int end(struct pg_sync *c, int rc, const struct draft *d, struct problems *problems, struct err *err)
{
	struct err why = ERR_INIT;

	if (rc == 0) {
		FAILPOINT(register_before_commit);
		rc = pg_exec(c, "COMMIT", 0, NULL, NULL, err);
		FAILPOINT(registered);
		return rc;
	}
	pg_rollback(c);
	if (rc == ST_SQL && pg_classify(err->sqlstate, NULL) == PG_CLASS_CONFLICT && d->in.quoted != NULL)
		return say_locked(c, d, err);
	if (rc == ST_INPUT && problems_result(problems, d->f->name, &why) != 0)
		return err_set(err, ST_INPUT, "%s", why.msg);
	return rc;
}

static int find(struct pg_sync *c, const char *name, const struct migration_file *f, PGresult **ret, struct err *err)
{
	const char *const params[] = { name, f->source };

	return pg_exec(c, SQL_REGISTER_FIND, 2, params, ret, err);
}

/* ------------------------------------------------------------ register */

static int complete(struct pg_sync *c, struct draft *d, int id, struct err *err)
{
	char id_text[16], size[16], rows[24], limit[24];
	const char *const params[] = {
		id_text,
		d->plan_text,
		d->settings_text,
		d->options_text,
		d->in.quoted,
		d->keys.data,
		migration_mode_name(d->mode),
		d->f->ledger ? "true" : "false",
		size,
		rows,
		d->o->row_limit > 0 ? limit : NULL,
		d->o->actor,
	};

	(void)snprintf(id_text, sizeof(id_text), "%d", id);
	(void)snprintf(size, sizeof(size), "%d", d->batch_size);
	(void)snprintf(rows, sizeof(rows), "%" PRId64, d->estimated_rows);
	(void)snprintf(limit, sizeof(limit), "%" PRId64, d->o->row_limit);
	return pg_exec(c, SQL_REGISTER_INSERT, (int)ARRAY_SIZE(params), params, NULL, err);
}

static int create(struct pg_sync *c, struct draft *d, const char *checksum, struct registration *ret, struct problems *problems,
		  struct err *err)
{
	const char *const params[] = { d->f->name, checksum, d->f->source };
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int id, rc = pg_exec(c, SQL_REGISTER_ID, (int)ARRAY_SIZE(params), params, &res, err);

	if (rc != 0)
		return rc;
	id = (int)pg_i64(res, 0, "id");
	rc = prepare_draft(c, d, id, problems, err);
	if (rc == 0)
		rc = complete(c, d, id, err);
	if (rc != 0)
		return rc;
	fill_common(d, ret);
	ret->id = id;
	ret->revision = 1;
	ret->mode = d->mode;
	ret->batch_size = d->batch_size;
	ret->ledger_only = d->f->ledger;
	ret->created = true;
	ret->estimated_rows = d->estimated_rows;
	(void)snprintf(ret->state, sizeof(ret->state), "running");
	(void)snprintf(ret->table, sizeof(ret->table), "%s", d->in.quoted);
	return 0;
}

static int register_in(struct pg_sync *c, struct draft *d, struct registration *ret, struct problems *problems, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = find(c, d->f->name, d->f, &res, err);

	if (rc != 0)
		return rc;
	if (pg_null(res, 0, "id"))
		return create(c, d, pg_str(res, 0, "file_checksum"), ret, problems, err);
	if (strcmp(pg_str(res, 0, "checksum"), pg_str(res, 0, "file_checksum")) != 0)
		return err_set(
			err, ST_REFUSED,
			"migration '%s' was registered with another text (sha256 %.12s…, this file: %.12s…): a registered file stays as it is; "
			"give a new file a name of its own, or put this one in its place: drover pause %s, then drover amend %s FILE",
			d->f->name, pg_str(res, 0, "checksum"), pg_str(res, 0, "file_checksum"), d->f->name, d->f->name);
	fill_found(d, res, ret);
	return 0;
}

int register_migration(struct pg_sync *c, const struct migration_file *f, const struct register_options *o, struct registration *ret,
		       struct problems *problems, struct err *err)
{
	struct registration made = { 0 };
	struct draft d;
	int rc = begin(c, err);

	draft_init(&d, f, o);
	if (rc == 0)
		rc = pg_exec(c, SQL_REGISTER_LOCK, 0, NULL, NULL, err);
	if (rc == 0)
		rc = register_in(c, &d, &made, problems, err);
	rc = end(c, rc, &d, problems, err);
	draft_free(&d);
	if (rc == 0)
		*ret = made;
	return rc;
}

/* ------------------------------------------------------------ amend */

/* What must be as it was: the ledger is about it. */
static int check_same(const struct draft *d, const char *name, const PGresult *res, struct err *err)
{
	json_t *keys = json_loads(pg_str(res, 0, "key_columns"), 0, NULL);
	bool same = json_array_size(keys) == d->in.table.nr_keys;

	for (size_t i = 0; same && i < d->in.table.nr_keys; i++)
		same = strcmp(json_string_value(json_array_get(keys, i)), d->in.table.keys[i]->name) == 0;
	json_decref(keys);
	if (!same)
		return err_set(err, ST_REFUSED, "the key of migration '%s' cannot be amended: its ledger is about the key it has", name);
	if (strcmp(pg_str(res, 0, "table_name"), d->in.quoted) != 0)
		return err_set(err, ST_REFUSED, "migration '%s' is about table %s, this file about %s: register it under a name of its own",
			       name, pg_str(res, 0, "table_name"), d->in.quoted);
	if (strcmp(pg_str(res, 0, "mode"), migration_mode_name(d->mode)) != 0)
		return err_set(err, ST_REFUSED, "migration '%s' runs in mode %s: that cannot be amended", name, pg_str(res, 0, "mode"));
	if (pg_bool(res, 0, "ledger_only") != d->f->ledger)
		return err_set(err, ST_REFUSED, "migration '%s' %s ledger-only: that cannot be amended", name,
			       pg_bool(res, 0, "ledger_only") ? "is" : "is not");
	return 0;
}

static int replace(struct pg_sync *c, struct draft *d, const PGresult *found, struct registration *ret, struct err *err)
{
	char size[16];
	const char *const params[] = {
		pg_str(found, 0, "id"),
		pg_str(found, 0, "file_checksum"),
		d->f->source,
		d->plan_text,
		d->settings_text,
		d->options_text,
		size,
		d->o->actor,
	};
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc;

	(void)snprintf(size, sizeof(size), "%d", d->batch_size);
	rc = pg_exec(c, SQL_REGISTER_AMEND, (int)ARRAY_SIZE(params), params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_REFUSED, "the migration was resumed meanwhile");
	fill_found(d, found, ret);
	ret->revision = (int)pg_i64(res, 0, "revision");
	ret->batch_size = d->batch_size;
	return 0;
}

/* Wait until the last job has left: none enters before this transaction ends, nor does another amendment. */
static int wait_for_jobs(struct pg_sync *c, const char *id, struct err *err)
{
	const char *const params[] = { id };
	uint64_t before = pg_sync_set_deadline_ms(c, AMEND_WAIT_MS);
	int rc = pg_exec(c, SQL_REGISTER_LEAVE, 1, params, NULL, err);

	(void)pg_sync_set_deadline_ms(c, before);
	return rc;
}

static int amend_in(struct pg_sync *c, struct draft *d, const char *name, struct registration *ret, struct problems *problems,
		    struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = find(c, name, d->f, &res, err);

	if (rc != 0)
		return rc;
	if (pg_null(res, 0, "id"))
		return err_set(err, ST_NOT_FOUND, "there is no migration '%s'", name);
	if (strcmp(pg_str(res, 0, "state"), "paused") != 0)
		return err_set(err, ST_REFUSED, "migration '%s' is %s: only a paused one can be amended; drover pause %s first", name,
			       pg_str(res, 0, "state"), name);
	/* What the command line does not say stays as it was registered. */
	if (d->o->mode == NULL && d->f->mode_line == 0)
		d->mode = strcmp(pg_str(res, 0, "mode"), "row") == 0 ? MIGRATION_ROW : MIGRATION_BATCH;
	if (d->o->batch_size == 0 && d->f->batch_size.text == NULL)
		d->batch_size = (int)pg_i64(res, 0, "batch_size");
	rc = wait_for_jobs(c, pg_str(res, 0, "id"), err);
	if (rc == 0)
		rc = prepare_draft(c, d, (int)pg_i64(res, 0, "id"), problems, err);
	if (rc == 0)
		rc = check_same(d, name, res, err);
	return rc == 0 ? replace(c, d, res, ret, err) : rc;
}

int register_amend(struct pg_sync *c, const char *name, const struct migration_file *f, const struct register_options *o,
		   struct registration *ret, struct problems *problems, struct err *err)
{
	struct registration made = { 0 };
	struct draft d;
	int rc = begin(c, err);

	draft_init(&d, f, o);
	if (rc == 0)
		rc = amend_in(c, &d, name, &made, problems, err);
	rc = end(c, rc, &d, problems, err);
	draft_free(&d);
	if (rc == 0) {
		*ret = made;
		(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	}
	return rc;
}
