/* drover status: how migrations stand, once or again and again. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "core/clock.h"
#include "core/outage.h"
#include "core/text.h"
#include "pg/pg_error.h"
#include "pg/pg_sync.h"
#include "producer/block.h"
#include "producer/console.h"
#include "producer/screen.h"
#include "producer/standing.h"
#include "producer/track.h"

#define SAMPLE_MS 1000 /* between the looks that a rate is taken from */
#define SAMPLES_MAX 4  /* while nothing was committed meanwhile, but lately: lanes may pause */
#define LATELY_MS 10000
#define WHY_TEXT_MAX (16 * 1024)
#define SERVER_LOOKS 8 /* at what the lanes do in the server, where there is one moment to tell it ... */
#define WATCH_LOOKS 2  /* ... and between two looks of --watch */
#define FRAME_MAX (1u << 20)
#define RESIZE_MS 100 /* between looks at the terminal's size */
#define BLOCK_LINES 3 /* of a migration on a screen, at least */
#define LIST_WHY 2    /* reasons of each of several */
#define PROBE_MS 5000 /* between questions for CPU: each takes some of it */

static const struct cli_option options[] = {
	{ "--watch", .short_name = 'w', .help = "look again and again; with NAME until it is over. With --json one object a line" },
	{ "--interval", .arg = "TIME", .type = CLI_DURATION, .def = "1s", .min = 100, .max = 3600000, .help = "between looks of --watch" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover status", "all migrations, one line each" },
	{ "drover status 0001_pages", "one, with what holds it up" },
	{ "drover status --watch", "look on" },
	{ 0 },
};

static const struct cli_text exits[] = {
	{ "4", "with --watch NAME: it is over, with dead letters" },
	{ 0 },
};

static enum out_style failed_style(const char *n)
{
	return strcmp(n, "0") == 0 ? OUT_PLAIN : OUT_RED;
}

/* One description for both: the list shows those with a short title, one migration alone shows all. */
static const struct out_column list_columns[] = {
	{ "name", "MIGRATION", .type = OUT_STR },
	{ "state", "STATE", .type = OUT_STR, .style = block_state_style },
	{ "done", "DONE", .type = OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "rows_finished", "ROWS", .type = OUT_INT },
	{ "failed", "FAILED", .type = OUT_INT, .style = failed_style },
	{ "rate", "RATE", .type = OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "left", "LEFT", .type = OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "backlog", "BACKLOG", .type = OUT_INT },
	{ "why_text", "WHY", .type = OUT_STR, .below = true, .where = OUT_ONLY_HUMAN },
};

static const struct out_column columns[] = {
	{ "name", "migration", .type = OUT_STR },
	{ "state", NULL, .type = OUT_STR, .style = block_state_style },
	{ "reason", NULL, .type = OUT_STR, .where = OUT_ONLY_JSON },
	{ "table", NULL, .type = OUT_STR },
	{ "mode", NULL, .type = OUT_STR },
	{ "ledger_only", "ledger-only", .type = OUT_BOOL },
	{ "done", NULL, .type = OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "share", NULL, .type = OUT_NUM, .where = OUT_ONLY_JSON },
	{ "scan", NULL, .type = OUT_STR },
	{ "sweep", "sweeps", .type = OUT_INT },
	{ "rows_scanned", "rows scanned", .type = OUT_INT },
	{ "rows_found", "rows found", .type = OUT_INT },
	{ "rows_expected", "rows expected", .type = OUT_INT },
	{ "rows_finished", "rows finished", .type = OUT_INT },
	{ "rows_changed", "  changed", .type = OUT_INT },
	{ "rows_skipped", "  skipped", .type = OUT_INT },
	{ "failed", "  failed", .type = OUT_INT, .style = failed_style },
	{ "ignored", "  forgotten", .type = OUT_INT },
	{ "waiting", "rows waiting", .type = OUT_INT },
	{ "rate", NULL, .type = OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "rate_per_s", NULL, .type = OUT_NUM, .where = OUT_ONLY_JSON },
	{ "left", "time left", .type = OUT_STR, .where = OUT_ONLY_HUMAN },
	{ "eta_low_ms", NULL, .type = OUT_INT, .where = OUT_ONLY_JSON },
	{ "eta_high_ms", NULL, .type = OUT_INT, .where = OUT_ONLY_JSON },
	{ "incomplete_batches", "batches to do", .type = OUT_INT },
	{ "backlog", "jobs in Redis", .type = OUT_INT },
	{ "leased", "  with workers", .type = OUT_INT },
	{ "delayed", "  delayed", .type = OUT_INT },
	{ "workers", "workers", .type = OUT_INT },
	{ "lanes", NULL, .type = OUT_INT },
	{ "lanes_busy", "  at work", .type = OUT_INT },
	{ "bound", "limit", .type = OUT_STR },
	{ "producer", NULL, .type = OUT_STR },
	{ "rung", NULL, .type = OUT_INT, .where = OUT_ONLY_JSON },
	{ "signal", NULL, .type = OUT_STR, .where = OUT_ONLY_JSON },
	{ "held_by", NULL, .type = OUT_STR, .where = OUT_ONLY_JSON },
	{ "held_since", NULL, .type = OUT_TIME, .where = OUT_ONLY_JSON },
	{ "unseen", NULL, .type = OUT_STR, .where = OUT_ONLY_JSON },
	{ "why", NULL, .type = OUT_RAW_JSON, .where = OUT_ONLY_JSON },
	{ "why_text", "why", .type = OUT_STR, .below = true, .where = OUT_ONLY_HUMAN },
};

/* Below the block, and on a screen of 24 lines: without what never changes, what the block says, and sums. */
static void choose_for_screen(struct out_column chosen[ARRAY_SIZE(columns)])
{
	static const char *const left_out[] = { "name",          "state",         "table",      "mode",     "ledger_only", "done",
						"rows_expected", "rows_finished", "failed",     "ignored",  "rate",        "left",
						"backlog",       "delayed",       "lanes_busy", "why_text", NULL };

	memcpy(chosen, columns, sizeof(columns));
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (text_one_of(columns[i].key, left_out))
			chosen[i].where = OUT_ONLY_JSON;
}

/* ------------------------------------------------------------ rates */

struct watch {
	struct console *con;
	const struct cli_call *call;
	int id; /* 0: all */
	struct tracks tracks;
	struct fleet fleet;
	struct screen screen;   /* again and again, on a terminal */
	bool lines;             /* again and again, where there is none */
	uint64_t probed_ms;     /* when the server was last asked for CPU */
	bool over;              /* the one asked for */
	bool has_dead;          /* it has dead letters */
	bool waits_for_commits; /* another look would tell a rate that this one does not */
};

/* *@ret is NULL for what stands still from the start: it has no pace. What stopped while it was watched keeps its bar. */
static int measure(struct watch *w, struct standing *s, struct track **ret, struct err *err)
{
	struct track *t = NULL;
	bool moved;
	int rc;

	*ret = NULL;
	if (!standing_is(s, "running") && w->tracks.n == 0 && !w->screen.on)
		return 0;
	rc = tracks_look(&w->tracks, s, &t, err);
	if (rc != 0)
		return rc;
	*ret = t;
	moved = s->finished != t->first_finished;
	if (standing_is(s, "running") && w->fleet.working > 0 && (s->incomplete > 0 || !s->scan_done))
		w->waits_for_commits = w->waits_for_commits || t->looks == 1 || (!moved && s->idle_ms >= 0 && s->idle_ms < LATELY_MS);
	return 0;
}

/* ------------------------------------------------------------ showing */

static void put_left(struct out *out, const struct standing *s)
{
	if (!s->eta_known)
		out_null(out);
	else if (s->eta_open)
		out_textf(out, "%s or more", text_human_duration(s->eta_low_ms).s);
	else if (strcmp(text_human_duration(s->eta_low_ms).s, text_human_duration(s->eta_high_ms).s) == 0)
		out_textf(out, "%s", text_human_duration(s->eta_low_ms).s);
	else
		out_textf(out, "%s to %s", text_human_duration(s->eta_low_ms).s, text_human_duration(s->eta_high_ms).s);
}

/* In a list there is room for a guess: "40s-2m". */
static void put_left_short(struct out *out, const struct standing *s)
{
	struct text_short low = text_human_guess(s->eta_low_ms), high = text_human_guess(s->eta_high_ms);

	if (!s->eta_known)
		out_null(out);
	else if (s->eta_open)
		out_textf(out, ">%s", low.s);
	else if (strcmp(low.s, high.s) == 0)
		out_textf(out, "%s", low.s);
	else
		out_textf(out, "%s-%s", low.s, high.s);
}

static void put_rate(struct out *out, const struct standing *s)
{
	if (s->rate_per_s < 0)
		out_null(out);
	else
		out_textf(out, "%s", text_human_rate(s->rate_per_s).s);
}

static void put_share(struct out *out, const struct standing *s)
{
	if (s->share < 0)
		out_null(out);
	else
		out_textf(out, "%s", text_human_percent(s->share).s);
}

static void put_count(struct out *out, bool known, uint64_t n)
{
	if (known)
		out_uint(out, n);
	else
		out_null(out);
}

static void put_why(struct out *out, const struct strvec *why)
{
	CLEANUP(buf_free) struct buf json = BUF_INIT(WHY_TEXT_MAX);
	CLEANUP(buf_free) struct buf lines = BUF_INIT(WHY_TEXT_MAX);

	buf_putc(&json, '[');
	for (size_t i = 0; i < why->n; i++) {
		buf_puts(&json, i > 0 ? "," : "");
		text_add_json(&json, why->v[i]);
		buf_printf(&lines, "%s%s", i > 0 ? "\n" : "", why->v[i]);
	}
	buf_putc(&json, ']');
	out_json(out, json.data);
	out_text(out, why->n > 0 ? lines.data : NULL);
}

static void put_list_row(struct out *out, const struct standing *s, const struct strvec *why)
{
	out_text(out, s->name);
	out_text(out, s->state);
	put_share(out, s);
	out_int(out, s->finished);
	out_int(out, s->dead);
	put_rate(out, s);
	put_left_short(out, s);
	put_count(out, s->depth_known, queue_depth_jobs(&s->depth));
	out_text(out, why->n > 0 ? why->v[0] : NULL);
}

static void put_full(struct out *out, const struct standing *s, const struct strvec *why)
{
	out_text(out, s->name);
	out_text(out, s->state);
	out_text(out, s->reason);
	out_text(out, s->table);
	out_text(out, s->mode);
	out_bool(out, s->ledger_only);
	put_share(out, s);
	if (s->share < 0)
		out_null(out);
	else
		out_num(out, s->share);
	out_text(out, s->scan_done ? "done" : s->producing ? "running" : "not done");
	out_int(out, s->sweep);
	out_int(out, s->scanned);
	out_int(out, s->found);
	out_int(out, s->expected);
	out_int(out, s->finished);
	out_int(out, s->changed);
	out_int(out, s->skipped);
	out_int(out, s->dead);
	out_int(out, s->ignored);
	out_int(out, s->waiting);
	put_rate(out, s);
	if (s->rate_per_s < 0)
		out_null(out);
	else
		out_num(out, s->rate_per_s);
	put_left(out, s);
	put_count(out, s->eta_known, s->eta_low_ms);
	put_count(out, s->eta_known && !s->eta_open, s->eta_high_ms);
	out_int(out, s->incomplete);
	put_count(out, s->depth_known, queue_depth_jobs(&s->depth));
	put_count(out, s->depth_known, s->depth.leased);
	put_count(out, s->depth_known, s->depth.delayed);
	out_int(out, s->workers_able);
	out_int(out, s->lanes_able);
	out_int(out, s->lanes_busy);
	out_text(out, bound_name(s->bound));
	if (s->producing && s->producer != NULL)
		out_textf(out, "%.*s", (int)strcspn(s->producer, "#"), s->producer); /* the namespace behind it tells people nothing */
	else
		out_null(out);
	out_int(out, s->rung);
	out_text(out, s->signal);
	out_text(out, s->held_by);
	out_text(out, s->held_since);
	out_text(out, s->unseen);
	put_why(out, why);
}

enum showing { SHOW_NOTHING, SHOW_LIST, SHOW_FULL, SHOW_BLOCKS, SHOW_LINES };

static int show_row(struct watch *w, struct out *out, const PGresult *res, int row, enum showing how, struct err *err)
{
	CLEANUP(strvec_free) struct strvec why;
	struct track *track;
	struct standing s;
	int rc;

	strvec_init(&why, STANDING_WHY_MAX);
	standing_of_row(res, row, &s);
	rc = measure(w, &s, &track, err);
	if (rc == 0 && how != SHOW_NOTHING)
		rc = standing_look_closer(w->con, w->call, &w->fleet, &s, err);
	if (rc != 0 || how == SHOW_NOTHING)
		return rc;
	standing_why(&s, &w->fleet, &why);
	w->over = standing_over(&s);
	w->has_dead = s.dead > 0;
	/* With NAME what everybody looks for comes first: a small screen cuts the fields below. */
	if (how == SHOW_FULL && w->screen.on)
		block_put(out, &s, track, &why, STANDING_WHY_MAX);
	if (how == SHOW_FULL)
		put_full(out, &s, &why);
	else if (how == SHOW_LIST)
		put_list_row(out, &s, &why);
	else if (how == SHOW_LINES)
		block_put_line(out, &s, track, &why);
	else
		block_put(out, &s, track, &why, LIST_WHY);
	return 0;
}

/* On a screen those that run come first, then those that are stopped, then the newest of those that are over; of as many as may fit. */
static int show_blocks(struct watch *w, struct out *out, const PGresult *res, struct err *err)
{
	static const char *const order[][4] = { { "running", NULL }, { "paused", NULL }, { "complete", "limited", "cancelled", NULL } };
	int n = PQntuples(res), left = (int)w->screen.height / BLOCK_LINES + 1, rc = 0;

	for (size_t pass = 0; pass < ARRAY_SIZE(order) && rc == 0; pass++)
		for (int i = n - 1; i >= 0 && rc == 0; i--) {
			if (!text_one_of(pg_str(res, i, "state"), order[pass]))
				continue;
			rc = show_row(w, out, res, i, left > 0 ? SHOW_BLOCKS : SHOW_NOTHING, err);
			left--;
		}
	if (n == 0)
		out_note(out, "no migrations yet: drover produce FILE");
	return rc;
}

static int show_all(struct watch *w, struct out *out, const PGresult *res, enum showing how, struct err *err)
{
	int rc = 0;

	if (how == SHOW_BLOCKS)
		return show_blocks(w, out, res, err);
	for (int i = 0; i < PQntuples(res) && rc == 0; i++)
		rc = show_row(w, out, res, i, how, err);
	return rc;
}

static void note_redis(const struct watch *w, struct out *out)
{
	if (!w->fleet.redis_asked)
		out_note(out, "REDIS_URL is not set, so the backlog is not known");
	else if (w->fleet.redis[0] != '\0')
		out_note(out, "the backlog is not known, since Redis does not answer from here: %s", w->fleet.redis);
}

static enum showing how_to_show(const struct watch *w, const struct out *out)
{
	if (w->lines)
		return SHOW_LINES;
	if (w->id != 0 || out->format != OUT_HUMAN)
		return SHOW_FULL;
	return w->screen.on ? SHOW_BLOCKS : SHOW_LIST;
}

/* One look. */
static int look(struct watch *w, struct out *out, bool show, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct out_column chosen[ARRAY_SIZE(columns)];
	enum showing how = show ? how_to_show(w, out) : SHOW_NOTHING;
	int rc = fleet_read(w->con, w->call, &w->fleet, err);

	choose_for_screen(chosen);
	if (rc == 0)
		rc = migrations_status(w->con->pg, w->id, &res, err);
	if (rc != 0)
		return rc;
	w->waits_for_commits = false;
	if (how == SHOW_FULL && w->id != 0)
		out_kv(out, w->screen.on ? chosen : columns, ARRAY_SIZE(columns));
	else if (how == SHOW_FULL)
		out_table(out, columns, ARRAY_SIZE(columns));
	else if (how == SHOW_LIST)
		out_table(out, list_columns, ARRAY_SIZE(list_columns));
	rc = show_all(w, out, res, how, err);
	if (rc == 0 && (how == SHOW_FULL || how == SHOW_LIST))
		rc = out_end(out, "no migrations yet: drover produce FILE", err);
	if (rc == 0 && show && out->format == OUT_HUMAN && !w->lines && !w->screen.on)
		note_redis(w, out);
	return rc;
}

/* ------------------------------------------------------------ once, or again and again */

static int look_at_server(struct watch *w, unsigned samples, struct err *err)
{
	uint64_t now_ms = clock_now_ms(clock_system());
	bool probe = w->probed_ms == 0 || now_ms - w->probed_ms >= PROBE_MS;

	if (w->fleet.busy == 0)
		return 0;
	if (probe)
		w->probed_ms = now_ms;
	return bound_look(w->con->pg, &w->fleet.server, samples, probe, &w->con->stop, err);
}

static int once(struct watch *w, struct out *out, struct err *err)
{
	int rc = fleet_read(w->con, w->call, &w->fleet, err);

	/* Without workers there is no pace to be measured: one look will do. */
	for (int i = 0; rc == 0 && w->fleet.working > 0 && i < SAMPLES_MAX && (i == 0 || w->waits_for_commits); i++) {
		rc = look(w, out, false, err);
		if (rc == 0 && w->waits_for_commits && clock_sleep_ms(SAMPLE_MS, &w->con->stop) != 0)
			return err_set(err, ST_INTERRUPTED, "interrupted");
	}
	if (rc == 0)
		rc = look_at_server(w, SERVER_LOOKS, err);
	return rc != 0 ? rc : look(w, out, true, err);
}

/* Above the migrations. @away: why PostgreSQL does not answer; NULL: it does. */
static void put_head(const struct watch *w, const struct out *out, const char *away)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(WHY_TEXT_MAX);
	CLEANUP(buf_free) struct buf clean = BUF_INIT(WHY_TEXT_MAX);
	CLEANUP(buf_free) struct buf line = BUF_INIT(WHY_TEXT_MAX);
	const struct fleet *f = &w->fleet;

	buf_printf(&text, "%u of %u workers take jobs, %u of %u lanes are at work; ", f->working, f->alive, f->busy, f->lanes);
	if (!f->redis_asked)
		buf_puts(&text, "REDIS_URL is not set");
	else
		buf_printf(&text, "Redis %s%s", f->redis[0] == '\0' ? "answers" : "does not answer from here: ", f->redis);
	if (away != NULL) {
		buf_reset(&text);
		buf_printf(&text, "PostgreSQL is away, waiting; below is what was seen last: %s", away);
	}
	text_add_printable(&clean, text.data);
	text_add_wrapped(&line, clean.data, 0, out->width);
	fprintf(out->file, "%s%s%s\n\n", out_style_on(away != NULL || f->redis[0] != '\0' ? OUT_RED : OUT_DIM, out->color), line.data,
		out_style_off(away != NULL || f->redis[0] != '\0' ? OUT_RED : OUT_DIM, out->color));
}

/* Head and body at once. @why: what kept the body from being a new one, or no error. Returns its code. */
static int redraw(const struct watch *w, struct out *out, const char *body, const struct err *why)
{
	CLEANUP(buf_free) struct buf all = BUF_INIT(FRAME_MAX);
	char *head = NULL;
	size_t n;

	out->width = w->screen.width;
	out->file = open_memstream(&head, &n);
	if (out->file != NULL) {
		put_head(w, out, why->code != 0 ? why->msg : NULL);
		fclose(out->file);
	}
	out->file = stdout;
	buf_printf(&all, "%s%s", head != NULL ? head : "", body != NULL ? body : "");
	free(head);
	screen_draw(&w->screen, all.data);
	return why->code;
}

/* A frame is put together whole, then drawn at once. *@body keeps what stands below its head for a look that fails. */
static int frame(struct watch *w, struct out *out, char **body, struct err *err)
{
	char *fresh = NULL;
	size_t n;
	int rc;

	out->width = w->screen.width;
	out->file = open_memstream(&fresh, &n);
	if (out->file == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	rc = look(w, out, true, err);
	if (rc == 0)
		out_note(out, "\nEvery %s. Ctrl-C ends this; the migrations go on.",
			 text_human_duration(cli_duration_ms(w->call, "--interval")).s);
	fclose(out->file);
	if (rc == 0) {
		free(*body);
		*body = fresh;
		fresh = NULL;
	}
	free(fresh);
	return redraw(w, out, *body, err);
}

/* Until the next look is due, or the terminal has another size. */
static int pause_between(struct watch *w, struct err *err)
{
	uint64_t left_ms = cli_duration_ms(w->call, "--interval");

	while (left_ms > 0) {
		uint64_t ms = w->screen.on && left_ms > RESIZE_MS ? RESIZE_MS : left_ms;

		if (clock_sleep_ms(ms, &w->con->stop) != 0)
			return err_set(err, ST_INTERRUPTED, "interrupted");
		left_ms -= ms;
		if (w->screen.on && screen_size(&w->screen))
			return 0;
	}
	return 0;
}

/* On a screen it is tried at each look, which says so; elsewhere it is waited for. */
static int come_back(struct watch *w, int rc, struct err *err)
{
	struct outage outage;

	if (!pg_error_is_outage(err) || w->con->stop)
		return rc;
	if (w->screen.on) {
		err_clear(err);
		return 0;
	}
	console_outage(&outage, "PostgreSQL");
	return pg_sync_reopen(w->con->pg, &outage, err);
}

static int look_again(struct watch *w, struct out *out, char **body, struct err *err)
{
	int rc = 0;

	if (pg_sync_lost(w->con->pg))
		rc = pg_sync_try_reopen(w->con->pg, err);
	if (rc == 0)
		rc = look_at_server(w, WATCH_LOOKS, err);
	if (w->screen.on)
		return rc == 0 ? frame(w, out, body, err) : redraw(w, out, *body, err);
	return rc == 0 ? look(w, out, true, err) : rc;
}

static int watch(struct watch *w, struct out *out, struct err *err)
{
	char *body = NULL;
	int rc = 0;

	w->lines = out->format == OUT_HUMAN && out->width == 0;
	if (out->format == OUT_HUMAN && out->width > 0)
		screen_enter(&w->screen);
	if (out->format == OUT_JSON)
		out->format = OUT_JSON_LINES;
	while (rc == 0) {
		rc = look_again(w, out, &body, err);
		if (rc == 0 && w->id != 0 && w->over)
			break;
		if (rc == 0 && !w->screen.on && fflush(stdout) != 0)
			rc = err_set(err, ST_IO, "cannot write the output");
		if (rc != 0)
			rc = come_back(w, rc, err);
		if (rc == 0)
			rc = pause_between(w, err);
	}
	screen_leave(&w->screen, body);
	free(body);
	return rc;
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct watch w = { .con = ctx, .call = call };
	struct migration_ref m = { .id = 0 };
	CLEANUP(out_close) struct out out = { 0 };
	int rc;

	out_open(&out, call);
	w.con->patient = cli_flag(call, "--watch");
	rc = call->nargs > 0 ? console_find(w.con, call, call->args[0], &m, err) : console_pg(w.con, call, err);
	if (rc == 0) {
		w.id = m.id;
		rc = cli_flag(call, "--watch") ? watch(&w, &out, err) : once(&w, &out, err);
	}
	tracks_free(&w.tracks);
	if (rc == 0 && w.id != 0 && w.over && w.has_dead && cli_flag(call, "--watch"))
		return CLI_EXIT_DEAD_LETTERS;
	return rc;
}

const struct cli_command status_command = {
	.name = "status",
	.args = "[NAME]",
	.max_args = 1,
	.complete = "migrations",
	.summary = "how migrations stand, how fast they go, and why not faster",
	.help = "Everything but the backlog is counted in PostgreSQL, so it is right whatever Redis has lost; without Redis it works and says so. The time left is "
		"a range, by the pace of the last half minute. What holds a migration up is named, with what to do about it.",
	.examples = examples,
	.options = options,
	.exits = exits,
	.run = run,
};
