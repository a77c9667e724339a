/*
 * watch.c - one worker of the fleet watches what the work does to others, and says in PostgreSQL how far all give way. On control's connection.
 *
 * Several times a second it asks one cheap query of the server's statistics, every few seconds another one about tables and WAL. It writes only
 * what is new, besides its lease; the others read it with their polls.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "core/log.h"
#include "pg/pg_array.h"
#include "sql.h"
#include "worker/worker_private.h"

#define WATCH_DEADLINE_MS 2000
#define TAKE_MS 1000
#define TABLES_MS 2000
#define FRESH_MS 1000 /* an own transaction older than this says nothing of now */
#define BLIND_MS 2500 /* until the next try, where the server refuses to answer */
#define SOON_MS 50    /* until the next look, after one that could not tell who is at work */
#define SESSIONS_PER_TOUCH 2

enum kept { KEPT_TAKE, KEPT_SERVER, KEPT_TABLES };

/* ------------------------------------------------------------ results */

static const char *text(const PGresult *res, int row, const char *column)
{
	int c = PQfnumber(res, column);

	return c >= 0 && row < PQntuples(res) && !PQgetisnull(res, row, c) ? PQgetvalue(res, row, c) : NULL;
}

static double number(const PGresult *res, int row, const char *column)
{
	const char *s = text(res, row, column);

	return s != NULL ? strtod(s, NULL) : 0;
}

static bool is_true(const PGresult *res, int row, const char *column)
{
	const char *s = text(res, row, column);

	return s != NULL && s[0] == 't';
}

static bool may_watch(const struct mig *m)
{
	return m->state == MIG_RUNNING && m->watchable && m->seen;
}

/* Until the next look at what there is to watch; UINT64_MAX: nothing. */
static uint64_t every_ms(const struct worker *w, uint64_t now)
{
	const struct mig *m;
	uint64_t every = UINT64_MAX;

	DL_FOREACH(w->migs, m)
		if (may_watch(m) && every != SOON_MS)
			every = m->watched && !m->throttle.guess ? WORKER_WATCH_MS : SOON_MS;
	return every != UINT64_MAX && !w->watch.only_taken && w->watch.blind_ms != 0 && now - w->watch.blind_ms < BLIND_MS ? BLIND_MS :
															     every;
}

/* ------------------------------------------------------------ what was seen */

static void see(struct throttle_reading *r, enum throttle_signal signal, bool known, double value)
{
	r->known[signal] = known;
	r->value[signal] = value;
}

static void add(struct buf *out, const char *what)
{
	(void)buf_printf(out, "%s%s", out->len > 0 ? "; " : "", what);
}

/* Sessions that cannot be looked at are taken for busy ones. */
static void see_server(struct worker *w, const PGresult *res)
{
	struct watch *x = &w->watch;
	double elapsed = (double)(worker_now() - x->looked_ms), hidden = number(res, 0, "hidden"),
	       touched = number(res, 0, "touched") + hidden;
	double weight = elapsed < 1000 ? elapsed / 1000 : 1, sessions = number(res, 0, "sessions");
	bool lag = number(res, 0, "lag_hidden") == 0;
	char line[200];

	x->first = elapsed >= FRESH_MS;
	if (x->sessions > 0 && sessions >= x->sessions + SESSIONS_PER_TOUCH)
		touched += (sessions - x->sessions) / SESSIONS_PER_TOUCH;
	x->sessions = sessions;
	x->active += weight * (number(res, 0, "active") - x->active);
	see(&x->seen, THROTTLE_TRAFFIC, true, (touched + x->touched) / 2);
	x->touched = touched;
	see(&x->seen, THROTTLE_ACTIVE, true, x->active);
	see(&x->seen, THROTTLE_LOCKS, true, number(res, 0, "waiting"));
	see(&x->seen, THROTTLE_LAG_TIME, lag, number(res, 0, "lag_ms"));
	see(&x->seen, THROTTLE_LAG, lag, number(res, 0, "lag_mb"));
	if (hidden > 0) {
		snprintf(line, sizeof(line), "what %.0f sessions of other roles do is hidden, so that they count as busy", hidden);
		add(&x->unseen, line);
	}
	if (!lag)
		add(&x->unseen, "how far the standbys are behind is hidden");
	if (x->unseen.len > 0)
		add(&x->unseen, "members of pg_monitor may see it");
}

static void see_tables(struct worker *w, const PGresult *res)
{
	for (int i = 0; res != NULL && i < PQntuples(res); i++) {
		struct mig *m = worker_find(w, (int32_t)number(res, i, "id"));

		if (m == NULL)
			continue;
		see(&m->seen_table, THROTTLE_DEAD, true, number(res, i, "dead_percent"));
		see(&m->seen_table, THROTTLE_VACUUM, true, is_true(res, i, "vacuum"));
		see(&m->seen_table, THROTTLE_SLOT, true, number(res, i, "slot_mb"));
		see(&m->seen_table, THROTTLE_ARCHIVE, !is_true(res, i, "archive_unknown"), number(res, i, "archive_mb"));
	}
}

/* What cannot be seen, "": all can. Said and told when it is something else than before. */
static void set_unseen(struct mig *m, const char *unseen)
{
	if (strcmp(m->unseen, unseen) == 0)
		return;
	snprintf(m->unseen, sizeof(m->unseen), "%s", unseen);
	m->tell = true;
	if (m->unseen[0] != '\0')
		log_warn("throttle.unseen", "migration=%s cause='%s'", m->name, m->unseen);
}

static void say_news(struct mig *m, uint64_t now_ms)
{
	const struct throttle *t = &m->throttle;
	CLEANUP(buf_free) struct buf cause = BUF_INIT(1000);

	throttle_say(t, &cause);
	switch (throttle_news(t, &m->told, now_ms)) {
	case THROTTLE_NO_NEWS:
		break;
	case THROTTLE_BEGINS:
		log_info("throttle.begin", "migration=%s signal=%s cause='%s'", m->name, throttle_name(t->signal), cause.data);
		break;
	case THROTTLE_CHANGES:
		log_info("throttle.signal", "migration=%s signal=%s cause='%s'", m->name, throttle_name(t->signal), cause.data);
		break;
	case THROTTLE_ENDS:
		log_info("throttle.end", "migration=%s held_ms=%" PRIu64, m->name, now_ms - m->told.since_ms);
		break;
	}
}

/* The time since the last look, if it was held then and is still. */
static void count_held(const struct worker *w, struct mig *m, unsigned rung_before, uint64_t now_ms)
{
	uint64_t ms = now_ms - w->watch.looked_ms;

	if (m->counts != NULL && rung_before > 0 && m->throttle.rung > 0)
		m->counts->throttled_ms[m->throttle.signal] += ms < BLIND_MS ? ms : BLIND_MS;
}

static void step(struct worker *w, struct mig *m)
{
	static const enum throttle_signal of_table[] = { THROTTLE_DEAD, THROTTLE_VACUUM, THROTTLE_SLOT, THROTTLE_ARCHIVE };
	struct throttle_reading seen = w->watch.seen;
	CLEANUP(buf_free) struct buf unseen = BUF_INIT(sizeof(m->unseen));
	uint64_t now = worker_now();
	unsigned rung = m->throttle.guess ? 0 : m->throttle.rung;

	for (size_t i = 0; i < ARRAY_SIZE(of_table); i++)
		see(&seen, of_table[i], m->seen_table.known[of_table[i]], m->seen_table.value[of_table[i]]);
	see(&seen, THROTTLE_SLOW, now - m->committed_ms < FRESH_MS, pace_slowdown(&m->pace));
	if (w->watch.unseen.len > 0)
		add(&unseen, w->watch.unseen.data);
	if (w->watch.tables_ms != 0 && !m->seen_table.known[THROTTLE_ARCHIVE] && throttle_limit(&m->settings, THROTTLE_ARCHIVE) > 0)
		add(&unseen, "no file of WAL was ever archived, so that it is not known how much waits for it");
	if (throttle_step(&m->throttle, &seen, &m->settings, now)) {
		m->tell = true;
		log_debug("throttle.step", "migration=%s rung=%u signal=%s", m->name, m->throttle.rung, throttle_name(m->throttle.signal));
	}
	count_held(w, m, rung, now);
	say_news(m, now);
	set_unseen(m, m->settings.throttle && unseen.len > 0 ? unseen.data : "");
	m->rung = m->throttle.rung;
}

static void take_in(struct worker *w, const struct pg_op *op)
{
	const PGresult *take = op->kept[KEPT_TAKE], *server = op->kept[KEPT_SERVER];
	uint64_t now = worker_now();
	struct mig *m;

	if (w->watch.taking) {
		w->watch.taken_ms = now;
		DL_FOREACH(w->migs, m)
			m->was_watched = m->watched, m->watched = false;
		for (int i = 0; take != NULL && i < PQntuples(take); i++) {
			m = worker_find(w, (int32_t)number(take, i, "migration_id"));
			if (m == NULL)
				continue;
			m->watched = true;
			/* Another one watched until now: from its rung on. Or nobody did. */
			if (!m->was_watched) {
				m->throttle = (struct throttle){ .rung = (unsigned)number(take, i, "rung"),
								 .signal = THROTTLE_NONE,
								 .since_ms = now,
								 .moved_ms = now,
								 .guess = is_true(take, i, "guess") };
				m->told = (struct throttle_told){ .held = m->throttle.rung > 0 && !m->throttle.guess,
								  .signal = THROTTLE_NONE,
								  .since_ms = now };
			}
		}
	}
	DL_FOREACH(w->migs, m)
		m->watchable = m->watchable && m->watched; /* another one does: the next poll tells when not */
	if (w->watch.only_taken) {
		w->watch.only_taken = false;
		return;
	}
	if (op->kept[KEPT_TABLES] != NULL)
		see_tables(w, op->kept[KEPT_TABLES]);
	if (server != NULL && PQntuples(server) == 1)
		see_server(w, server);
	DL_FOREACH(w->migs, m)
		/* A session seen once may be somebody who asked one thing; until the second look it is not known who is at work. */
		if (m->watched && may_watch(m) && !(w->watch.first && w->watch.touched > 0))
			step(w, m);
	worker_pump(w);
}

/* Nothing can be seen: whatever holds it goes on to hold it, a guess too. The next question is whether it is ours to say so. */
static void see_nothing(struct worker *w, const struct pg_op *op)
{
	char unseen[sizeof(((struct mig *)NULL)->unseen)];
	struct mig *m;

	if (op->status != ST_SQL)
		return;
	snprintf(unseen, sizeof(unseen), "the server's statistics cannot be read: %.400s", op->failure.message);
	w->watch.only_taken = true;
	memset(&w->watch.seen, 0, sizeof(w->watch.seen));
	w->watch.blind_ms = worker_now();
	DL_FOREACH(w->migs, m) {
		if (!may_watch(m))
			continue;
		set_unseen(m, unseen);
		m->tell = true; /* the rung as well */
	}
}

void watch_answered(struct worker *w, const struct pg_op *op)
{
	buf_reset(&w->watch.unseen);
	if (op->status == 0)
		take_in(w, op);
	else
		see_nothing(w, op);
	w->watch.looked_ms = worker_now();
	if (op->status == 0 && op->kept[KEPT_TABLES] != NULL)
		w->watch.tables_ms = w->watch.looked_ms;
}

/* ------------------------------------------------------------ asking */

uint64_t watch_due_ms(const struct worker *w)
{
	uint64_t now = worker_now(), every = every_ms(w, now);

	if (every == UINT64_MAX || w->draining || w->outdated)
		return UINT64_MAX;
	return now - w->watch.looked_ms >= every ? 0 : every - (now - w->watch.looked_ms);
}

bool watch_ask(struct worker *w)
{
	struct watch *x = &w->watch;
	CLEANUP(buf_free) struct buf ids = BUF_INIT(64 * 1024);
	uint64_t now = worker_now();
	char since[24], guess[12];
	const char *take[] = { w->name, NULL, guess }, *const server[] = { since }, *tables[] = { NULL };
	struct pg_step steps[6] = { { "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL, 0, false },
				    { "SET LOCAL synchronous_commit = off", 0, NULL, 0, false } };
	unsigned n = 2;
	bool new = false; /* one that nobody may be watching */
	struct mig *m;

	DL_FOREACH(w->migs, m) {
		if (!may_watch(m))
			continue;
		buf_printf(&ids, "%c%s", ids.len == 0 ? '{' : ',', m->id_text);
		new = new || !m->watched;
	}
	pg_array_end(&ids, ids.len == 0);
	take[1] = tables[0] = ids.data;
	snprintf(since, sizeof(since), "%" PRIu64, now - x->looked_ms < FRESH_MS ? now - x->looked_ms : WORKER_WATCH_MS);
	snprintf(guess, sizeof(guess), "%d", THROTTLE_GUESS);
	x->taking = new || x->only_taken || now - x->taken_ms >= TAKE_MS;
	if (x->taking)
		steps[n++] = (struct pg_step){ SQL_WATCH_TAKE, 3, take, KEPT_TAKE + 1, false };
	if (!x->only_taken)
		steps[n++] = (struct pg_step){ SQL_WATCH_SERVER, 1, server, KEPT_SERVER + 1, false };
	if (!x->only_taken && now - x->tables_ms >= TABLES_MS)
		steps[n++] = (struct pg_step){ SQL_WATCH_TABLES, 1, tables, KEPT_TABLES + 1, false };
	steps[n++] = (struct pg_step){ "COMMIT", 0, NULL, 0, false };
	return pg_link_run(w->control.link, &w->control.op, steps, n, WATCH_DEADLINE_MS) == 0;
}

/* ------------------------------------------------------------ telling */

static struct mig *news(const struct worker *w)
{
	struct mig *m;

	DL_FOREACH(w->migs, m)
		if (m->watched && m->tell)
			break;
	return m;
}

bool watch_has_news(const struct worker *w)
{
	return news(w) != NULL;
}

bool watch_tell(struct worker *w)
{
	CLEANUP(buf_free) struct buf detail = BUF_INIT(1000);
	char rung[12], ms[24];
	struct mig *m = news(w);

	if (m == NULL)
		return false;
	throttle_say(&m->throttle, &detail);
	snprintf(rung, sizeof(rung), "%u", m->throttle.rung);
	snprintf(ms, sizeof(ms), "%" PRIu64, m->throttle.rung > 0 ? worker_now() - m->throttle.since_ms : 0);
	const char *const params[] = {
		w->name, m->id_text, rung, m->throttle.rung > 0 ? throttle_name(m->throttle.signal) : "", detail.len > 0 ? detail.data : "",
		ms,      m->unseen
	};
	const struct pg_step steps[] = { { "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL, 0, false },
					 { "SET LOCAL synchronous_commit = off", 0, NULL, 0, false },
					 { SQL_WATCH_PUT, ARRAY_SIZE(params), params, 0, false },
					 { "COMMIT", 0, NULL, 0, false } };

	w->watch.telling = m->id;
	return pg_link_run(w->control.link, &w->control.op, steps, ARRAY_SIZE(steps), WATCH_DEADLINE_MS) == 0;
}

void watch_told(struct worker *w, const struct pg_op *op)
{
	struct mig *m = worker_find(w, w->watch.telling);

	if (op->status != 0 || m == NULL)
		return; /* it is told again */
	m->tell = false;
	bell_tell(w);
}
