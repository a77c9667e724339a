/* drover doctor: why a migration does not go on, and what to do. */
#include <string.h>

#include "cli/output.h"
#include "core/clock.h"
#include "core/text.h"
#include "pg/pg_error.h"
#include "pg/pg_sync.h"
#include "producer/console.h"
#include "producer/doctor.h"

#define LOOK_MS 60000 /* for all migrations together */
#define SAMPLES 8     /* looks at what the lanes do in the server */
#define INDENT 10     /* columns of a severity, and of what stands below it */
#define LINE_MAX_BYTES (32 * 1024)

static const struct cli_example examples[] = {
	{ "drover doctor", "the servers, the fleet, and every migration that is not over" },
	{ "drover doctor 0001_pages", "one migration, with what sets its pace" },
	{ "drover doctor --json | jq '.[] | select(.severity == \"error\")'", "for a program" },
	{ 0 },
};

static const struct cli_text exits[] = {
	{ "3", "something needs a hand: there is a finding of severity error" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "migration", NULL, .type = OUT_STR }, { "severity", NULL, .type = OUT_STR }, { "check", NULL, .type = OUT_STR },
	{ "finding", NULL, .type = OUT_STR },   { "advice", NULL, .type = OUT_STR },
};

/* ------------------------------------------------------------ looking */

/* Over for good, and nothing is left of it that waits for anybody. */
static bool is_of_interest(const struct standing *s)
{
	return !standing_over(s) || s->dead > 0 || s->waiting > 0;
}

static int look_at_one(struct doctor *d, const PGresult *res, int row, struct err *err)
{
	struct standing s;
	int rc;

	standing_of_row(res, row, &s);
	if (!is_of_interest(&s) && PQntuples(res) > 1)
		return 0;
	rc = standing_look_closer(d->con, d->call, &d->fleet, &s, err);
	return rc == 0 ? doctor_look_at(d, &s, err) : rc;
}

static int look_at_all(struct doctor *d, const PGresult *res, struct err *err)
{
	uint64_t began_ms = clock_now_ms(clock_system());
	int n = PQntuples(res), rc = 0;

	if (d->fleet.busy > 0)
		rc = bound_look(d->con->pg, &d->fleet.server, SAMPLES, true, &d->con->stop, err);
	for (int i = 0; i < n && rc == 0; i++) {
		if (clock_now_ms(clock_system()) - began_ms > LOOK_MS) {
			d->check = "time";
			doctor_say(d, DOCTOR_WARNING, "PostgreSQL is so slow that %d of %d migrations were not looked at", n - i, n);
			doctor_advise(d, "ask for one: drover doctor NAME");
			return 0;
		}
		rc = look_at_one(d, res, i, err);
	}
	return rc;
}

static int examine(struct doctor *d, const char *name, PGresult **ret, struct err *err)
{
	struct migration_ref m = { .id = 0 };
	struct err why = ERR_INIT;
	bool usable = false;
	int rc = doctor_look_at_servers(d, &usable, err);

	if (rc != 0 || !usable)
		return rc;
	rc = name != NULL ? migrations_find(d->con->pg, name, &m, &why) : 0;
	if (rc == 0)
		rc = migrations_status(d->con->pg, m.id, ret, &why);
	if (rc == 0)
		rc = look_at_all(d, *ret, &why);
	if (rc == 0)
		return 0;
	if (!pg_error_is_outage(&why))
		return err_set(err, rc, "%s", why.msg);
	doctor_say_away(d, &why);
	return 0;
}

/* ------------------------------------------------------------ showing */

static enum out_style style_of(enum doctor_severity s)
{
	static const enum out_style styles[] = { OUT_RED, OUT_YELLOW, OUT_DIM };

	return styles[s];
}

/* A sentence behind its label, wrapped; both may hold what servers said. */
static void put_sentence(const struct out *out, const char *label, enum out_style style, const char *sentence)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(LINE_MAX_BYTES);
	CLEANUP(buf_free) struct buf wrapped = BUF_INIT(LINE_MAX_BYTES);

	text_add_printable(&text, sentence);
	text_add_wrapped(&wrapped, text.data, INDENT, out->width > 2 * INDENT ? out->width : 1000000);
	fprintf(out->file, "  %s%-8s%s%s\n", out_style_on(style, out->color), label, out_style_off(style, out->color),
		wrapped.len > INDENT ? wrapped.data + INDENT : "");
}

static void put_findings(const struct doctor *d, const struct out *out, const char *migration, bool quiet)
{
	for (size_t i = 0; i < d->nfound; i++) {
		const struct finding *f = &d->found[i];

		if (strcmp(f->migration, migration) != 0 || (quiet && f->severity != DOCTOR_ERROR))
			continue;
		put_sentence(out, doctor_severity_name(f->severity), style_of(f->severity), f->text);
		if (f->advice != NULL)
			put_sentence(out, "  do:", OUT_DIM, f->advice);
	}
}

static bool has_any(const struct doctor *d, const char *migration)
{
	for (size_t i = 0; i < d->nfound; i++)
		if (strcmp(d->found[i].migration, migration) == 0)
			return true;
	return false;
}

static void show(const struct doctor *d, struct out *out, const PGresult *res, bool quiet)
{
	if (has_any(d, "")) {
		out_note(out, "%sservers and fleet%s", out_style_on(OUT_BOLD, out->color), out_style_off(OUT_BOLD, out->color));
		put_findings(d, out, "", quiet);
	}
	for (int i = 0; res != NULL && i < PQntuples(res); i++) {
		CLEANUP(buf_free) struct buf name = BUF_INIT(1000);
		struct standing s;

		standing_of_row(res, i, &s);
		if (!has_any(d, s.name) && (quiet || PQntuples(res) > 1))
			continue;
		text_add_printable(&name, s.name);
		out_note(out, "%s%s%s: %s%s%s", out_style_on(OUT_BOLD, out->color), name.data, out_style_off(OUT_BOLD, out->color), s.state,
			 s.share >= 0 ? ", done: " : "", s.share >= 0 ? text_human_percent(s.share).s : "");
		put_findings(d, out, s.name, quiet);
	}
	if (!quiet && !doctor_has(d, DOCTOR_ERROR))
		out_note(out, "nothing needs a hand");
}

static int show_json(const struct doctor *d, struct out *out, struct err *err)
{
	out_table(out, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < d->nfound; i++) {
		const struct finding *f = &d->found[i];

		out_text(out, f->migration[0] != '\0' ? f->migration : NULL);
		out_text(out, doctor_severity_name(f->severity));
		out_text(out, f->check);
		out_text(out, f->text);
		out_text(out, f->advice);
	}
	return out_end(out, NULL, err);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	CLEANUP(doctor_close) struct doctor d = { .con = ctx, .call = call };
	CLEANUP(out_close) struct out out = { 0 };
	int rc = examine(&d, call->nargs > 0 ? call->args[0] : NULL, &res, err);

	if (rc != 0)
		return rc;
	doctor_sort(&d);
	out_open(&out, call);
	if (out.format == OUT_HUMAN)
		show(&d, &out, res, cli_flag(call, "--quiet"));
	else
		rc = show_json(&d, &out, err);
	return rc != 0 ? rc : doctor_has(&d, DOCTOR_ERROR) ? CLI_EXIT_NOT_CLEAN : 0;
}

const struct cli_command doctor_command = {
	.name = "doctor",
	.args = "[NAME]",
	.max_args = 1,
	.complete = "migrations",
	.summary = "why a migration does not go on, and what to do about it",
	.help = "Looks at PostgreSQL, Redis, the fleet and the migration (or all that are not over), and says what it finds, the weightiest marked `error`: it "
		"needs a hand. A `warning` should be seen to, a `note` explains: what sets the pace, what is waited for. Below each stands what to do, "
		"with the command.\n\n"
		"It changes nothing, waits for nothing longer than some seconds, and needs the rights of a reader. What other roles run is shown to members of "
		"pg_monitor alone; it says so where that matters.",
	.examples = examples,
	.exits = exits,
	.run = run,
};
