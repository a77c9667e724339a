#include "worker/tx.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "pg/pg_array.h"
#include "sql.h"

#define TEXTS_MAX (8 * 1024 * 1024) /* bytes of a parameter: keys of MIG_GROUP_BYTES_MAX, quoted twice */
#define SIDE_TIMEOUT_MS 15000       /* of transactions that run nothing of the migration's */

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

/* The last step goes out once those before it are answered: until then the server waits, and others get its processor. */
static void apart(struct tx *t)
{
	t->steps[t->n - 1].apart = true;
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

static void statements(struct tx *t, const struct plan_script *s)
{
	for (unsigned i = 0; i < s->n; i++)
		step(t, POLICY_TRANSFORM, 0, s->v[i].sql, 0);
}

static void constraints(struct tx *t)
{
	step(t, POLICY_TRANSFORM, 0, "SET CONSTRAINTS ALL IMMEDIATE", 0);
}

static void script(struct tx *t, const struct plan_script *s)
{
	statements(t, s);
	constraints(t);
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
	step(t, POLICY_CLAIM, TX_CLAIM_KEPT, "SELECT * FROM drover.claim_batch($1, $2, $3, $4, $5)", 5, r->mig->id_text, t->number,
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
	const struct plan *p = r->mig->plan;

	snprintf(t->slice, sizeof(t->slice), "%" PRIu64, r->slice_rows);
	snprintf(t->piece_rows, sizeof(t->piece_rows), "%" PRIu64, r->pieces > 0 ? r->slice_rows / r->pieces : 0);
	if (r->kind == JOB_LIST) {
		step(t, POLICY_CLAIM, 0, "SELECT drover.slice_list($1, $2, $3)", 3, r->mig->id_text, t->number, t->slice);
		return;
	}
	step(t, POLICY_CLAIM, 0, "SELECT drover.take_slice($1, $2, $3, $4, $5)", 5, r->mig->id_text, t->number, t->slice, t->piece_rows,
	     flag(p->turns));
	step(t, POLICY_TRANSFORM, 0, r->pieces > 0 ? p->pieces_range : p->slice_range, 0);
}

/* The script over each piece of a slice. */
static void by_pieces(struct tx *t, const struct job_run *r)
{
	for (unsigned i = 0; i < r->pieces; i++) {
		step(t, POLICY_FINISH, 0, SQL_WORKER_PIECE, 0);
		apart(t);
		statements(t, &r->mig->plan->range);
	}
	constraints(t);
	apart(t);
}

/* Of a range that is done by turns, what this transaction does. */
static void turn(struct tx *t, const struct job_run *r)
{
	snprintf(t->turn, sizeof(t->turn), "%u", r->turn);
	snprintf(t->slice, sizeof(t->slice), "%" PRIu64, mig_batch_size(r->mig));
	step(t, POLICY_CLAIM, 0, "SELECT drover.take_turn($1, $2, $3, $4)", 4, r->mig->id_text, t->number, t->turn, t->slice);
}

static void build_work(struct tx *t, const struct job_run *r, const struct tx_who *who)
{
	const struct mig *m = r->mig;

	bool run = m->plan->run.n > 0 && mig_is_run(r->entries, r->n);
	bool by_turns = r->kind == JOB_BATCH && r->slice_rows == 0 && m->plan->turns;

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
	if (r->slice_rows > 0)
		slice(t, r);
	else if (by_turns)
		turn(t, r);
	if (r->pieces > 0)
		by_pieces(t, r);
	else if (run)
		script(t, &m->plan->run);
	else if (r->kind == JOB_FAILED)
		script(t, &m->plan->replay);
	else
		script(t, r->kind == JOB_BATCH ? &m->plan->range : &m->plan->list);
	if (run)
		step(t, POLICY_FINISH, 1, "SELECT drover.finish_run($1, $2, $3, $4)", 4, m->id_text, who->lane, t->count, t->number);
	else if (r->kind == JOB_ROW || r->kind == JOB_FAILED)
		step(t, POLICY_FINISH, 1, "SELECT drover.finish_rows($1, $2, $3)", 3, m->id_text, who->lane, t->count);
	else if (r->slice_rows > 0 || by_turns)
		step(t, POLICY_FINISH, 1, "SELECT * FROM drover.finish_slice($1, $2, $3, $4, $5)", 5, m->id_text, t->number, who->worker,
		     who->lane, flag(by_turns));
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
