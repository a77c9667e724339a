#include "worker/counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "core/util.h"

static const char *const outcomes[COUNTS_OUTCOMES] = { "done", "dead", "retried", "split", "delayed", "released", "settled", "dropped" };

/* ------------------------------------------------------------ migrations */

static void drop(struct counts *c, struct counts_mig *m)
{
	DL_DELETE(c->migs, m);
	free(m);
	c->nmigs--;
}

void counts_close(struct counts *c)
{
	while (c->migs != NULL)
		drop(c, c->migs);
}

static struct counts_mig *find(struct counts *c, const char *name)
{
	struct counts_mig *m;

	DL_FOREACH(c->migs, m)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

/* Those that are gone, the longest first, make room. */
static void make_room(struct counts *c)
{
	struct counts_mig *m, *oldest = NULL;

	DL_FOREACH(c->migs, m)
		if (m->users == 0 && (oldest == NULL || m->gone_ms < oldest->gone_ms))
			oldest = m;
	if (oldest != NULL)
		drop(c, oldest);
}

struct counts_mig *counts_enter(struct counts *c, const char *name, uint64_t now_ms)
{
	struct counts_mig *m = find(c, name);

	if (m == NULL && c->nmigs >= COUNTS_MIGRATIONS)
		make_room(c);
	if (m == NULL && c->nmigs >= COUNTS_MIGRATIONS) {
		name = COUNTS_OTHERS; /* the one beyond the limit */
		m = find(c, name);
	}
	if (m == NULL) {
		m = calloc(1, sizeof(*m));
		if (m == NULL)
			return NULL;
		snprintf(m->name, sizeof(m->name), "%s", name);
		m->gone_ms = now_ms;
		DL_APPEND(c->migs, m);
		c->nmigs++;
	}
	m->users++;
	return m;
}

void counts_leave(struct counts_mig *m, uint64_t now_ms)
{
	if (m != NULL && --m->users == 0)
		m->gone_ms = now_ms;
}

/* ------------------------------------------------------------ codes */

void counts_code(struct counts_code codes[COUNTS_SQLSTATES + 1], const char *sqlstate)
{
	struct counts_code *code = codes;

	if (sqlstate[0] == '\0')
		sqlstate = "lost";
	while (code < codes + COUNTS_SQLSTATES && code->n > 0 && strcmp(code->sqlstate, sqlstate) != 0)
		code++;
	if (code->n++ == 0)
		snprintf(code->sqlstate, sizeof(code->sqlstate), "%s", code < codes + COUNTS_SQLSTATES ? sqlstate : "other");
}

static void add_codes(struct metrics_text *t, enum metric metric, const struct counts_code codes[COUNTS_SQLSTATES + 1])
{
	for (size_t i = 0; i <= COUNTS_SQLSTATES; i++)
		if (codes[i].n > 0)
			metrics_add(t, metric, (double)codes[i].n, codes[i].sqlstate);
}

/* ------------------------------------------------------------ the text */

/* Signals of the same name are one reason. */
static void add_throttled(struct metrics_text *t, const struct counts_mig *m)
{
	for (unsigned i = 0; i <= THROTTLE_SIGNALS; i++) {
		const char *name = throttle_name((enum throttle_signal)i);
		uint64_t ms = 0;

		if (i > 0 && strcmp(name, throttle_name((enum throttle_signal)(i - 1))) == 0)
			continue;
		for (unsigned k = i; k <= THROTTLE_SIGNALS && strcmp(name, throttle_name((enum throttle_signal)k)) == 0; k++)
			ms += m->throttled_ms[k];
		metrics_add(t, METRIC_THROTTLED, (double)ms / 1000, m->name, name[0] != '\0' ? name : "earlier");
	}
}

void counts_add(struct counts *c, struct metrics_text *t, uint64_t now_ms)
{
	struct counts_mig *m, *next;

	DL_FOREACH_SAFE(c->migs, m, next)
		if (m->users == 0 && now_ms - m->gone_ms >= COUNTS_KEEP_MS)
			drop(c, m);
	/* Zeros too: the first failure is an increase then, which an alert sees. */
	DL_FOREACH(c->migs, m)
		for (size_t i = 0; i < COUNTS_OUTCOMES; i++)
			metrics_add(t, METRIC_JOBS, (double)m->jobs[i], m->name, outcomes[i]);
	DL_FOREACH(c->migs, m) {
		metrics_add(t, METRIC_ROWS, (double)m->rows_changed, m->name, "changed");
		metrics_add(t, METRIC_ROWS, (double)m->rows_dead, m->name, "dead");
	}
	DL_FOREACH(c->migs, m)
		add_throttled(t, m);
	metrics_add_histogram(t, METRIC_JOB_DURATION, &c->duration);
	add_codes(t, METRIC_RETRIES, c->retries);
	add_codes(t, METRIC_ERRORS, c->errors);
	metrics_add(t, METRIC_LEASE_LOST, (double)c->lease_lost);
	metrics_add(t, METRIC_TAKEN_OVER, (double)c->taken_over);
	metrics_add(t, METRIC_FOREIGN, (double)c->foreign);
}
