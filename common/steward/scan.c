#include "steward/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/failpoint.h"
#include "job/codec.h"
#include "pg/pg_array.h"
#include "pg/pg_status.h"
#include "sql.h"

#define LEAST_ROWS 100         /* of a window that takes too long */
#define GIVING_WAY_ROWS 2000   /* of a window, while others are to notice nothing: some milliseconds */
#define GIVING_WAY_KEYS 5000   /* the same where only keys are read */
#define GIVING_WAY_BATCHES 100 /* the same where no row is read */
#define KEYS_ROWS 50000        /* of a window where only keys are read */
#define TURNS 8                /* transactions of a range that is done by turns (drover.take_turn()) ... */
#define TURN_ROWS 2000         /* ... of so many rows each or more: fewer cost more than they gain */
#define DENSE_WINDOWS 3        /* in a row, until windows are cut by their keys alone ... */
#define LOOK_EVERY 8           /* ... but for each of so many */
#define GAPS 100               /* one key in so many may be missing where keys count as following one another */
#define SPARSE 32              /* where one row in so many is pending, or fewer, the rest may be gathered */
#define WHOLE_ROWS 20000000    /* of a table that is looked at as a whole */
#define GATHER_ROWS 100000     /* that this may find; more are left to windows */
#define GATHER_COLUMNS 2       /* before the keys */

/* Batches as a statement returned them. */
struct made {
	bool rows; /* the jobs are the rows themselves */
	struct pg_array numbers, counts, listed, keys[JOB_KEY_COLUMNS_MAX];
	struct buf items[3 + JOB_KEY_COLUMNS_MAX];
};

void scan_init(struct scan *s, struct charge *c, bool sweep)
{
	memset(s, 0, sizeof(*s));
	s->charge = c;
	s->sweep = sweep;
	window_init(&s->window, LEAST_ROWS);
	push_init(&s->push, &c->queue);
}

void scan_close(struct scan *s)
{
	push_close(&s->push);
}

/* ------------------------------------------------------------ the push */

static int made_open(struct made *m, const PGresult *res, unsigned columns, struct err *err)
{
	struct pg_array *arrays[] = { &m->numbers, &m->counts, &m->listed, &m->keys[0], &m->keys[1], &m->keys[2], &m->keys[3] };
	static const char *const names[] = { "numbers", "counts", "listed" };
	int after = PQfnumber(res, "listed") + 1; /* the keys' columns are named after nothing we know */
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(m->items); i++)
		buf_init(&m->items[i], 1 << 20);
	for (unsigned i = 0; i < 3 + (m->rows ? columns : 0) && rc == 0; i++) {
		const char *literal = i < 3 ? pg_opt(res, 0, names[i]) : PQgetvalue(res, 0, after + (int)i - 3);

		rc = pg_array_open(arrays[i], literal != NULL && literal[0] != '\0' ? literal : NULL, &m->items[i], err);
	}
	return rc;
}

static void made_close(struct made *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->items); i++)
		buf_free(&m->items[i]);
}

/* A window one of whose keys does not fit into a payload becomes a batch; the row jobs of it that are pushed already do no harm. */
static int push_window_as_batch(struct scan *s, int64_t number, struct err *err)
{
	bool listed = false;
	int rc = charge_window_to_batch(s->charge, number, &listed, err);

	return rc == 1 ? push_batch(&s->push, number, listed, err) : rc;
}

static int push_window(struct scan *s, struct made *m, int64_t number, int64_t count, struct err *err)
{
	bool too_long = false;

	for (int64_t i = 0; i < count; i++) {
		const char *key[JOB_KEY_COLUMNS_MAX];
		int rc = 1;

		for (unsigned k = 0; k < s->charge->columns; k++) {
			rc = pg_array_next(&m->keys[k], &key[k], err);
			if (rc != 1 || key[k] == NULL)
				return rc < 0 ? rc : err_set(err, ST_INPUT, "the scan returned fewer keys than rows");
		}
		/* What a sweep finds lies among rows of other windows, whose dead letters are not its own: it is no run. */
		rc = too_long ? 0 : push_row(&s->push, number, s->sweep ? 0 : i + 1, key, s->charge->columns, err);
		if (rc != ST_LIMIT && rc != 0)
			return rc;
		too_long = too_long || rc == ST_LIMIT;
	}
	return too_long ? push_window_as_batch(s, number, err) : 0;
}

static int push_made(struct scan *s, struct made *m, struct err *err)
{
	const char *number, *count, *listed;
	int rc;

	while ((rc = pg_array_next(&m->numbers, &number, err)) == 1) {
		rc = pg_array_next(&m->counts, &count, err);
		if (rc == 1)
			rc = pg_array_next(&m->listed, &listed, err);
		if (rc != 1)
			return rc < 0 ? rc : err_set(err, ST_INPUT, "the scan returned fewer counts than batches");
		if (m->rows)
			rc = push_window(s, m, strtoll(number, NULL, 10), strtoll(count, NULL, 10), err);
		else
			rc = push_batch(&s->push, strtoll(number, NULL, 10), listed[0] == 't', err);
		if (rc != 0)
			return rc;
	}
	return rc;
}

static int push_all(struct scan *s, const PGresult *res, bool rows, struct err *err)
{
	struct made m = { .rows = rows };
	uint64_t before = s->push.pushed;
	int rc = made_open(&m, res, s->charge->columns, err);

	if (rc == 0)
		rc = push_made(s, &m, err);
	made_close(&m);
	if (rc == 0)
		rc = push_flush(&s->push, err);
	FAILPOINT(scan_pushed);
	if (rc == 0)
		rc = push_mark(&s->push, s->charge->at.push_seq, err);
	else
		push_abandon(&s->push);
	FAILPOINT(scan_marked);
	s->pushed_bytes = (s->push.pushed - before) * (s->window.row_bytes + 100);
	return rc;
}

/* ------------------------------------------------------------ the ledger */

struct step {
	enum charge_statement which;
	bool blind;     /* the predicate raised */
	bool by_keys;   /* nearly every row is pending: nobody need look which */
	bool turns;     /* and batches are so large that they are done by turns */
	uint64_t rows;  /* of the window */
	uint64_t found; /* at most */
	bool open;      /* its batches are windows of row jobs */
};

static int run(struct scan *s, const struct step *step, PGresult **ret, struct err *err)
{
	struct charge *c = s->charge;
	char rows[24], batch[24], found[24], together[24];
	const char *params[] = { s->sweep ? c->sweep_cursor : c->scan_cursor, rows, batch, step->open ? "open" : "queued", found,
				 c->at.has_failed ? "true" : "false" };

	if (step->by_keys) {
		params[4] = together;
		params[5] = s->tight ? "true" : "false";
	}
	snprintf(together, sizeof(together), "%d", step->turns ? TURNS : 1);
	snprintf(rows, sizeof(rows), "%" PRIu64, step->rows);
	snprintf(batch, sizeof(batch), "%" PRId64, c->at.batch_size);
	snprintf(found, sizeof(found), "%" PRIu64, step->found);
	return charge_run(c, step->which, false, 6, params, ret, err);
}

/* The last number of an array of numbers in order, as text; NULL if it is empty. */
static const char *last_number(const PGresult *res, char *out, size_t size)
{
	const char *numbers = pg_opt(res, 0, "numbers");
	const char *comma = numbers != NULL ? strrchr(numbers, ',') : NULL;

	if (numbers == NULL || strcmp(numbers, "{}") == 0)
		return NULL;
	snprintf(out, size, "%.*s", (int)strcspn(comma != NULL ? comma + 1 : numbers + 1, "}"), comma != NULL ? comma + 1 : numbers + 1);
	return out;
}

static void begin_step(struct scan *s)
{
	s->committed = s->through = false;
	s->scanned = s->found = s->pushed_bytes = 0;
}

/* @made: NULL: nothing was, and the cursor stays where it is. */
static int move(struct scan *s, const PGresult *made, bool cut, struct err *err)
{
	struct charge *c = s->charge;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	char id[16], epoch[24], revision[16], last[24], scanned[24], found[24], lease[16];
	const char *cursor = made != NULL ? pg_opt(made, 0, "cursor") : NULL;
	const char *cut_at = cut ? last_number(made, last, sizeof(last)) : NULL;
	const char *through = s->through ? "true" : "false";
	const char *scan[] = { id, epoch, revision, cursor, cut_at, scanned, found, through, lease };
	const char *sweep[] = { id, epoch, revision, cursor, cut_at, found, through, c->who };
	int rc;

	snprintf(id, sizeof(id), "%d", c->id);
	snprintf(epoch, sizeof(epoch), "%" PRId64, c->epoch);
	snprintf(revision, sizeof(revision), "%d", c->revision);
	snprintf(scanned, sizeof(scanned), "%" PRIu64, s->scanned);
	snprintf(found, sizeof(found), "%" PRIu64, s->found);
	snprintf(lease, sizeof(lease), "%d", CHARGE_LEASE_MS);
	rc = s->sweep ? pg_exec(c->pg, SQL_SWEEP_MOVE, 8, sweep, &res, err) : pg_exec(c->pg, SQL_SCAN_MOVE, 9, scan, &res, err);
	if (rc == 0 && PQntuples(res) == 0)
		rc = err_set(err, ST_LEASE_LOST, "the migration stopped, or another took it over");
	if (rc != 0) {
		pg_rollback(c->pg);
		return rc;
	}
	FAILPOINT(scan_before_commit);
	s->committed = true; /* from here on it may be, whatever comes back */
	rc = charge_commit(c, err);
	if (rc != 0)
		return rc;
	c->at.push_seq = pg_i64(res, 0, "push_seq");
	c->at.has_failed = pg_bool(res, 0, "has_failed");
	free(s->sweep ? c->sweep_cursor : c->scan_cursor);
	*(s->sweep ? &c->sweep_cursor : &c->scan_cursor) = pg_null(res, 0, "cursor") ? NULL : strdup(pg_str(res, 0, "cursor"));
	if (!pg_null(res, 0, "cursor") && (s->sweep ? c->sweep_cursor : c->scan_cursor) == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	return 0;
}

static void note(struct scan *s)
{
	struct charge_state *at = &s->charge->at;

	at->rows_found += (int64_t)s->found;
	if (s->sweep) {
		at->sweep_found += (int64_t)s->found;
		at->sweep_done = s->through;
		return;
	}
	at->rows_scanned += (int64_t)s->scanned;
	at->scan_done = s->through;
	s->charge->renewed_ms = clock_now_ms(clock_system());
}

/* What was made is committed with the cursor, then pushed. */
static int settle(struct scan *s, const PGresult *made, bool cut, bool rows, struct err *err)
{
	int rc = move(s, made, cut, err);

	if (rc != 0)
		return rc;
	note(s);
	if (s->found == 0)
		return 0;
	FAILPOINT(scan_committed);
	return push_all(s, made, rows, err);
}

/* Does a window of @rows, which begins behind the cursor and ends with @last, have nearly all numbers in between? */
static bool is_tight(const struct scan *s, const char *last, uint64_t rows)
{
	const char *before = s->charge->scan_cursor;
	int64_t from, to;

	if (s->sweep || !s->charge->turns_pay || before == NULL || last == NULL || sscanf(before, "{%" SCNd64 "}", &from) != 1 ||
	    sscanf(last, "{%" SCNd64 "}", &to) != 1)
		return false;
	return rows > 0 && (uint64_t)to - (uint64_t)from <= rows + rows / GAPS;
}

static int keep(struct scan *s, const struct step *step, const PGresult *res, uint64_t elapsed_ms, struct err *err)
{
	const struct charge_state *at = &s->charge->at;
	uint64_t looked = (uint64_t)pg_i64(res, 0, "scanned");
	bool cut;

	s->found = (uint64_t)pg_i64(res, 0, "found");
	cut = s->found >= step->found;
	/* What lies behind the cut is looked at again. */
	s->scanned = cut ? s->found : looked;
	s->through = (!cut && !step->by_keys && looked < step->rows) ||
		     (!s->sweep && at->row_limit > 0 && at->rows_found + (int64_t)s->found >= at->row_limit);
	s->sparse = !s->sweep && !cut && !step->blind && s->found * SPARSE < looked;
	if (step->by_keys && s->tight && looked < step->rows && elapsed_ms <= WINDOW_SLOW_MS)
		s->tight = false; /* behind what it made no leap was possible: keys are counted next */
	else
		s->dense = looked >= step->rows && s->found * 8 >= looked * 7 && elapsed_ms <= WINDOW_SLOW_MS ? s->dense + 1 : 0;
	if (step->open && s->found > 0) {
		uint64_t bytes = 0;

		for (int i = PQfnumber(res, "listed") + 1; i < PQnfields(res); i++)
			bytes += (uint64_t)PQgetlength(res, 0, i);
		s->window.row_bytes = bytes / s->found + 1;
	}
	if (!step->by_keys) {
		s->tight = is_tight(s, pg_opt(res, 0, "cursor"), looked);
		window_went(&s->window, looked, s->found, (uint64_t)at->batch_size, elapsed_ms);
	}
	return settle(s, res, cut, step->open, err);
}

/* ------------------------------------------------------------ the whole table at once */

static bool may_gather(const struct charge *c)
{
	const struct charge_state *at = &c->at;
	int64_t rows = at->scan_done || at->rows_scanned > at->estimated_rows ? at->rows_scanned : at->estimated_rows;

	return c->statements[CHARGE_GATHER] != NULL && at->row_limit == 0 && rows <= WHOLE_ROWS;
}

/* Commits what was found, all of it: the scan, or the sweep, is through. */
static int keep_gathered(struct scan *s, const PGresult *res, struct err *err)
{
	struct charge *c = s->charge;
	CLEANUP(pg_result_freep) PGresult *made = NULL;
	char batch[24];
	const char *params[1 + JOB_KEY_COLUMNS_MAX] = { batch };
	int64_t left = c->at.estimated_rows - c->at.rows_scanned;
	int rc = 0;

	s->found = (uint64_t)pg_i64(res, 0, "found");
	/* It did not count what it looked at. */
	s->scanned = s->sweep ? (uint64_t)c->at.rows_scanned : left > (int64_t)s->found ? (uint64_t)left : s->found;
	s->through = true;
	if (s->found > 0) {
		snprintf(batch, sizeof(batch), "%" PRId64, c->at.batch_size);
		for (unsigned i = 0; i < c->columns; i++)
			params[1 + i] = PQgetvalue(res, 0, GATHER_COLUMNS + (int)i);
		rc = charge_run_on(c, CHARGE_GATHERED, 1 + (int)c->columns, params, &made, err);
	}
	return rc == 0 ? settle(s, made, false, false, err) : rc;
}

int scan_gather(struct scan *s, uint64_t room, bool *ret_through, struct err *err)
{
	struct charge *c = s->charge;
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	/* Windows of row jobs end where the walk over them is still short, which keys far apart do not: of these only that there are none is of use. */
	uint64_t batch = (uint64_t)c->at.batch_size, most = c->row_mode ? 0 : room < GATHER_ROWS / batch ? room * batch : GATHER_ROWS;
	char rows[24], bytes[24];
	const char *params[] = { s->sweep ? c->sweep_cursor : c->scan_cursor, c->at.has_failed ? "true" : "false", rows, bytes };
	struct err why = ERR_INIT;
	int rc;

	*ret_through = false;
	begin_step(s);
	if (!may_gather(c))
		return 0;
	snprintf(rows, sizeof(rows), "%" PRIu64, most);
	snprintf(bytes, sizeof(bytes), "%d", WINDOW_FOUND_BYTES);
	rc = charge_run(c, CHARGE_GATHER, false, 4, params, &res, &why);
	if (rc == 0 && !pg_bool(res, 0, "whole")) {
		pg_rollback(c->pg);
		return 0;
	}
	if (rc == 0)
		rc = keep_gathered(s, res, &why);
	*ret_through = rc == 0;
	if (rc == ST_SQL && !s->committed && !pg_sync_lost(c->pg)) {
		begin_step(s);
		return 0; /* it takes too long, or a row is in its way: the windows find out */
	}
	if (rc != 0 && err != NULL)
		*err = why;
	return rc;
}

/* ------------------------------------------------------------ a step */

static uint64_t keys_at_most(const struct scan *s)
{
	uint64_t most = s->tight ? GIVING_WAY_BATCHES * (uint64_t)s->charge->at.batch_size : GIVING_WAY_KEYS;

	return charge_gives_way(s->charge) && most < KEYS_ROWS ? most : KEYS_ROWS;
}

/* Their batches are ranges, whose workers look at each row anyway. A limit counts what is pending, and rows with a dead letter are left out. */
static bool is_by_keys(const struct scan *s, bool blind)
{
	const struct charge *c = s->charge;

	return !s->sweep && !blind && (uint64_t)c->at.batch_size <= keys_at_most(s) && c->statements[CHARGE_SCAN_KEYS] != NULL &&
	       c->at.row_limit == 0 && !c->at.has_failed && s->dense >= DENSE_WINDOWS && s->dense % LOOK_EVERY != 0;
}

/* Whole batches, as many as there is room for; where that pays and fits, such as are done by turns. */
static struct step plan_keys(const struct scan *s, uint64_t room)
{
	uint64_t most = keys_at_most(s), batch = (uint64_t)s->charge->at.batch_size;
	bool turns = s->charge->turns_pay && !charge_gives_way(s->charge) && batch >= TURN_ROWS && batch * TURNS <= most;
	uint64_t large = turns ? batch * TURNS : batch;

	room = room > most / large ? most / large : room;
	return (struct step){
		.which = CHARGE_SCAN_KEYS, .by_keys = true, .turns = turns, .rows = room > 0 ? room * large : large, .found = UINT64_MAX
	};
}

static struct step plan_step(const struct scan *s, uint64_t room, bool blind)
{
	const struct charge *c = s->charge;
	uint64_t batch = (uint64_t)c->at.batch_size;
	struct step step = { .blind = blind, .rows = s->window.rows, .open = c->row_mode && !blind };

	if (is_by_keys(s, blind))
		return plan_keys(s, room);
	if (charge_gives_way(c) && step.rows > GIVING_WAY_ROWS)
		step.rows = GIVING_WAY_ROWS;
	if (s->sweep)
		step.which = blind ? CHARGE_SWEEP_BLIND : CHARGE_SWEEP;
	else
		step.which = blind ? CHARGE_SCAN_BLIND : CHARGE_SCAN;
	if (room < 1)
		room = 1;
	step.found = step.open ? room : room > UINT32_MAX / batch ? UINT32_MAX : room * batch;
	/* In row mode the plan returns every key found, blind or not. */
	if (c->row_mode && step.found > window_found_max(&s->window))
		step.found = window_found_max(&s->window);
	/* Where most rows are pending, so many keys are found before the window ends: where it does, the plan walks over its keys once more. */
	if (step.open) {
		step.found = step.found < step.rows ? step.found : step.rows;
		step.rows *= 2;
	}
	if (!s->sweep && c->at.row_limit > 0) {
		int64_t left = c->at.row_limit - c->at.rows_found;

		/* At the limit already: a window of no rows ends the scan. */
		step.rows = left > 0 ? step.rows : 0;
		step.found = left <= 0 ? 1 : (uint64_t)left < step.found ? (uint64_t)left : step.found;
	}
	return step;
}

/* The predicate raises somewhere in this window. Smaller ones find out where; @ret_blind: as small as it gets, take it without the predicate. */
static int raised(struct scan *s, const struct step *step, bool *ret_blind, struct err *err)
{
	/* Sweeps look at rows that are done too: without the predicate they may only take single ones, or they would find for ever. */
	uint64_t floor = s->sweep ? 1 : (uint64_t)s->charge->at.batch_size;
	struct err wrong = *err;

	if (step->blind)
		return err->code;
	if (pg_classify(err->sqlstate, err->msg) != PG_CLASS_DATA && charge_is_wrong(s->charge, step->which, &wrong))
		return err_set(err, ST_REFUSED, "%s (SQLSTATE %s)", wrong.msg, wrong.sqlstate);
	if (pg_sync_lost(s->charge->pg))
		return err_set(err, ST_DISCONNECTED, "%s", wrong.msg);
	if (!window_halve(&s->window, floor))
		*ret_blind = true;
	return 0;
}

int scan_step(struct scan *s, uint64_t room, struct err *err)
{
	bool blind = false;

	if (s->sparse && !s->gathered && !s->charge->row_mode) {
		bool through;
		int rc = scan_gather(s, room, &through, err);

		s->gathered = true;
		if (rc != 0 || through)
			return rc;
	}
	begin_step(s);
	for (;;) {
		struct step step = plan_step(s, room, blind);
		uint64_t began = clock_now_ms(clock_system());
		PGresult *res = NULL;
		struct err why = ERR_INIT;
		int rc = run(s, &step, &res, &why);

		if (rc == 0) {
			s->blind += blind;
			rc = keep(s, &step, res, clock_now_ms(clock_system()) - began, err);
			PQclear(res);
			return rc;
		}
		/* Whatever it is: the windows that look at each row find out, and can be made smaller. */
		if (step.by_keys && why.code == ST_SQL && !pg_sync_lost(s->charge->pg)) {
			s->dense = 0;
			continue;
		}
		if (charge_too_long(&why)) {
			if (!window_halve(&s->window, LEAST_ROWS))
				return err_set(err, ST_BUSY, "a window of %d rows takes too long: %s", LEAST_ROWS, why.msg);
			continue;
		}
		if (why.code == ST_SQL && pg_classify(why.sqlstate, why.msg) == PG_CLASS_CONFLICT)
			return err_set(err, ST_BUSY, "%s", why.msg);
		rc = charge_raised(&why) ? raised(s, &step, &blind, &why) : rc;
		if (rc != 0) {
			if (err != NULL)
				*err = why;
			return rc;
		}
	}
}
