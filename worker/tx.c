#include "worker/tx.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "pg/pg_array.h"
#include "sql.h"

#define TEXTS_MAX (8 * 1024 * 1024) /* bytes of a parameter: keys of MIG_GROUP_BYTES_MAX, quoted twice */
#define SIDE_TIMEOUT_MS 15000       /* of transactions that run nothing of the migration's */
#define CLAIM_KEPT 3                /* where a claim's result is kept; what other steps keep comes before */
#define STATEMENT_IN_LINE 200       /* bytes of a statement in the reason of a pause */
#define STATEMENT_SHOWN 4000        /* bytes of a failed statement that are kept with a dead letter */

void tx_init(struct tx *t)
{
	memset(t, 0, sizeof(*t));
	buf_init(&t->windows, TEXTS_MAX);
	buf_init(&t->claims, TEXTS_MAX);
	buf_init(&t->column, TEXTS_MAX);
	buf_init(&t->item, JOB_PAYLOAD_MAX);
	buf_init(&t->json, TEXTS_MAX);
	buf_init(&t->error, 256 * 1024);
	buf_init(&t->message, 2048);
	buf_init(&t->statement, 2048);
}

void tx_close(struct tx *t)
{
	buf_free(&t->windows);
	buf_free(&t->claims);
	buf_free(&t->column);
	buf_free(&t->item);
	buf_free(&t->json);
	buf_free(&t->error);
	buf_free(&t->message);
	buf_free(&t->statement);
	plan_unref(t->plan);
}

/* ------------------------------------------------------------ steps */

/* A statement and its parameters (texts, NULL for null). Its result is kept in @keep, unless 0. */
static void step(struct tx *t, enum policy_phase phase, unsigned keep, const char *sql, unsigned n, ...)
{
	va_list ap;

	t->steps[t->n] = (struct pg_step){ .sql = sql, .n = (int)n, .params = t->params + t->nparams, .keep = keep };
	t->phase[t->n++] = (unsigned char)phase;
	va_start(ap, n);
	for (unsigned i = 0; i < n; i++)
		t->params[t->nparams++] = va_arg(ap, const char *);
	va_end(ap);
}

static void begin(struct tx *t)
{
	step(t, POLICY_ENTER, 0, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0);
}

static void commit(struct tx *t)
{
	step(t, POLICY_COMMIT, 0, "COMMIT", 0);
}

/* Everything that was captured at registration, our time-outs, the lane's name. */
static void full_settings(struct tx *t, const struct mig *m, const struct tx_who *who)
{
	step(t, POLICY_ENTER, 0, m->set_sql, 0);
	t->steps[t->n - 1].n = (int)m->set_n;
	memcpy(t->params + t->nparams, m->set_params, m->set_n * sizeof(*m->set_params));
	t->params[t->nparams + m->set_n - 1] = who->application;
	t->nparams += m->set_n;
}

/* For what runs nothing of the migration's: it works even if the captured settings do not. */
static void small_settings(struct tx *t, const struct mig *m, const struct tx_who *who)
{
	step(t, POLICY_ENTER, 0, SQL_WORKER_SETTINGS, 3, m->lock_timeout, "15000", who->application);
}

static void script(struct tx *t, const struct plan_script *s)
{
	for (unsigned i = 0; i < s->n; i++)
		step(t, POLICY_TRANSFORM, 0, s->v[i].sql, 0);
	step(t, POLICY_TRANSFORM, 0, "SET CONSTRAINTS ALL IMMEDIATE", 0);
}

static void receipts(struct tx *t, const struct mig *m)
{
	for (unsigned i = 0; i < m->plan->list.n; i++)
		if (m->plan->list.v[i].receipts)
			step(t, POLICY_TRANSFORM, 0, m->plan->list.v[i].sql, 0);
}

/* ------------------------------------------------------------ claims */

static const char *flag(bool b)
{
	return b ? "t" : "f";
}

static void claim_batch(struct tx *t, const struct job_run *r, bool is_marked)
{
	step(t, POLICY_CLAIM, CLAIM_KEPT, "SELECT * FROM drover.claim_batch($1, $2, $3, $4, $5)", 5, r->mig->id_text, t->number,
	     r->mig->revision_text, flag(r->kind == JOB_LIST), flag(is_marked));
}

/* Between the claim and what is done about the failure. */
static void note_due(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	if (r->note_due)
		step(t, POLICY_FINISH, 0, "SELECT drover.note_batch($1, $2, $3, $4, $5, NULL)", 5, r->mig->id_text, t->number, who->worker,
		     policy_note_name(POLICY_NOTE_RETRY), r->message);
}

/* An array literal of one column of the keys. */
static void column_literal(struct tx *t, const struct job_run *r, unsigned c)
{
	buf_reset(&t->column);
	for (size_t i = 0; i < r->n; i++) {
		const struct job *job = &r->entries[i]->job;

		buf_reset(&t->item);
		if (c < job->columns)
			buf_add(&t->item, job->key[c].s, job->key[c].n);
		pg_array_add(&t->column, i == 0, t->item.data);
	}
	pg_array_end(&t->column, r->n == 0);
}

/* Keys of as many columns as the migration has: a payload with fewer has empty ones, which its types refuse or which find no row. */
static void claim_rows(struct tx *t, const struct job_run *r, bool none)
{
	const struct mig *m = r->mig;

	buf_reset(&t->windows);
	buf_reset(&t->claims);
	for (size_t i = 0; i < r->n && !none; i++)
		buf_printf(&t->windows, "%c%" PRId64, i == 0 ? '{' : ',', r->entries[i]->job.number);
	pg_array_end(&t->windows, none || r->n == 0);
	for (unsigned c = 0; c < m->plan->columns; c++) {
		if (none)
			buf_reset(&t->column), buf_puts(&t->column, "{}");
		else
			column_literal(t, r, c);
		pg_array_add(&t->claims, c == 0, t->column.data);
	}
	pg_array_end(&t->claims, false);
	step(t, POLICY_CLAIM, 0, "SELECT drover.claim_rows($1, $2, $3, $4)", 4, m->id_text, m->revision_text, t->windows.data,
	     t->claims.data);
}

/* The array literal of one row's key. */
static void key_literal(struct tx *t, const struct job *job, struct buf *out)
{
	buf_reset(out);
	for (unsigned c = 0; c < job->columns; c++) {
		buf_reset(&t->item);
		buf_add(&t->item, job->key[c].s, job->key[c].n);
		pg_array_add(out, c == 0, t->item.data);
	}
	pg_array_end(out, job->columns == 0);
}

static void claim_run(struct tx *t, const struct job_run *r)
{
	key_literal(t, &r->entries[0]->job, &t->windows);
	key_literal(t, &r->entries[r->n - 1]->job, &t->claims);
	step(t, POLICY_CLAIM, 0, "SELECT drover.claim_run($1, $2, $3, $4, $5)", 5, r->mig->id_text, r->mig->revision_text, t->number,
	     t->windows.data, t->claims.data);
}

static void ids_literal(struct tx *t, const struct job_run *r)
{
	buf_reset(&t->claims);
	for (size_t i = 0; i < r->n; i++)
		buf_printf(&t->claims, "%c%" PRId64, i == 0 ? '{' : ',', r->entries[i]->job.number);
	pg_array_end(&t->claims, r->n == 0);
}

static void claim_failed(struct tx *t, const struct job_run *r, bool is_marked)
{
	ids_literal(t, r);
	step(t, POLICY_CLAIM, 0, "SELECT drover.claim_failed($1, $2, $3, $4)", 4, r->mig->id_text, r->mig->revision_text, t->claims.data,
	     flag(is_marked));
}

/* ------------------------------------------------------------ transactions */

/* Of a batch that is larger than a transaction should be, the first part. */
static void slice(struct tx *t, const struct job_run *r)
{
	if (r->slice_rows == 0)
		return;
	snprintf(t->slice, sizeof(t->slice), "%" PRIu64, r->slice_rows);
	if (r->kind == JOB_LIST)
		step(t, POLICY_CLAIM, 0, "SELECT drover.slice_list($1, $2, $3)", 3, r->mig->id_text, t->number, t->slice);
	else
		step(t, POLICY_TRANSFORM, 0, r->mig->plan->slice_range, 1, t->slice);
}

static void build_work(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;

	bool run = m->plan->run.n > 0 && mig_is_run(r->entries, r->n);

	begin(t);
	full_settings(t, m, who);
	if (!m->settings.synchronous_commit)
		step(t, POLICY_ENTER, 0, "SET LOCAL synchronous_commit = off", 0);
	if (run)
		claim_run(t, r);
	else if (r->kind == JOB_ROW)
		claim_rows(t, r, false);
	else if (r->kind == JOB_FAILED)
		claim_failed(t, r, r->marked);
	else
		claim_batch(t, r, r->marked);
	slice(t, r);
	if (run)
		script(t, &m->plan->run);
	else if (r->kind == JOB_FAILED)
		script(t, &m->plan->replay);
	else
		script(t, r->kind == JOB_BATCH ? &m->plan->range : &m->plan->list);
	if (run)
		step(t, POLICY_FINISH, 1, "SELECT drover.finish_run($1, $2, $3, $4)", 4, m->id_text, who->lane, t->count, t->number);
	else if (r->kind == JOB_ROW || r->kind == JOB_FAILED)
		step(t, POLICY_FINISH, 1, "SELECT drover.finish_rows($1, $2, $3)", 3, m->id_text, who->lane, t->count);
	else if (r->slice_rows > 0)
		step(t, POLICY_FINISH, 1, "SELECT * FROM drover.finish_slice($1, $2, $3, $4, $5)", 5, m->id_text, t->number, who->worker,
		     who->lane, t->slice);
	else
		step(t, POLICY_FINISH, 1, "SELECT drover.finish_batch($1, $2, $3, $4)", 4, m->id_text, t->number, who->worker, who->lane);
	commit(t);
}

static void build_probe(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	begin(t);
	full_settings(t, r->mig, who);
	claim_rows(t, r, true);
	script(t, &r->mig->plan->list);
	step(t, POLICY_COMMIT, 0, "ROLLBACK", 0);
}

static void build_mark(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;

	begin(t);
	small_settings(t, m, who);
	if (r->kind == JOB_FAILED) {
		ids_literal(t, r);
		step(t, POLICY_FINISH, 1, "SELECT drover.mark_failed_start($1, $2, $3) AS starts, 1 AS rows", 3, m->id_text, t->claims.data,
		     t->mark);
	} else {
		step(t, POLICY_FINISH, 1, "SELECT * FROM drover.mark_start($1, $2, $3, $4)", 4, m->id_text, t->number, who->worker,
		     t->mark);
	}
	commit(t);
}

static void build_unmark(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;

	begin(t);
	small_settings(t, m, who);
	ids_literal(t, r);
	step(t, POLICY_FINISH, 0, "SELECT drover.unmark_start($1, $2, $3, $4)", 4, m->id_text, t->claims.data, flag(r->kind == JOB_FAILED),
	     t->mark);
	commit(t);
}

static void build_note(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;

	begin(t);
	small_settings(t, m, who);
	/* What a crash of the server takes of these is one attempt more. A lost connection may have been that crash. */
	if (r->note != POLICY_NOTE_LOSS)
		step(t, POLICY_ENTER, 0, "SET LOCAL synchronous_commit = off", 0);
	if (r->kind == JOB_FAILED)
		step(t, POLICY_FINISH, 1, SQL_WORKER_FAILED_LOOK, 3, m->id_text, t->number, policy_note_name(r->note));
	else if (r->kind != JOB_ROW)
		step(t, POLICY_FINISH, 1, "SELECT * FROM drover.note_batch($1, $2, $3, $4, $5, $6)", 6, m->id_text, t->number, who->worker,
		     policy_note_name(r->note), r->message, t->mark);
	if (r->note == POLICY_NOTE_LOSS)
		step(t, POLICY_FINISH, 2, "SELECT drover.count_crash($1, $2) AS crashes", 2, m->id_text, flag(r->facts.server_lived));
	if (r->note == POLICY_NOTE_TIMEOUT || r->note == POLICY_NOTE_WAIT) {
		snprintf(t->count, sizeof(t->count), "%d", POLICY_SPLITS_MAX);
		step(t, POLICY_FINISH, 2, SQL_WORKER_SPLITS, 2, m->id_text, t->count);
	}
	commit(t);
}

static void build_unblock(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	snprintf(t->lease, sizeof(t->lease), "%" PRIu64, who->lease_ms);
	begin(t);
	small_settings(t, r->mig, who);
	step(t, POLICY_FINISH, 0, SQL_WORKER_UNBLOCK, 4, r->mig->id_text, t->number, who->application, t->lease);
	commit(t);
}

static void build_split(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;
	const char *const *sql = r->kind == JOB_LIST ? m->plan->split_list : m->plan->split_range;

	snprintf(t->ways, sizeof(t->ways), "%d", POLICY_SPLIT_WAYS);
	begin(t);
	full_settings(t, m, who);
	claim_batch(t, r, true);
	note_due(t, r, who);
	step(t, POLICY_TRANSFORM, 1, sql[r->blind], 2, t->number, t->ways);
	step(t, POLICY_FINISH, 0, "SELECT drover.finish_split($1, $2, $3, $4)", 4, m->id_text, t->number, who->worker, r->message);
	commit(t);
}

/* Never NULL: drover.put_failed() would write nothing then. */
static const char *error_of(const struct job_run *r)
{
	return r->error != NULL ? r->error : "{}";
}

/* Where somebody else's lock is the reason, the row is looked at without one. */
static const char *image_of(const struct plan *p, const struct job_run *r)
{
	bool unlocked = r->facts.noted && r->facts.class == PG_CLASS_CONFLICT;

	return (r->kind == JOB_BATCH ? p->image_range : p->image_list)[(r->blind ? PLAN_BLIND : 0) | (unlocked ? PLAN_UNLOCKED : 0)];
}

static void build_bury(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;

	begin(t);
	full_settings(t, m, who);
	if (r->verdict.crashes) /* nobody else begins until the migration is paused for it */
		step(t, POLICY_ENTER, 0, "SELECT pg_catalog.set_config('drover.crashed', 'true', true)", 0);
	if (r->kind == JOB_ROW) {
		claim_rows(t, r, false);
		receipts(t, m);
	} else if (r->kind == JOB_FAILED) {
		claim_failed(t, r, true);
	} else {
		claim_batch(t, r, true);
		note_due(t, r, who);
	}
	step(t, POLICY_TRANSFORM, 0, image_of(m->plan, r), 0);
	if (!m->settings.keep_row_image)
		step(t, POLICY_TRANSFORM, 0, SQL_WORKER_DROP_IMAGE, 0);
	if (r->kind == JOB_ROW)
		step(t, POLICY_FINISH, 1, "SELECT drover.put_failed($1, $2, 'retry', NULL, $3, $4) AS id", 4, m->id_text, t->number,
		     who->worker, error_of(r));
	else if (r->kind == JOB_FAILED)
		step(t, POLICY_FINISH, 1,
		     "SELECT CASE drover.fail_again($1, $2, 'retry', NULL, $3, $4, NULL) WHEN 'dead' THEN $2::bigint END AS id", 4,
		     m->id_text, t->number, who->worker, error_of(r));
	else
		step(t, POLICY_FINISH, 1, "SELECT drover.bury_batch($1, $2, $3, $4) AS id", 4, m->id_text, t->number, who->worker,
		     error_of(r));
	commit(t);
}

/*
 * A row waits for its next attempt. It is not locked for this: that somebody else has it locked may be the very reason. So its dead letter
 * begins with the key alone, and only if the claim (and a receipt, where there are any) found it ours.
 */
static void build_retry(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;
	const char *kind = policy_note_name(r->note);

	snprintf(t->delay, sizeof(t->delay), "%" PRIu64, r->delay_ms);
	begin(t);
	if (r->kind == JOB_FAILED) {
		small_settings(t, m, who);
		step(t, POLICY_FINISH, 1, "SELECT drover.fail_again($1, $2, $3, $4, $5, $6, $7) AS state", 7, m->id_text, t->number, kind,
		     t->delay, who->worker, error_of(r), t->mark);
	} else {
		full_settings(t, m, who);
		claim_rows(t, r, false);
		receipts(t, m);
		buf_reset(&t->json);
		buf_puts(&t->json, "{\"row\":null,\"key\":[");
		for (unsigned c = 0; c < r->entries[0]->job.columns; c++) {
			buf_reset(&t->item);
			buf_add(&t->item, r->entries[0]->job.key[c].s, r->entries[0]->job.key[c].n);
			buf_puts(&t->json, c > 0 ? "," : "");
			text_add_json(&t->json, t->item.data);
		}
		buf_puts(&t->json, "]}");
		step(t, POLICY_TRANSFORM, 0, SQL_WORKER_KEY_IMAGE, 1, t->json.data);
		step(t, POLICY_FINISH, 1, "SELECT drover.put_failed($1, $2, $3, $4, $5, $6) AS id", 6, m->id_text, t->number, kind,
		     t->delay, who->worker, error_of(r));
	}
	commit(t);
}

static void build_breaker(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;

	snprintf(t->count, sizeof(t->count), "%" PRId64, r->failed_id);
	snprintf(t->percent, sizeof(t->percent), "%u", m->settings.breaker.percent);
	snprintf(t->window, sizeof(t->window), "%u", m->settings.breaker.window_rows);
	begin(t);
	small_settings(t, m, who);
	step(t, POLICY_FINISH, 1, SQL_WORKER_BREAKER, 5, m->id_text, t->count, t->percent, t->window, who->worker);
	commit(t);
}

static void build_pause(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	buf_reset(&t->json);
	buf_printf(&t->json, "%s", r->verdict.why);
	if (r->verdict.crashes) {
		ids_literal(t, r);
		begin(t);
		small_settings(t, r->mig, who);
		step(t, POLICY_FINISH, 1, "SELECT drover.pause_crashing($1, $2, $3, $4, $5, $6, $7) AS paused", 7, r->mig->id_text,
		     t->claims.data, flag(r->kind == JOB_FAILED), flag(r->failed_id == 0), who->worker, t->json.data, t->mark);
		commit(t);
		return;
	}
	if (r->message != NULL)
		buf_printf(&t->json, ": %s", r->message);
	if (r->sqlstate[0] != '\0')
		buf_printf(&t->json, "; SQLSTATE %s", r->sqlstate);
	if (r->statement != NULL)
		buf_printf(&t->json, "; in: %s", r->statement);
	begin(t);
	small_settings(t, r->mig, who);
	step(t, POLICY_FINISH, 1, "SELECT drover.set_state($1, '{running}', 'paused', $2, $3) AS paused", 3, r->mig->id_text, who->worker,
	     t->json.data);
	commit(t);
}

static void (*const builders[TX_NR])(struct tx *t, const struct job_run *r, const struct tx_who *who) = {
	[TX_WORK] = build_work,       [TX_PROBE] = build_probe, [TX_MARK] = build_mark,     [TX_NOTE] = build_note,
	[TX_UNBLOCK] = build_unblock, [TX_SPLIT] = build_split, [TX_BURY] = build_bury,     [TX_RETRY] = build_retry,
	[TX_BREAKER] = build_breaker, [TX_PAUSE] = build_pause, [TX_UNMARK] = build_unmark,
};

int tx_build(struct tx *t, enum tx_kind kind, const struct job_run *r, const struct tx_who *who)
{
	bool heavy = kind == TX_WORK || kind == TX_PROBE || kind == TX_SPLIT || kind == TX_BURY || kind == TX_RETRY;

	plan_unref(t->plan);
	t->plan = plan_ref(r->mig->plan);
	t->n = t->nparams = 0;
	t->kind = kind;
	snprintf(t->number, sizeof(t->number), "%" PRId64, r->entries[0]->job.number);
	snprintf(t->count, sizeof(t->count), "%zu", r->n);
	snprintf(t->mark, sizeof(t->mark), "%s %s-%" PRIu64, who->worker, who->token, r->serial);
	builders[kind](t, r, who);
	/* Each statement has the server's own time-out; this is for a server that does not answer. */
	t->query_timeout_ms = heavy ? r->mig->settings.query_timeout_ms : SIDE_TIMEOUT_MS;
	t->deadline_ms = heavy ? t->query_timeout_ms * 2 + 5000 : SIDE_TIMEOUT_MS + 5000;
	return buf_ok(&t->windows) && buf_ok(&t->claims) && buf_ok(&t->column) && buf_ok(&t->json) ? 0 : ST_NOMEM;
}

/* ------------------------------------------------------------ answers */

static const char *value(const PGresult *res, const char *column)
{
	int c = res != NULL && PQntuples(res) > 0 ? PQfnumber(res, column) : -1;

	return c >= 0 && !PQgetisnull(res, 0, c) ? PQgetvalue(res, 0, c) : NULL;
}

static int64_t number(const PGresult *res, const char *column)
{
	const char *s = value(res, column);

	return s != NULL ? strtoll(s, NULL, 10) : 0;
}

static void read_parts(const PGresult *res, struct tx_answer *ret)
{
	int c_number = res != NULL ? PQfnumber(res, "number") : -1, c_listed = res != NULL ? PQfnumber(res, "listed") : -1;

	for (int i = 0; c_number >= 0 && c_listed >= 0 && i < PQntuples(res) && ret->nparts < TX_PARTS_MAX; i++)
		ret->parts[ret->nparts++] = (struct tx_part){ .number = strtoll(PQgetvalue(res, i, c_number), NULL, 10),
							      .listed = PQgetvalue(res, i, c_listed)[0] == 't' };
}

/* @more: how many splits are under way, or how many crashes there were. */
static void read_note(const PGresult *res, const PGresult *more, struct tx_answer *ret)
{
	const char *conflict_s = value(res, "conflict_s");

	ret->settled = value(res, "state") == NULL;
	ret->rows = (unsigned)number(res, "rows");
	ret->attempts = (unsigned)number(res, "attempts");
	ret->conflicts = (unsigned)number(res, "conflicts");
	ret->losses = (unsigned)number(res, "losses");
	ret->conflict_s = conflict_s != NULL ? strtod(conflict_s, NULL) : 0;
	ret->crowded = number(more, "splits") >= POLICY_SPLITS_MAX;
	ret->crashes = (unsigned)number(more, "crashes");
}

static void read_success(const struct tx *t, const struct job_run *r, const struct pg_op *op, struct tx_answer *ret)
{
	const PGresult *res = op->kept[0];

	switch (t->kind) {
	case TX_WORK:
		ret->changed = res != NULL && PQntuples(res) > 0 ? strtoll(PQgetvalue(res, 0, 0), NULL, 10) : 0;
		ret->more = value(res, "more") != NULL && value(res, "more")[0] == 't';
		ret->claimed_rows = (unsigned)number(op->kept[CLAIM_KEPT - 1], "claimed_rows");
		break;
	case TX_MARK:
		ret->settled = value(res, "starts") == NULL;
		ret->starts = (unsigned)number(res, "starts");
		ret->rows = (unsigned)number(res, "rows");
		break;
	case TX_NOTE:
		read_note(res, op->kept[1], ret);
		break;
	case TX_SPLIT:
		read_parts(res, ret);
		break;
	case TX_BURY:
		ret->failed_id = number(res, "id");
		break;
	case TX_RETRY:
		ret->failed_id = number(res, "id");
		ret->settled = r->kind == JOB_FAILED && value(res, "state") == NULL;
		break;
	case TX_BREAKER:
		ret->paused = value(res, "reason") != NULL;
		break;
	case TX_PAUSE:
		ret->paused = value(res, "paused") != NULL && value(res, "paused")[0] == 't';
		break;
	default:
		break;
	}
}

static void add_member(struct buf *out, const char *name, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	buf_printf(out, "%s\"%s\": ", out->len > 1 ? ", " : "", name);
	text_add_json(out, text);
}

static bool blames_migration(const struct pg_op *op)
{
	enum pg_class class = op->status == ST_SQL ? pg_classify(op->failure.sqlstate, op->failure.message) : PG_CLASS_OUTAGE;

	return class == PG_CLASS_SUSPECT || class == PG_CLASS_WRONG;
}

/* The beginning of a statement, in one line. */
static void add_statement(struct buf *out, const char *sql)
{
	bool blank = false;

	for (size_t n = 0; *sql != '\0' && n < STATEMENT_IN_LINE; sql++) {
		if (strchr(" \t\r\n", *sql) != NULL) {
			blank = true;
			continue;
		}
		if (blank)
			buf_putc(out, ' ');
		blank = false;
		buf_putc(out, *sql);
		n++;
	}
}

/* As drover.put_failed() takes it, and one line for people. */
static void describe(struct tx *t, const struct pg_op *op, bool in_script)
{
	const struct pg_failure *f = &op->failure;
	char statement[STATEMENT_SHOWN + 1] = "";

	if (in_script && f->step < t->n)
		snprintf(statement, sizeof(statement), "%s", t->steps[f->step].sql);
	buf_reset(&t->error);
	buf_putc(&t->error, '{');
	add_member(&t->error, "sqlstate", f->sqlstate);
	add_member(&t->error, "message", f->message);
	add_member(&t->error, "detail", f->detail);
	add_member(&t->error, "hint", f->hint);
	add_member(&t->error, "context", f->context);
	add_member(&t->error, "constraint_name", f->constraint);
	add_member(&t->error, "statement", statement);
	buf_putc(&t->error, '}');
	/* Neither detail nor statement unless the migration itself is wrong: they hold values of rows, which are not for logs. */
	buf_reset(&t->json);
	buf_printf(&t->json, "%.600s", f->message != NULL ? f->message : "");
	buf_reset(&t->message);
	text_add_printable(&t->message, t->json.data); /* what was cut in the middle of a character is mended, too */
	buf_reset(&t->json);
	if (in_script && blames_migration(op))
		add_statement(&t->json, statement);
	buf_reset(&t->statement);
	text_add_printable(&t->statement, t->json.data);
}

static bool is_over(const char *state)
{
	return state != NULL && (strcmp(state, "complete") == 0 || strcmp(state, "limited") == 0 || strcmp(state, "cancelled") == 0);
}

void tx_read(struct tx *t, const struct job_run *r, const struct pg_op *op, struct tx_answer *ret)
{
	const struct pg_failure *f = &op->failure;

	memset(ret, 0, sizeof(*ret));
	ret->status = op->status;
	if (op->status == 0) {
		read_success(t, r, op, ret);
		return;
	}
	if (op->status == ST_CLOSING)
		return;
	ret->phase = f->step < t->n ? (enum policy_phase)t->phase[f->step] : POLICY_COMMIT;
	if (t->kind == TX_WORK) {
		ret->claimed_rows = (unsigned)number(op->kept[CLAIM_KEPT - 1], "claimed_rows");
		ret->failures = (unsigned)number(op->kept[CLAIM_KEPT - 1], "failures");
	}
	ret->class = op->status == ST_SQL ? pg_classify(f->sqlstate, f->message) : PG_CLASS_OUTAGE;
	/* A pooler says 08P01 for a server that was lost without a word. */
	ret->silent = op->status == ST_DISCONNECTED && (f->sqlstate[0] == '\0' || strcmp(f->sqlstate, "08P01") == 0);
	ret->ours = op->timed_out || op->elapsed_ms >= t->query_timeout_ms;
	ret->interrupted = op->cancelled;
	ret->finished = ret->class == PG_CLASS_STOPPED ? is_over(f->detail) : op->cancelled && r->mig->state == MIG_CANCELLED;
	describe(t, op, op->status == ST_SQL && ret->phase == POLICY_TRANSFORM);
	snprintf(ret->sqlstate, sizeof(ret->sqlstate), "%s", f->sqlstate);
	ret->message = t->message.data;
	ret->statement = t->statement.len > 0 ? t->statement.data : NULL;
	ret->error = t->error.data;
}
