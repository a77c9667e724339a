#include "steward/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/clock.h"
#include "pg/pg_status.h"
#include "sql.h"
#include "steward/charge.h"
#include "steward/window.h"

#define PROGRESS_MS 200
#define CONFLICT_TRIES 20
#define CONFLICT_MS 250

struct walk {
	struct charge charge;
	const struct verify_options *options;
	struct verify_result *result;
	struct window window;
	char *cursor; /* array literal */
	unsigned keys_left;
	uint64_t told_ms;
	bool end;
};

static int hand_out_keys(struct walk *w, const PGresult *res, struct err *err)
{
	const char *text = pg_opt(res, 0, "keys");
	json_t *keys = text != NULL ? json_loads(text, 0, NULL) : NULL;
	json_t *key;
	size_t i;
	int rc = 0;

	json_array_foreach(keys, i, key) {
		char *one = rc == 0 && w->keys_left > 0 ? json_dumps(key, JSON_COMPACT) : NULL;

		if (one == NULL)
			break;
		w->keys_left--;
		rc = w->options->key(w->options->arg, one, err);
		free(one);
	}
	json_decref(keys);
	return rc;
}

static int count(struct walk *w, const PGresult *res, bool blind, struct err *err)
{
	struct verify_result *r = w->result;
	uint64_t pending = (uint64_t)pg_i64(res, 0, "pending");

	r->scanned += (uint64_t)pg_i64(res, 0, "scanned");
	r->pending += pending;
	r->dead += (uint64_t)pg_i64(res, 0, "dead");
	r->ignored += (uint64_t)pg_i64(res, 0, "ignored");
	if (blind)
		r->raised += pending;
	free(w->cursor);
	w->cursor = pg_null(res, 0, "cursor") ? NULL : strdup(pg_str(res, 0, "cursor"));
	w->end = pg_null(res, 0, "cursor");
	if (!w->end && w->cursor == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	return w->options->key != NULL && w->keys_left > 0 ? hand_out_keys(w, res, err) : 0;
}

static void tell(struct walk *w, bool last)
{
	uint64_t now = clock_now_ms(clock_system());

	if (w->options->progress == NULL || (!last && now - w->told_ms < PROGRESS_MS))
		return;
	w->told_ms = now;
	w->options->progress(w->options->arg, w->result->scanned, (uint64_t)w->charge.at.estimated_rows);
}

/* The predicate raises on some row of the window: halve it until the row is alone; *@ret_blind then. */
static int raised(struct walk *w, bool *ret_blind, struct err *why)
{
	struct err wrong = *why;

	if (*ret_blind)
		return why->code;
	if (pg_classify(why->sqlstate, why->msg) != PG_CLASS_DATA && charge_is_wrong(&w->charge, CHARGE_VERIFY, &wrong)) {
		*why = wrong;
		return why->code;
	}
	if (pg_sync_lost(w->charge.pg)) {
		*why = wrong;
		return why->code;
	}
	if (!window_halve(&w->window, 1))
		*ret_blind = true;
	return 0;
}

static int one_window(struct walk *w, struct err *err)
{
	bool blind = false;
	int conflicts = 0;

	for (;;) {
		CLEANUP(pg_result_freep) PGresult *res = NULL;
		char rows[24], keys[16];
		const char *params[] = { w->cursor, rows, keys };
		uint64_t began = clock_now_ms(clock_system());
		struct err why = ERR_INIT;
		int rc;

		snprintf(rows, sizeof(rows), "%" PRIu64, blind ? 1 : w->window.rows);
		snprintf(keys, sizeof(keys), "%u", w->options->key != NULL ? w->keys_left : 0);
		rc = charge_run(&w->charge, blind ? CHARGE_VERIFY_BLIND : CHARGE_VERIFY, true, 3, params, &res, &why);
		if (rc == 0) {
			pg_rollback(w->charge.pg); /* nothing was written */
			rc = count(w, res, blind, err);
			window_went(&w->window, (uint64_t)pg_i64(res, 0, "scanned"), 0, 1, clock_now_ms(clock_system()) - began);
			return rc;
		}
		if (charge_too_long(&why) && window_halve(&w->window, 1))
			rc = 0;
		else if (charge_raised(&why))
			rc = raised(w, &blind, &why);
		else if (why.code == ST_SQL && pg_classify(why.sqlstate, why.msg) == PG_CLASS_CONFLICT && conflicts++ < CONFLICT_TRIES)
			rc = clock_sleep_ms(CONFLICT_MS, w->options->stop);
		if (rc != 0) {
			if (err != NULL)
				*err = why;
			return rc == ST_INTERRUPTED ? err_set(err, rc, "interrupted") : rc;
		}
	}
}

static int ask_ledger(struct walk *w, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct verify_result *r = w->result;
	char id[16];
	const char *params[] = { id };
	int rc;

	snprintf(id, sizeof(id), "%d", w->charge.id);
	rc = pg_exec(w->charge.pg, SQL_VERIFY_LEDGER, 1, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0)
		return err_set(err, ST_NOT_FOUND, "there is no migration %d any more", w->charge.id);
	r->ledger_only = pg_bool(res, 0, "ledger_only");
	r->limited = pg_bool(res, 0, "limited");
	r->scan_done = pg_bool(res, 0, "scan_done");
	r->waiting = (uint64_t)pg_i64(res, 0, "waiting");
	snprintf(r->key_name, sizeof(r->key_name), "%s", w->charge.key_name);
	if (!r->ledger_only)
		return 0;
	r->scanned = (uint64_t)pg_i64(res, 0, "rows_scanned");
	r->dead = (uint64_t)pg_i64(res, 0, "dead");
	r->ignored = (uint64_t)pg_i64(res, 0, "ignored");
	r->pending = r->waiting + r->dead + r->ignored;
	return 0;
}

int verify_walk(struct pg_sync *pg, int migration_id, const struct verify_options *options, struct verify_result *ret, struct err *err)
{
	struct walk w = { .options = options, .result = ret, .keys_left = options->max_keys };
	int rc;

	memset(ret, 0, sizeof(*ret));
	charge_init(&w.charge, pg, NULL, "verify", migration_id, options->stop);
	window_init(&w.window, 100);
	rc = charge_look(&w.charge, err);
	if (rc == 0)
		rc = ask_ledger(&w, err);
	while (rc == 0 && !ret->ledger_only && !w.end) {
		rc = one_window(&w, err);
		tell(&w, false);
	}
	if (rc == 0)
		tell(&w, true);
	free(w.cursor);
	charge_close(&w.charge);
	return rc;
}
