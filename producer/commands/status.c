/* drover status: how migrations stand, once or again and again. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/progress.h"
#include "core/clock.h"
#include "core/outage.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "producer/standing.h"

#define SAMPLE_MS 1000 /* between the looks that a rate is taken from */
#define SAMPLES_MAX 4  /* while nothing was committed meanwhile, but lately: lanes may pause */
#define LATELY_MS 10000
#define WHY_TEXT_MAX (16 * 1024)
#define SERVER_LOOKS 8 /* at what the lanes do in the server, where there is one moment to tell it ... */
#define WATCH_LOOKS 2  /* ... and between two looks of --watch */
#define PROBE_MS 5000  /* between questions for CPU: each takes some of it */

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

static enum out_style state_style(const char *state)
{
	if (strcmp(state, "paused") == 0 || strcmp(state, "cancelled") == 0)
		return OUT_YELLOW;
	return strcmp(state, "running") == 0 ? OUT_BOLD : OUT_GREEN;
}

static enum out_style failed_style(const char *n)
{
	return strcmp(n, "0") == 0 ? OUT_PLAIN : OUT_RED;
}

/* One description for both: the list shows those with a short title, one migration alone shows all. */
static const struct out_column list_columns[] = {
	{ "name", "MIGRATION", .type = OUT_STR },
	{ "state", "STATE", .type = OUT_STR, .style = state_style },
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
	{ "state", NULL, .type = OUT_STR, .style = state_style },
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

/* Beside the bar, and on a screen of 24 lines: without what never changes, what the bar says, and sums. */
static void choose_for_screen(struct out_column chosen[ARRAY_SIZE(columns)])
{
	static const char *const left_out[] = { "table",         "mode",    "ledger_only", "done", "rows_expected",
						"rows_finished", "ignored", "rate",        "left", NULL };

	memcpy(chosen, columns, sizeof(columns));
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (text_one_of(columns[i].key, left_out))
			chosen[i].where = OUT_ONLY_JSON;
}

/* ------------------------------------------------------------ rates */

/* What was seen of a migration at earlier looks. */
struct track {
	int id;
	bool seen; /* at least twice */
	int64_t first_finished;
	uint64_t first_ms;
	uint64_t commit_ms; /* the last one then */
	struct progress progress;
};

struct watch {
	struct console *con;
	const struct cli_call *call;
	int id; /* 0: all */
	struct track *tracks;
	size_t ntracks;
	struct fleet fleet;
	bool screen;            /* again and again, on a terminal */
	uint64_t probed_ms;     /* when the server was last asked for CPU */
	bool over;              /* the one asked for */
	bool has_dead;          /* it has dead letters */
	bool waits_for_commits; /* another look would tell a rate that this one does not */
};

static uint64_t committed_ms(const struct standing *s, uint64_t now_ms)
{
	return s->idle_ms < 0 || (uint64_t)s->idle_ms > now_ms ? now_ms : now_ms - (uint64_t)s->idle_ms;
}

static struct track *track_of(struct watch *w, const struct standing *s, uint64_t now_ms)
{
	struct track *grown;

	for (size_t i = 0; i < w->ntracks; i++)
		if (w->tracks[i].id == s->id)
			return &w->tracks[i];
	grown = realloc(w->tracks, (w->ntracks + 1) * sizeof(*grown));
	if (grown == NULL)
		return NULL;
	w->tracks = grown;
	grown = &grown[w->ntracks++];
	*grown = (struct track){ .id = s->id, .first_finished = s->finished, .first_ms = now_ms, .commit_ms = committed_ms(s, now_ms) };
	progress_init(&grown->progress, s->name, now_ms);
	return grown;
}

/*
 * The pace since the first look, from one commit to another: lanes that pause, or have large batches, commit now and then, and looks fall in
 * between.
 */
static double pace(const struct standing *s, const struct track *t, uint64_t now_ms)
{
	uint64_t commit_ms = committed_ms(s, now_ms);
	double ms = commit_ms > t->commit_ms ? (double)(commit_ms - t->commit_ms) : (double)(now_ms - t->first_ms);

	return ms > 0 ? (double)(s->finished - t->first_finished) * 1000 / ms : 0;
}

/* The range: by that, and by the windows of the last half minute once there are some. */
static void estimate(struct standing *s, struct track *t, uint64_t now_ms)
{
	double rate = pace(s, t, now_ms);
	struct progress_eta eta = progress_eta(&t->progress);
	double left = (double)standing_left(s);

	if (t->progress.nwindows > 0)
		rate = progress_rate(&t->progress);
	s->rate_per_s = rate > 0 ? rate : 0;
	if (eta.known) {
		s->eta_known = true;
		s->eta_open = eta.open;
		s->eta_low_ms = eta.low_ms;
		s->eta_high_ms = eta.high_ms;
	} else if (rate > 0 && left > 0) {
		s->eta_known = true;
		s->eta_low_ms = (uint64_t)(left * 700 / rate);
		s->eta_high_ms = (uint64_t)(left * 1500 / rate);
	}
}

static int measure(struct watch *w, struct standing *s, struct err *err)
{
	uint64_t now_ms = clock_now_ms(clock_system());
	const struct progress_counts counts = {
		.done = (uint64_t)s->finished, .total = (uint64_t)s->expected, .share = s->share, .failed = (uint64_t)s->dead
	};
	struct track *t;
	bool first, moved;

	/* What stands still from the start has no pace; what stopped while it was watched keeps its bar. */
	if (!standing_is(s, "running") && w->ntracks == 0)
		return 0;
	t = track_of(w, s, now_ms);
	if (t == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	progress_update(&t->progress, now_ms, &counts);
	if (t->seen && standing_is(s, "running"))
		estimate(s, t, now_ms);
	first = !t->seen;
	t->seen = true;
	moved = s->finished != t->first_finished;
	if (standing_is(s, "running") && w->fleet.working > 0 && (s->incomplete > 0 || !s->scan_done))
		w->waits_for_commits = w->waits_for_commits || first || (!moved && s->idle_ms >= 0 && s->idle_ms < LATELY_MS);
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

/* @show false: only to measure. */
static int show_rows(struct watch *w, struct out *out, const PGresult *res, bool show, struct err *err)
{
	bool full = w->id != 0 || out->format != OUT_HUMAN;
	int rc = 0;

	for (int i = 0; i < PQntuples(res) && rc == 0; i++) {
		CLEANUP(strvec_free) struct strvec why;
		struct standing s;

		strvec_init(&why, STANDING_WHY_MAX);
		standing_of_row(res, i, &s);
		rc = measure(w, &s, err);
		if (rc == 0 && show)
			rc = standing_look_closer(w->con, w->call, &w->fleet, &s, err);
		if (rc != 0 || !show)
			continue;
		standing_why(&s, &w->fleet, &why);
		w->over = standing_over(&s);
		w->has_dead = s.dead > 0;
		if (full)
			put_full(out, &s, &why);
		else
			put_list_row(out, &s, &why);
	}
	return rc;
}

/* One look. What is shown on a terminal is put together before the screen is touched, so that it does not flicker. */
static int look(struct watch *w, struct out *out, bool show, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct out_column chosen[ARRAY_SIZE(columns)];
	int rc = fleet_read(w->con, w->call, &w->fleet, err);

	choose_for_screen(chosen);
	if (rc == 0)
		rc = migrations_status(w->con->pg, w->id, &res, err);
	if (rc != 0)
		return rc;
	w->waits_for_commits = false;
	if (show && w->id != 0)
		out_kv(out, w->screen ? chosen : columns, ARRAY_SIZE(columns));
	else if (show && out->format != OUT_HUMAN)
		out_table(out, columns, ARRAY_SIZE(columns));
	else if (show)
		out_table(out, list_columns, ARRAY_SIZE(list_columns));
	rc = show_rows(w, out, res, show, err);
	if (rc == 0 && show)
		rc = out_end(out, "no migrations yet: drover produce FILE", err);
	if (rc == 0 && show && out->format == OUT_HUMAN) {
		if (!w->fleet.redis_asked)
			out_note(out, "REDIS_URL is not set, so the backlog is not known");
		else if (w->fleet.redis[0] != '\0')
			out_note(out, "the backlog is not known: %s", w->fleet.redis);
	}
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

/* The bar of the one migration that is watched. */
static void draw_bar(const struct watch *w, const struct out *out)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(4096);

	if (w->id == 0 || w->ntracks == 0)
		return;
	progress_render(&w->tracks[0].progress, out->width, out->color, &line);
	fprintf(out->file, "\n%s\n", line.data);
}

static int watch(struct watch *w, struct out *out, struct err *err)
{
	int rc = 0;

	w->screen = out->format == OUT_HUMAN && out->width > 0;
	if (out->format == OUT_JSON)
		out->format = OUT_JSON_LINES;
	while (rc == 0) {
		if (w->screen) {
			out->width = cli_terminal_width(stdout); /* windows are resized */
			fputs("\033[H\033[2J", stdout);
		}
		rc = look_at_server(w, WATCH_LOOKS, err);
		if (rc == 0)
			rc = look(w, out, true, err);
		if (rc == 0 && w->screen)
			draw_bar(w, out);
		if (rc == 0 && w->screen)
			out_note(out, "\nEvery %s. Ctrl-C ends this; the migrations go on.",
				 text_human_duration(cli_duration_ms(w->call, "--interval")).s);
		if (w->id != 0 && w->over)
			return rc;
		if (fflush(stdout) != 0)
			rc = err_set(err, ST_IO, "cannot write the output");
		if (rc == 0 && clock_sleep_ms(cli_duration_ms(w->call, "--interval"), &w->con->stop) != 0)
			rc = err_set(err, ST_INTERRUPTED, "interrupted");
		if (rc == ST_DISCONNECTED && !w->con->stop) {
			struct outage outage;

			console_outage(&outage, "PostgreSQL");
			rc = pg_sync_reopen(w->con->pg, &outage, err);
		}
	}
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
	free(w.tracks);
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
