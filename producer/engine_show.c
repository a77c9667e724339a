/* What the engine says and shows: lines, counts, the progress bar. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/engine_private.h"
#include "producer/standing.h"
#include "sql.h"

#define COUNT_EVERY_MS 1000
#define NO_WORKER_MS 4000 /* a worker's first heartbeat may take a moment */

uint64_t engine_now(void)
{
	return clock_now_ms(clock_system());
}

static void print(struct engine *e, const char *line)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(8 * ERR_MSG_MAX);
	bool json = cli_flag(e->call, "--json");

	progress_view_clear(&e->view);
	if (json)
		text_add_json(&b, line);
	else
		text_add_printable(&b, line);
	fprintf(stderr, json ? "{\"note\": %s}\n" : "drover: %s\n", b.data);
}

void engine_say(struct engine *e, const char *fmt, ...)
{
	char line[sizeof(e->said)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	print(e, line);
}

void engine_note(struct engine *e, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (cli_flag(e->call, "--quiet"))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	print(e, line);
}

void engine_say_once(struct engine *e, const char *fmt, ...)
{
	char line[sizeof(e->said)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (strcmp(line, e->said) == 0)
		return;
	snprintf(e->said, sizeof(e->said), "%s", line);
	print(e, line);
}

int engine_count(struct engine *e, bool now, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	uint64_t began = engine_now();
	char id[16];
	const char *params[] = { id };
	int rc;

	if (!now && began - e->counted_ms < e->count_every_ms)
		return 0;
	snprintf(id, sizeof(id), "%d", e->charge.id);
	rc = pg_exec(e->con->pg, SQL_CHARGE_COUNTS, 1, params, &res, err);
	if (rc != 0)
		return rc;
	e->changed = pg_i64(res, 0, "changed");
	e->skipped = pg_i64(res, 0, "skipped");
	e->dead = pg_i64(res, 0, "dead");
	e->ignored = pg_i64(res, 0, "ignored");
	e->waiting = pg_i64(res, 0, "waiting");
	e->workers = pg_i64(res, 0, "workers");
	if (e->counted_ms == 0)
		e->first_changed = e->changed;
	e->counted_ms = engine_now();
	/* With a million dead letters counting takes its time: then it is done less often. */
	e->count_every_ms = COUNT_EVERY_MS + 20 * (e->counted_ms - began);
	if (e->workers > 0)
		e->no_worker_ms = 0;
	else if (e->no_worker_ms == 0)
		e->no_worker_ms = e->counted_ms;
	return 0;
}

int engine_find_blocker(struct engine *e, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc;

	if (engine_now() - e->blocker_ms < 2000)
		return 0;
	e->blocker_ms = engine_now();
	rc = pg_exec(e->con->pg, SQL_OLDEST_TRANSACTION, 0, NULL, &res, err);
	if (rc != 0)
		return rc;
	e->blocker[0] = '\0';
	if (PQntuples(res) == 1)
		standing_say_transaction(res, e->blocker, sizeof(e->blocker));
	return 0;
}

static uint64_t positive(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

/* Rows whose fate is settled: looked at and not pending, or changed, skipped, dead. Not waited for: rows looked at. */
static void measure(const struct engine *e, struct progress_counts *ret)
{
	const struct charge_state *at = &e->charge.at;
	int64_t finished = e->changed + e->skipped + e->dead + e->ignored;
	int64_t open = finished < at->rows_found ? at->rows_found - finished : 0;
	int64_t total = at->scan_done || at->rows_scanned > at->estimated_rows ? at->rows_scanned : at->estimated_rows;

	ret->failed = positive(e->dead);
	ret->share = -1;
	if (at->row_limit > 0) {
		ret->total = positive(at->row_limit);
		ret->done = positive(e->o->wait ? at->rows_found - open : at->rows_found);
		return;
	}
	ret->total = positive(total);
	ret->done = positive(e->o->wait ? at->rows_scanned - open : at->rows_scanned);
}

void engine_show(struct engine *e)
{
	struct progress_counts counts = { .note = e->note, .halted = strcmp(e->charge.at.state, "paused") == 0 };

	if (!e->showing)
		return;
	/* Of a paused one its pause is the reason; while it finds and pushes without being waited for, nobody needs a worker yet. */
	if (e->no_worker_ms != 0 && engine_now() - e->no_worker_ms > NO_WORKER_MS && !counts.halted && (e->o->wait || e->water.ebbing) &&
	    e->o->tick == NULL)
		counts.note = "no worker is alive: start drover-worker";
	measure(e, &counts);
	progress_update(&e->progress, engine_now(), &counts);
	progress_view_show(&e->view, &e->progress);
}

void engine_show_end(struct engine *e)
{
	struct progress_counts counts = { .note = NULL };

	if (!e->showing)
		return;
	measure(e, &counts);
	progress_update(&e->progress, engine_now(), &counts);
	progress_view_finish(&e->view, &e->progress);
}
