/*
 * drover retry: replay dead letters.
 *
 * Chunk by chunk, ids ascending: the ledger says `queued` and commits, then the chunk is pushed. Killed in between, the audit pushes the
 * rest, as it does once the backlog is full; run again, only what is still dead is taken. What fails after the start has a higher id or,
 * being replayed, a lower one than the next chunk, so a replay never meets its own failures.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "core/clock.h"
#include "core/failpoint.h"
#include "core/text.h"
#include "ledger/settings.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "producer/filter.h"
#include "queue/push.h"

#define CHUNK 500       /* rows of one transaction */
#define CHUNKS_PER_S 20 /* with --rate */

static const struct cli_option options[] = {
	FILTER_OPTION_MIGRATION,
	FILTER_OPTION_ERROR,
	FILTER_OPTION_SINCE,
	FILTER_OPTION_RANGE,
	{ "--rate", .arg = "N/s", .type = CLI_RATE, .help = "replay no faster than this" },
	{ "--dry-run", .help = "count them, and change nothing" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover retry 42 50-60", "these" },
	{ "drover retry all --migration 0001_pages --error 23514", "all of a kind, once the cause is mended" },
	{ "drover retry all --rate 100/s", "gently" },
	{ "drover retry all --since 1d --dry-run", "what it would do" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "matched", NULL, .type = OUT_INT },
	{ "queued", NULL, .type = OUT_INT },
	{ "pushed", NULL, .type = OUT_INT },
	{ "dry_run", NULL, .type = OUT_BOOL },
};

/* The migrations met so far. */
struct touched {
	int id;
	uint64_t queued;
	uint64_t max_backlog; /* jobs */
	bool paused;
	char name[MIGRATION_REF_NAME_MAX + 1];
	struct queue queue;
};

struct retry {
	struct console *con;
	const struct cli_call *call;
	struct filter filter;
	int64_t newest; /* ids above it failed after the start */
	int64_t matched, queued, pushed;
	bool redis_away; /* the audit will push */
	bool full;       /* so it will what the backlog had no room for */
	struct touched *touched;
	size_t ntouched;
	struct progress progress;
	struct progress_view view;
};

static int touch(struct retry *r, int migration_id, struct touched **ret, struct err *err)
{
	struct touched *grown;
	struct settings settings;
	int rc;

	for (size_t i = 0; i < r->ntouched; i++)
		if (r->touched[i].id == migration_id) {
			*ret = &r->touched[i];
			return 0;
		}
	rc = migrations_settings(r->con->pg, migration_id, &settings, err);
	if (rc != 0)
		return rc;
	grown = realloc(r->touched, (r->ntouched + 1) * sizeof(*grown));
	if (grown == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	r->touched = grown;
	grown[r->ntouched] = (struct touched){ .id = migration_id, .max_backlog = settings.max_backlog };
	*ret = &grown[r->ntouched++];
	return 0;
}

/* ------------------------------------------------------------ one chunk */

/* The chunk's rows of one migration. */
static int push_some(struct retry *r, struct touched *t, const PGresult *res, struct err *err)
{
	struct queue_depth depth;
	struct push push;
	uint64_t n = 0;
	int rc;

	queue_init(&t->queue, r->con->redis, r->con->schema.installation, t->id);
	rc = queue_depth(&t->queue, false, &depth, err);
	if (rc != 0)
		return rc;
	push_init(&push, &t->queue);
	for (int i = 0; i < PQntuples(res) && rc == 0; i++) {
		if ((int)pg_i64(res, i, "migration_id") != t->id)
			continue;
		if (queue_depth_jobs(&depth) + n >= t->max_backlog) {
			r->full = true;
			break;
		}
		n++;
		rc = push_failed(&push, pg_i64(res, i, "id"), 0, err);
	}
	if (rc == 0)
		rc = push_flush(&push, err);
	if (rc == 0)
		r->pushed += (int64_t)push.pushed;
	push_close(&push);
	return rc;
}

/* Committed already: a Redis that fails here costs time, not replays. */
static int push_chunk(struct retry *r, const PGresult *res, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = r->redis_away ? 0 : console_redis(r->con, r->call, &why);

	for (size_t i = 0; i < r->ntouched && rc == 0 && !r->redis_away; i++)
		rc = push_some(r, &r->touched[i], res, &why);
	if (rc == 0)
		return 0;
	if (rc == ST_INTERRUPTED)
		return err_set(err, rc, "%s", why.msg);
	r->redis_away = true;
	progress_view_clear(&r->view);
	console_note(r->call, "cannot push: %s; the replays are queued all the same, and a producer's or worker's audit will push them",
		     why.msg);
	return 0;
}

/* *@after moves to the last id; unchanged: nothing was left. */
static int do_chunk(struct retry *r, int64_t *after, int limit, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = failed_queue(r->con->pg, &r->filter.failed, *after, r->newest, limit, console_actor(r->con, r->call), &res, err), n;

	if (rc != 0)
		return rc;
	n = PQntuples(res);
	for (int i = 0; i < n; i++) {
		struct touched *t = NULL;

		rc = touch(r, (int)pg_i64(res, i, "migration_id"), &t, err);
		if (rc != 0)
			return rc;
		t->queued++;
		t->paused = pg_bool(res, i, "paused");
		(void)snprintf(t->name, sizeof(t->name), "%s", pg_str(res, i, "name"));
		*after = pg_i64(res, i, "id");
	}
	r->queued += n;
	if (n == 0)
		return 0;
	FAILPOINT(retry_queued);
	rc = push_chunk(r, res, err);
	FAILPOINT(retry_pushed);
	return rc;
}

static void show_progress(struct retry *r)
{
	const struct progress_counts counts = { .done = (uint64_t)r->queued, .total = (uint64_t)r->matched, .share = -1 };

	progress_update(&r->progress, clock_now_ms(clock_system()), &counts);
	progress_view_show(&r->view, &r->progress);
}

/* Until the next chunk's share of time has passed: at no moment since the start are there more than the rate allows, the first ones included. */
static int keep_pace(struct retry *r, double rate, uint64_t start_ms, int limit)
{
	int64_t left = r->matched - r->queued, next = left < limit ? left : limit;
	uint64_t due_ms = start_ms + (uint64_t)((double)(r->queued + next) * 1000 / rate), now_ms = clock_now_ms(clock_system());

	return next > 0 && due_ms > now_ms ? clock_sleep_ms(due_ms - now_ms, &r->con->stop) : 0;
}

static int do_all(struct retry *r, struct err *err)
{
	double rate = cli_rate(r->call, "--rate");
	uint64_t start_ms = clock_now_ms(clock_system());
	int limit = CHUNK, rc = 0;
	int64_t after = 0, before = -1;

	/* A few at a time, so that the pace is even. */
	if (rate > 0 && rate / CHUNKS_PER_S < CHUNK)
		limit = rate < CHUNKS_PER_S ? 1 : (int)(rate / CHUNKS_PER_S);
	while (rc == 0 && after != before) {
		before = after;
		rc = rate > 0 ? keep_pace(r, rate, start_ms, limit) : 0;
		if (r->con->stop)
			rc = ST_INTERRUPTED;
		if (rc != 0) {
			err_set(err, rc, "interrupted after %" PRId64 " of %" PRId64 " replays; run it again for the rest", r->queued,
				r->matched);
			break;
		}
		rc = do_chunk(r, &after, limit, err);
		if (rc == 0 && after != before)
			show_progress(r);
	}
	progress_view_clear(&r->view);
	return rc;
}

/* ------------------------------------------------------------ around it */

/* Kept with each migration, also when the replay was interrupted. */
static int write_events(struct retry *r, struct err *err)
{
	CLEANUP(buf_free) struct buf what = BUF_INIT(4000);
	CLEANUP(buf_free) struct buf detail = BUF_INIT(5000);
	int rc = 0;

	filter_describe(&r->filter, r->call, &what);
	for (size_t i = 0; i < r->ntouched && rc == 0; i++) {
		const struct migration_ref m = { .id = r->touched[i].id };

		if (r->touched[i].queued == 0)
			continue;
		buf_reset(&detail);
		buf_printf(&detail, "%" PRIu64 " dead letters (%s)", r->touched[i].queued, what.data);
		rc = migrations_event(r->con->pg, &m, console_actor(r->con, r->call), "retry", detail.data, err);
	}
	return rc;
}

static int report(struct retry *r, bool dry_run, struct err *err)
{
	CLEANUP(out_close) struct out out = { 0 };

	out_open(&out, r->call);
	if (out.format == OUT_HUMAN) {
		if (dry_run)
			out_note(&out, "%s dead letter%s would be replayed", text_human_rows((uint64_t)r->matched).s,
				 r->matched == 1 ? "" : "s");
		else if (r->queued == 0)
			out_note(&out, "nothing to replay: no dead letter fits");
		else
			out_note(&out, "%s dead letter%s queued for a replay; what fails again is dead again: drover failed",
				 text_human_rows((uint64_t)r->queued).s, r->queued == 1 ? "" : "s");
		if (r->full)
			out_note(
				&out,
				"%s of them are in Redis, which is as much as max_backlog allows; the others follow as the workers make room",
				text_human_rows((uint64_t)r->pushed).s);
		for (size_t i = 0; i < r->ntouched; i++) {
			if (r->touched[i].queued > 0 && r->touched[i].paused)
				out_note(&out, "%s is paused: its replays wait for drover resume %s", r->touched[i].name,
					 r->touched[i].name);
		}
		return 0;
	}
	out_kv(&out, columns, ARRAY_SIZE(columns));
	out_int(&out, r->matched);
	out_int(&out, r->queued);
	out_int(&out, r->pushed);
	out_bool(&out, dry_run);
	return out_end(&out, NULL, err);
}

/* Ids that were named but are not there at all are a mistake; those that are not dead any more are not. */
static int check_ids(struct retry *r, struct err *err)
{
	struct failed_filter any = r->filter.failed;
	int64_t n = 0;
	int rc;

	if (r->matched > 0 || any.nranges == 0)
		return 0;
	any.states = NULL;
	rc = failed_count(r->con->pg, &any, r->newest, &n, err);
	if (rc == 0 && n == 0)
		return err_set(err, ST_NOT_FOUND, "there is no such failed job; `drover failed` lists them");
	return rc;
}

static int retry(struct retry *r, struct err *err)
{
	const char *migration = cli_str(r->call, "--migration");
	int rc;

	/* A forgotten one comes back only by its id. */
	r->filter.failed.states = r->filter.failed.nranges > 0 ? "dead,ignored" : "dead";
	rc = failed_newest(r->con->pg, &r->newest, err);
	if (rc == 0)
		rc = failed_count(r->con->pg, &r->filter.failed, r->newest, &r->matched, err);
	if (rc == 0)
		rc = check_ids(r, err);
	if (rc != 0)
		return rc;
	if (!cli_flag(r->call, "--dry-run")) {
		struct err late = ERR_INIT;
		int noted;

		progress_init(&r->progress, migration != NULL ? migration : "replay", clock_now_ms(clock_system()));
		progress_view_open(&r->view, r->call);
		rc = do_all(r, err);
		if (rc == ST_INTERRUPTED && !pg_sync_lost(r->con->pg))
			r->con->stop = 0; /* the trail is written all the same */
		noted = r->con->stop ? 0 : write_events(r, &late);
		if (rc == 0 && noted != 0)
			rc = err_set(err, noted, "%s", late.msg);
	}
	return rc != 0 ? rc : report(r, cli_flag(r->call, "--dry-run"), err);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct retry r = { .con = ctx, .call = call };
	int rc = filter_open(&r.filter, r.con, call, call->args, err);

	if (rc == 0 && !r.filter.all && filter_is_open(&r.filter))
		rc = err_set(err, ST_USAGE, "which dead letters? Give ids (42 50-60), or all, with filters if need be");
	if (rc == 0)
		rc = console_pg(r.con, call, err);
	if (rc == 0)
		rc = retry(&r, err);
	filter_close(&r.filter);
	free(r.touched);
	return rc;
}

const struct cli_command retry_command = {
	.name = "retry",
	.args = "[ID|A-B|all]...",
	.max_args = CLI_ARGS_ANY,
	.complete = "all",
	.summary = "replay dead letters",
	.help = "Their attempts start again at 0. A row is migrated by the replay if it is still pending; if it is gone, or was migrated meanwhile by the "
		"application, the dead letter says so. What fails again is dead again, with its history.\n\n"
		"Interrupted and run again it goes on: nothing is replayed twice. Those of a cancelled migration stay as they are; those of a paused one wait "
		"until `drover resume`.",
	.examples = examples,
	.options = options,
	.run = run,
};
