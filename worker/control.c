/*
 * control.c - one connection to PostgreSQL that asks, twice a second, what there is to do: migrations, their state and settings, a
 * request to restart; tells that this worker lives; and loads plans. One statement or two at a time, never a session state.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "core/log.h"
#include "core/text.h"
#include "ledger/schema.h"
#include "pg/pg_array.h"
#include "sql.h"
#include "worker/worker_private.h"

#define CONTROL_DEADLINE_MS 5000 /* small questions: whoever does not answer them is away */
#define BEGIN_WRITING "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
#define LANE_HEARD_MS 1000  /* by then a lane's question is there, wherever it had to wait */
#define CANCEL_AFTER_MS 500 /* what runs of a cancelled migration is interrupted */

/* ------------------------------------------------------------ results */

static const char *text(const PGresult *res, int row, const char *column)
{
	int c = PQfnumber(res, column);

	return c >= 0 && row < PQntuples(res) && !PQgetisnull(res, row, c) ? PQgetvalue(res, row, c) : "";
}

static int64_t number(const PGresult *res, int row, const char *column)
{
	return strtoll(text(res, row, column), NULL, 10);
}

static bool is_true(const PGresult *res, int row, const char *column)
{
	return text(res, row, column)[0] == 't';
}

/* ------------------------------------------------------------ hello */

/* Once, until the schema is usable. */
static void say_unusable(struct control *c, const char *cause, const char *hint)
{
	if (!c->schema_missing_said)
		log_warn("schema.unusable", "database=%s cause='%s' hint='%s; waiting'", pg_link_masked_url(c->link), cause, hint);
	c->schema_missing_said = true;
}

/* Who upgrades the schema upgrades the workers as well, some before it and some after. */
static bool knows_schema(struct worker *w, int version)
{
	int ours = schema_program_version();
	char cause[100];

	if (version != ours && !w->outdated) {
		snprintf(cause, sizeof(cause), "the schema drover is at version %d, this program is made for version %d", version, ours);
		w->control.schema_missing_said = false; /* something else was said */
		say_unusable(&w->control, cause, version > ours ? "use the newer drover-worker" : "run: drover init");
	} else if (version == ours && w->outdated) {
		log_info("schema.usable", "version=%d", version);
	}
	w->outdated = version != ours;
	return !w->outdated;
}

/* The schema was changed under its feet: what it holds is for others, what runs is finished. */
static void step_back(struct worker *w)
{
	struct mig *m;

	DL_FOREACH(w->migs, m)
		settle_give_back(w, m);
}

static void hello_failed(struct worker *w, const struct pg_op *op)
{
	bool missing = strcmp(op->failure.sqlstate, "3F000") == 0 || strcmp(op->failure.sqlstate, "42P01") == 0;
	bool denied = strcmp(op->failure.sqlstate, "42501") == 0;

	if (op->status == ST_SQL)
		say_unusable(&w->control, op->failure.message,
			     missing ? "run: drover init" :
			     denied  ? "grant this role its rights: drover init --worker-role NAME" :
				       "see the server's log");
}

/* The server is heard again: lanes' connections that are as old as the one that was lost are made anew. Before, new ones may be no better. */
static void judge_lanes(struct worker *w)
{
	struct control *c = &w->control;

	c->heard_ms = worker_now();
	for (unsigned i = 0; i < w->nlanes && c->unheard_ms != 0; i++)
		lane_renew(&w->lanes[i], c->unheard_ms);
	c->unheard_ms = 0;
}

static void hello_answered(struct worker *w, const struct pg_op *op)
{
	const PGresult *res = op->kept[0];
	struct err err = ERR_INIT;

	if (op->status != 0 || res == NULL || PQntuples(res) != 1) {
		hello_failed(w, op);
		return;
	}
	if (!is_true(res, 0, "same")) {
		err_set(&err, ST_REFUSED,
			"this database is a copy of the one that Drover was installed in: its jobs are the original's; run: drover init --rekey");
		worker_fail(w, ST_REFUSED, &err);
		return;
	}
	if (w->installation[0] != '\0' && strcmp(w->installation, text(res, 0, "installation")) != 0) {
		err_set(&err, ST_REFUSED,
			"this is not the database any more that this worker began with: its jobs in Redis have other names");
		worker_fail(w, ST_REFUSED, &err);
		return;
	}
	if (!knows_schema(w, (int)number(res, 0, "schema_version")))
		return;
	w->control.greeted = true;
	w->control.schema_missing_said = false;
	judge_lanes(w);
	snprintf(w->installation, sizeof(w->installation), "%s", text(res, 0, "installation"));
	lease_alive(w);
	bell_listen(w);
	control_urge(w);
}

/* ------------------------------------------------------------ plans */

static void plan_answered(struct worker *w, const struct pg_op *op)
{
	struct mig *m = w->control.loading;
	const PGresult *res = op->kept[0];
	struct err err = ERR_INIT;
	int32_t revision;

	w->control.loading = NULL;
	if (op->status != 0 || res == NULL || PQntuples(res) != 1)
		return;
	revision = (int32_t)number(res, 0, "revision");
	if (mig_load(m, revision, is_true(res, 0, "ledger_only"), text(res, 0, "plan"), text(res, 0, "settings"), &err) != 0) {
		log_error("migration.unreadable", "migration=%s revision=%" PRId32 " cause=%s", m->name, revision, err.msg);
		m->broken_revision = revision;
		snprintf(m->why_broken, sizeof(m->why_broken), "%.199s", err.msg);
	} else {
		log_info("migration.loaded", "migration=%s id=%" PRId32 " revision=%" PRId32, m->name, m->id, revision);
		fetch_make_group(w, m);
	}
	control_urge(w);
}

static struct mig *next_to_load(struct worker *w)
{
	struct mig *m;

	if (w->outdated)
		return NULL;
	DL_FOREACH(w->migs, m)
		if (m->stale && m->broken_revision != m->revision_wanted && (m->state == MIG_RUNNING || m->state == MIG_OVER))
			return m;
	return NULL;
}

static bool ask_plan(struct worker *w)
{
	struct control *c = &w->control;
	struct mig *m = next_to_load(w);
	const char *const params[] = { m != NULL ? m->id_text : NULL };
	const struct pg_step steps[] = { { SQL_WORKER_PLAN, 1, params, 1, false } };

	if (m == NULL)
		return false;
	c->step = CONTROL_PLAN;
	c->loading = m;
	return pg_link_run(c->link, &c->op, steps, 1, CONTROL_DEADLINE_MS) == 0;
}

/* ------------------------------------------------------------ the poll */

static enum mig_state state_of(const char *s)
{
	if (strcmp(s, "running") == 0)
		return MIG_RUNNING;
	if (strcmp(s, "paused") == 0)
		return MIG_PAUSED;
	return strcmp(s, "cancelled") == 0 ? MIG_CANCELLED : MIG_OVER;
}

static const char *state_name(enum mig_state s)
{
	static const char *const names[] = { "running", "paused", "cancelled", "over" };

	return names[s];
}

static void read_migration(struct worker *w, const PGresult *res, int row)
{
	int32_t id = (int32_t)number(res, row, "id");
	enum mig_state state = state_of(text(res, row, "state"));
	struct mig *m = worker_find(w, id);
	struct err err = ERR_INIT;
	uint64_t interval_ms, rate;

	if (m == NULL) {
		m = mig_new(id, text(res, row, "name"), w->installation);
		if (m == NULL)
			return;
		m->state = state;
		m->counts = counts_enter(&w->counts, m->name, worker_now());
		DL_APPEND(w->migs, m);
	}
	m->seen = true;
	m->watchable = is_true(res, row, "watchable");
	if (!m->watched || !m->watchable || state != MIG_RUNNING) {
		m->watched = false;
		m->rung = text(res, row, "rung")[0] != '\0' ? (unsigned)number(res, row, "rung") : THROTTLE_GUESS;
	}
	m->row_mode = strcmp(text(res, row, "mode"), "row") == 0;
	if (m->produced && !is_true(res, row, "produced"))
		tend_soon(w);
	m->produced = is_true(res, row, "produced");
	m->alive = (uint64_t)number(res, row, "alive");
	m->rank = (uint64_t)number(res, row, "rank");
	m->default_batch_size = (uint64_t)number(res, row, "batch_size");
	m->revision_wanted = (int32_t)number(res, row, "revision");
	if (m->revision_wanted != m->revision)
		m->stale = true;
	interval_ms = m->settings.processing_interval_ms;
	rate = m->settings.max_rows_per_s;
	if (mig_configure(m, &w->options->defaults, text(res, row, "settings"), &err) != 0) {
		snprintf(m->why_broken, sizeof(m->why_broken), "%.199s", err.msg);
		log_warn("settings.refused", "migration=%s cause=%s", m->name, err.msg);
	}
	/* Lanes that rest do so for as long as was right before. */
	if (interval_ms != m->settings.processing_interval_ms || rate != m->settings.max_rows_per_s)
		for (unsigned i = 0; i < w->nlanes; i++)
			lane_wake(&w->lanes[i]);
	if (m->state != state) {
		log_info("migration.state", "migration=%s from=%s to=%s", m->name, state_name(m->state), state_name(state));
		m->state = state;
		m->state_ms = worker_now();
		if (state == MIG_RUNNING)
			tend_alarm(w); /* what was dropped meanwhile is pushed again at once */
	}
}

/* What is not running any more gives its jobs back, and is forgotten when the last of them is gone. */
static void tidy(struct worker *w)
{
	struct mig *m, *next;

	DL_FOREACH_SAFE(w->migs, m, next) {
		if (!m->seen && m->state != MIG_CANCELLED) {
			m->state = MIG_CANCELLED; /* deleted */
			m->state_ms = worker_now();
		}
		if (!worker_may_run(w, m) && !m->stale && mig_has_work(m))
			settle_give_back(w, m);
		if (m->state == MIG_CANCELLED && worker_now() - m->state_ms >= CANCEL_AFTER_MS)
			worker_stop_mig(w, m);
		if (((m->state != MIG_RUNNING && m->state != MIG_OVER) || !m->seen) && m->nheld == 0 && m->busy == 0)
			worker_remove(w, m);
	}
}

static void read_migrations(struct worker *w, const PGresult *res)
{
	struct mig *m;

	DL_FOREACH(w->migs, m)
		m->seen = false;
	for (int row = 0; row < PQntuples(res); row++)
		if (text(res, row, "id")[0] != '\0')
			read_migration(w, res, row);
	tidy(w);
}

/* Somebody mistyped it, or has yet to register it: it is waited for. */
static void say_unknown(const char *names)
{
	if (names[0] != '\0')
		log_warn("migration.unknown", "migrations='%s' hint='not registered; waiting'", names);
}

static void poll_answered(struct worker *w, const struct pg_op *op)
{
	struct control *c = &w->control;
	const PGresult *res = op->kept[0];

	if (op->status != 0 || res == NULL || PQntuples(res) < 1) {
		if (op->status == ST_SQL && !c->schema_missing_said)
			log_warn("poll.failed", "cause=%s", op->failure.message);
		c->schema_missing_said = op->status == ST_SQL;
		return;
	}
	c->schema_missing_said = false;
	if (!c->polled)
		say_unknown(text(res, 0, "unknown"));
	c->polled = true;
	c->answered_ms = c->asked_ms;
	c->recovered = number(res, 0, "recovered");
	c->first = is_true(res, 0, "first");
	c->booted = number(res, 0, "booted");
	c->fleet = (uint64_t)number(res, 0, "fleet");
	serve_polled(w);
	if (knows_schema(w, (int)number(res, 0, "schema_version")))
		read_migrations(w, res);
	else
		step_back(w);
	if (!worker_shares(w))
		c->sharing_ms = 0;
	else if (c->sharing_ms == 0)
		c->sharing_ms = worker_now();
	if (c->started && is_true(res, 0, "restart_asked") && !w->draining)
		drain_begin(w, "restart");
	if (next_to_load(w) != NULL)
		control_urge(w);
	worker_pump(w);
}

/* Not before all others have had the time to learn of the limit, and to tell of themselves more often. */
static uint64_t fresh_ms(const struct worker *w)
{
	uint64_t since = w->control.sharing_ms;

	return since != 0 && worker_now() - since >= WORKER_SHARING_BEAT_MS ? WORKER_SHARING_FRESH_MS : WORKER_FRESH_MS;
}

static bool ask_poll(struct worker *w)
{
	struct control *c = &w->control;
	CLEANUP(buf_free) struct buf names = BUF_INIT(64 * 1024);
	CLEANUP(buf_free) struct buf able = BUF_INIT(64 * 1024);
	const struct strvec *only = w->options->migrations;
	const char *poll_params[4];
	char fresh[24];
	struct beat beat;
	/* A pooler's server may carry another client's settings, read-only transactions among them. */
	struct pg_step steps[4] = { { BEGIN_WRITING, 0, NULL, 0, false } };
	unsigned n = 1;
	struct mig *m;

	buf_reset(&c->ids);
	DL_FOREACH(w->migs, m)
		buf_printf(&c->ids, "%c%s", c->ids.len == 0 ? '{' : ',', m->id_text);
	pg_array_end(&c->ids, c->ids.len == 0);
	for (size_t i = 0; only != NULL && i < only->n; i++)
		pg_array_add(&names, i == 0, only->v[i]);
	if (names.len > 0)
		pg_array_end(&names, false);
	poll_params[0] = w->name;
	poll_params[1] = c->ids.data;
	poll_params[2] = names.len > 0 ? names.data : NULL;
	snprintf(fresh, sizeof(fresh), "%" PRIu64, fresh_ms(w));
	poll_params[3] = fresh;
	if (w->named && beat_is_due(w)) {
		beat_fill(w, &beat, worker_names_able(w, &able) ? able.data : poll_params[2]);
		steps[n++] = (struct pg_step){ SQL_WORKER_BEAT, ARRAY_SIZE(beat.params), beat.params, 0, false };
	}
	steps[n++] = (struct pg_step){ SQL_WORKER_POLL, ARRAY_SIZE(poll_params), poll_params, 1, false };
	c->beating = n == 3;
	steps[n++] = (struct pg_step){ "COMMIT", 0, NULL, 0, false };
	c->step = CONTROL_POLL;
	c->asked_ms = worker_now();
	return pg_link_run(c->link, &c->op, steps, n, CONTROL_DEADLINE_MS) == 0;
}

/* ------------------------------------------------------------ lanes whose answers were lost */

static bool is_listed(const PGresult *res, const char *name)
{
	for (int i = 0; i < PQntuples(res); i++)
		if (strcmp(PQgetvalue(res, i, 0), name) == 0)
			return true;
	return false;
}

/* As long as a lane waits that did so before this connection was heard. One that the server is at work for is asked about again. */
static bool ask_lanes(struct worker *w)
{
	struct control *c = &w->control;
	CLEANUP(buf_free) struct buf names = BUF_INIT(64 * 1024);
	const char *params[1];
	const struct pg_step steps[] = { { SQL_WORKER_LANES, 1, params, 1, false } };
	uint64_t since = worker_now() - LANE_HEARD_MS;
	bool waits = false;

	c->suspect_ms = since < c->heard_ms ? since : c->heard_ms;
	for (unsigned i = 0; i < w->nlanes && c->lost; i++) {
		waits = waits || lane_waits_since(&w->lanes[i], c->heard_ms);
		if (lane_waits_since(&w->lanes[i], c->suspect_ms))
			pg_array_add(&names, names.len == 0, w->lanes[i].application);
	}
	c->lost = waits;
	if (names.len == 0)
		return false;
	pg_array_end(&names, false);
	params[0] = names.data;
	c->step = CONTROL_LANES;
	return pg_link_run(c->link, &c->op, steps, 1, CONTROL_DEADLINE_MS) == 0;
}

static void lanes_answered(struct worker *w, const struct pg_op *op)
{
	const PGresult *res = op->kept[0];

	for (unsigned i = 0; i < w->nlanes && op->status == 0 && res != NULL; i++)
		if (lane_waits_since(&w->lanes[i], w->control.suspect_ms) && !is_listed(res, w->lanes[i].application))
			lane_give_up(&w->lanes[i]);
}

/* ------------------------------------------------------------ what next */

static void gone_answered(struct worker *w)
{
	w->ended = true;
	uv_stop(&w->loop);
}

/* Until the next poll, or the next look of the worker that watches; what one saw is told at once. */
static uint64_t due_ms(const struct worker *w)
{
	const struct control *c = &w->control;
	uint64_t passed = worker_now() - c->asked_ms, poll = passed < WORKER_POLL_MS ? WORKER_POLL_MS - passed : 0, look = watch_due_ms(w);

	return c->urgent || (c->step == CONTROL_WATCH && watch_has_news(w)) ? 0 : poll < look ? poll : look;
}

/* Between two polls. */
static bool ask_watch(struct worker *w)
{
	struct control *c = &w->control;
	enum control_step step = c->step;

	/* In turns, where polls take that long. */
	if (c->urgent || (worker_now() - c->asked_ms >= WORKER_POLL_MS && step != CONTROL_POLL))
		return false;
	c->step = CONTROL_TELL;
	if (watch_tell(w))
		return true;
	c->step = CONTROL_WATCH;
	if (watch_due_ms(w) == 0 && watch_ask(w))
		return true;
	c->step = step;
	return false;
}

static void ask(struct worker *w)
{
	static const struct pg_step hello[] = { { SQL_WORKER_HELLO, 0, NULL, 1, false } };
	struct control *c = &w->control;

	if (!pg_link_up(c->link) || pg_link_busy(c->link) || w->gone_asked)
		return;
	if (c->greeted && ask_watch(w))
		return;
	c->urgent = false;
	if (!c->greeted) {
		c->step = CONTROL_HELLO;
		if (pg_link_run(c->link, &c->op, hello, 1, CONTROL_DEADLINE_MS) != 0)
			return;
	} else if (!ask_plan(w)) {
		/* In turns: a poll comes between two such questions. */
		if (c->step == CONTROL_LANES || !ask_lanes(w))
			ask_poll(w);
	}
}

static void on_op(struct pg_op *op)
{
	struct worker *w = container_of(op, struct worker, control.op);
	struct control *c = &w->control;

	if (op->status == ST_CLOSING)
		return;
	switch (c->step) {
	case CONTROL_HELLO:
		hello_answered(w, op);
		break;
	case CONTROL_PLAN:
		plan_answered(w, op);
		break;
	case CONTROL_POLL:
		if (op->status == 0 && c->beating)
			beat_heard(w);
		poll_answered(w, op);
		break;
	case CONTROL_LANES:
		lanes_answered(w, op);
		break;
	case CONTROL_WATCH:
		watch_answered(w, op);
		break;
	case CONTROL_TELL:
		watch_told(w, op);
		break;
	case CONTROL_GONE:
		gone_answered(w);
		return;
	}
	if (w->gone_asked)
		control_say_gone(w);
	else
		loop_timer_start(c->timer, due_ms(w));
}

static void on_timer(void *arg)
{
	struct worker *w = arg;

	loop_timer_start(w->control.timer, WORKER_POLL_MS);
	ask(w);
}

void control_urge(struct worker *w)
{
	w->control.urgent = true;
	if (!pg_link_busy(w->control.link))
		loop_timer_start(w->control.timer, 0);
}

void control_say_gone(struct worker *w)
{
	struct control *c = &w->control;
	char pid[16];
	const char *const params[] = { w->name, pid };
	const struct pg_step steps[] = { { BEGIN_WRITING, 0, NULL, 0, false },
					 { SQL_WORKER_GONE, 2, params, 0, false },
					 { "COMMIT", 0, NULL, 0, false } };

	if (!w->gone_asked)
		lease_let_go(w);
	w->gone_asked = true;
	if (pg_link_busy(c->link))
		return; /* its answer calls again */
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	c->step = CONTROL_GONE;
	if (!c->started || pg_link_run(c->link, &c->op, steps, ARRAY_SIZE(steps), 1000) != 0)
		gone_answered(w);
}

/* ------------------------------------------------------------ life */

static void on_state(void *arg, struct pg_link *link, bool up, const struct err *why)
{
	struct worker *w = arg;

	if (!up && !w->control.ever_up && (why->code == ST_SQL || why->code == ST_INPUT)) {
		worker_fail(w, why->code, why);
		return;
	}
	w->control.lost = w->control.lost || !up;
	if (!up && pg_link_busy(link) && w->control.op.timed_out)
		w->control.unheard_ms = w->control.op.sent_ms;
	w->control.ever_up = w->control.ever_up || up;
	w->control.greeted = false; /* a connection may lead to another database than the one before */
	report_server(w, &w->postgres, up, why);
	if (up)
		loop_timer_start(w->control.timer, 0);
}

int control_init(struct worker *w, struct err *err)
{
	struct control *c = &w->control;

	c->op.cb = on_op;
	buf_init(&c->ids, 64 * 1024);
	buf_init(&c->doing, 64 * 1024);
	buf_init(&c->cannot, 64 * 1024);
	buf_init(&w->watch.unseen, 1000);
	c->timer = loop_timer_new(&w->loop, on_timer, w);
	if (c->timer == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	return pg_link_new(&c->link, &w->loop, w->options->database_url, "drover-worker", on_state, w, err);
}

void control_close(struct worker *w)
{
	struct control *c = &w->control;

	pg_link_free(c->link);
	loop_timer_free(c->timer);
	buf_free(&c->ids);
	buf_free(&c->doing);
	buf_free(&c->cannot);
	buf_free(&w->watch.unseen);
}
