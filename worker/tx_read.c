/*
 * tx_read.c - what PostgreSQL's answer to a pipeline of a job's life means.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "worker/tx.h"

#define STATEMENT_IN_LINE 200 /* bytes of a statement in the reason of a pause */
#define STATEMENT_SHOWN 4000  /* bytes of a failed statement that are kept with a dead letter */

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
		ret->did = (unsigned)number(res, "did");
		ret->worked_us = (uint64_t)number(res, "worked");
		ret->paused_us = (uint64_t)number(res, "paused");
		ret->claimed_rows = (unsigned)number(op->kept[TX_CLAIM_KEPT - 1], "claimed_rows");
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

static enum pg_class class_of(const struct pg_op *op)
{
	return op->status == ST_SQL ? pg_classify(op->failure.sqlstate, op->failure.message) : PG_CLASS_OUTAGE;
}

static bool blames_migration(enum pg_class class)
{
	return class == PG_CLASS_SUSPECT || class == PG_CLASS_WRONG || class == PG_CLASS_DENIED;
}

/* The beginning of a statement, in one line, cut between words. */
static void add_statement(struct buf *out, const char *sql)
{
	while (*sql != '\0') {
		size_t blank = strspn(sql, " \t\r\n"), word = strcspn(sql + blank, " \t\r\n");

		if (out->len + word > STATEMENT_IN_LINE && out->len > 0) {
			buf_puts(out, " ...");
			return;
		}
		if (word > 0)
			buf_printf(out, "%s%.*s", out->len > 0 ? " " : "", (int)word, sql + blank);
		sql += blank + word;
	}
}

/* As drover.put_failed() takes it, and one line for people. */
static void describe(struct tx *t, const struct pg_op *op, bool in_script)
{
	const struct pg_failure *f = &op->failure;
	enum pg_class class = class_of(op);
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
	if (class == PG_CLASS_DENIED && f->hint != NULL)
		buf_printf(&t->json, "; %.600s", f->hint);
	buf_reset(&t->message);
	text_add_printable(&t->message, t->json.data); /* what was cut in the middle of a character is mended, too */
	buf_reset(&t->json);
	if (in_script && blames_migration(class))
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
		ret->claimed_rows = (unsigned)number(op->kept[TX_CLAIM_KEPT - 1], "claimed_rows");
		ret->failures = (unsigned)number(op->kept[TX_CLAIM_KEPT - 1], "failures");
	}
	ret->class = class_of(op);
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
