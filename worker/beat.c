/*
 * beat.c - the heartbeat: what a worker tells in PostgreSQL of itself, every few seconds and whenever it begins or ceases to be able to work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "core/text.h"
#include "version.h"
#include "worker/worker_private.h"

/* What its lanes are at. */
static void add_doing(struct worker *w, struct buf *out)
{
	bool first = true;

	buf_reset(out);
	buf_putc(out, '[');
	for (unsigned i = 0; i < w->nlanes; i++) {
		const struct job_run *r = w->lanes[i].run;

		if (r == NULL || r->n == 0)
			continue;
		buf_printf(out, "%s{\"lane\": %u, \"migration\": ", first ? "" : ", ", i + 1);
		text_add_json(out, r->mig->name);
		buf_printf(out, ", \"job\": \"%c%" PRId64 "\", \"rows\": %zu, \"state\": \"%s\", \"ms\": %" PRIu64 "}", (char)r->kind,
			   r->entries[0]->job.number, r->n, job_state_name(r->state), worker_now() - w->lanes[i].started_ms);
		first = false;
	}
	buf_putc(out, ']');
}

/* What others know of this worker: lanes that one has alone are of no use to a migration while that one cannot work. */
static const char *standing(const struct worker *w)
{
	if (w->draining || w->outdated)
		return w->draining ? "draining" : "outdated";
	return w->paused ? "paused" : worker_is_able(w) ? "running" : "waiting";
}

/* Whoever has a short lease must not be taken for dead (worker_unblock.sql) between two heartbeats. */
static uint64_t beat_every(const struct worker *w)
{
	uint64_t most = w->control.sharing_ms != 0 ? WORKER_SHARING_BEAT_MS : WORKER_BEAT_MS;

	return w->options->lease_ms / 3 < most ? w->options->lease_ms / 3 : most;
}

/* Migrations that run, and that this worker cannot read: another version of it, or somebody's hand, has written them. */
static void add_cannot(const struct worker *w, struct buf *out)
{
	const struct mig *m;
	bool first = true;

	buf_reset(out);
	buf_putc(out, '[');
	DL_FOREACH(w->migs, m) {
		if (m->state == MIG_CANCELLED || (m->configured && !(m->stale && m->broken_revision == m->revision_wanted)))
			continue;
		if (m->why_broken[0] == '\0')
			continue;
		buf_puts(out, first ? "{\"migration\": " : ", {\"migration\": ");
		text_add_json(out, m->name);
		buf_puts(out, ", \"why\": ");
		text_add_json(out, m->why_broken);
		buf_putc(out, '}');
		first = false;
	}
	buf_putc(out, ']');
}

bool beat_is_due(const struct worker *w)
{
	const struct control *c = &w->control;

	return !c->started || c->told != standing(w) || worker_now() - c->beat_ms >= beat_every(w);
}

void beat_fill(struct worker *w, struct beat *b, const char *only)
{
	struct control *c = &w->control;
	uint64_t passed_ms = worker_now() - c->beat_ms, rows = w->rows_done - c->beat_rows;

	snprintf(b->pid, sizeof(b->pid), "%d", (int)getpid());
	snprintf(b->lanes, sizeof(b->lanes), "%u", w->nlanes);
	snprintf(b->jobs, sizeof(b->jobs), "%" PRIu64, w->jobs_done);
	snprintf(b->rows, sizeof(b->rows), "%" PRIu64, w->rows_done);
	snprintf(b->rate, sizeof(b->rate), "%.1f", c->started && passed_ms > 0 ? (double)rows * 1000 / (double)passed_ms : 0);
	add_doing(w, &c->doing);
	add_cannot(w, &c->cannot);
	c->standing = standing(w);
	c->beating_rows = w->rows_done;
	const char *const params[] = { w->name,     w->host,       b->pid,        DROVER_VERSION, b->lanes,
				       c->standing, c->doing.data, b->jobs,       b->rows,        c->started ? "f" : "t",
				       only,        b->rate,       c->cannot.data };

	memcpy(b->params, params, sizeof(params));
}

void beat_heard(struct worker *w)
{
	struct control *c = &w->control;

	c->started = true;
	c->beat_ms = worker_now();
	c->beat_rows = c->beating_rows;
	c->told = c->standing;
}
