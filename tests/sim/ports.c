/*
 * ports.c - worker/ports.h in the world: what a job asks for is noted, and answered by a step.
 */
#include <stdlib.h>
#include <string.h>

#include "world.h"

static struct slot *slot_of(struct ports *p)
{
	return container_of(p, struct slot, ports);
}

/* ------------------------------------------------------------ runs */

/* Without the texts of its failure, which nothing in the world reads. */
struct job_run *run_copy(const struct job_run *r)
{
	struct job_run *c = malloc(sizeof(*c));

	if (c == NULL)
		abort();
	*c = *r;
	c->message = c->error = NULL;
	c->entries = malloc((r->n + 1) * sizeof(*c->entries));
	if (c->entries == NULL)
		abort();
	for (size_t i = 0; i < r->n; i++) {
		c->entries[i] = malloc(sizeof(**c->entries));
		if (c->entries[i] == NULL)
			abort();
		memcpy(c->entries[i], r->entries[i], sizeof(**c->entries));
	}
	return c;
}

void run_free(struct job_run *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->entries[i]);
	job_run_free(r);
}

void slot_start(struct slot *s, struct job_run *r)
{
	r->limits = (struct policy_limits){ .tries = s->world->setup.tries, .conflict_budget_ms = 3600000 };
	r->serial = ++s->world->next_serial;
	s->run = r;
	job_run_start(r, &s->ports);
}

/* ------------------------------------------------------------ requests */

static int ask(struct slot *s, const struct job_run *r, struct request req, enum fault down)
{
	if (s->run != r || s->req.asked != ASKED_NOTHING)
		violation(s->world, "two requests of one job at a time");
	if (goes_wrong(s->world, down))
		return ST_DISCONNECTED;
	s->req = req;
	return 0;
}

static int fake_transact(struct ports *p, struct job_run *r, enum tx_kind kind)
{
	struct slot *s = slot_of(p);

	if (kind == TX_WORK && (s->world->setup.broken & BROKEN_ACK_FIRST) != 0)
		redis_settle(s->world, r, &(struct request){ .settle = SETTLE_ACK }, s->worker);
	return ask(s, r, (struct request){ .asked = ASKED_TX, .tx = (uint8_t)kind }, FAULT_DOWN);
}

static void fake_interrupt(struct ports *p, struct job_run *r)
{
	(void)p;
	(void)r;
}

static int fake_settle(struct ports *p, struct job_run *r, enum settle_kind kind)
{
	return ask(slot_of(p), r, (struct request){ .asked = ASKED_SETTLE, .settle = (uint8_t)kind }, FAULT_DOWN);
}

static void wait_for(struct slot *s, const struct job_run *r, enum asked what)
{
	if (s->run != r || s->req.asked != ASKED_NOTHING)
		violation(s->world, "two requests of one job at a time");
	s->req = (struct request){ .asked = (uint8_t)what };
}

static void fake_wait(struct ports *p, struct job_run *r, uint64_t ms)
{
	(void)ms;
	wait_for(slot_of(p), r, ASKED_TIME);
}

static uint64_t fake_rest(struct ports *p, struct job_run *r)
{
	struct world *w = slot_of(p)->world;

	(void)r;
	return w->setup.slices && choose(w, 2, "whether others go first") == 1 ? JOB_YIELD : 0;
}

static void fake_hold(struct ports *p, struct job_run *r)
{
	wait_for(slot_of(p), r, ASKED_ALONE);
}

/* As mig_divide(). */
static void fake_divide(struct ports *p, struct job_run *r)
{
	struct slot *s = slot_of(p);
	struct world *w = s->world;
	size_t parts = r->n < POLICY_SPLIT_WAYS ? r->n : POLICY_SPLIT_WAYS;

	for (size_t i = 0; i < parts && w->nwaiting < WAITING_MAX; i++) {
		size_t from = r->n * i / parts, n = r->n * (i + 1) / parts - from;
		struct entry **entries = calloc(n, sizeof(*entries));
		struct job_run *part = job_run_new(NULL, r->kind, entries, n);

		if (entries == NULL || part == NULL)
			abort();
		memcpy(entries, r->entries + from, n * sizeof(*entries));
		part->losses = r->losses;
		part->conflicts = r->conflicts > 0 ? POLICY_CONFLICTS_SPLIT - 1 : 0;
		part->alone = r->alone;
		part->want_mark = r->want_mark;
		part->probe = r->probe;
		w->waiting[w->nwaiting] = part;
		w->waiting_worker[w->nwaiting++] = s->worker;
	}
	r->n = 0;
}

static uint64_t fake_backoff(struct ports *p, struct job_run *r, unsigned attempt)
{
	(void)p;
	(void)r;
	return attempt;
}

static void fake_reload(struct ports *p, struct job_run *r)
{
	(void)p;
	(void)r;
}

static void fake_done(struct ports *p, struct job_run *r)
{
	struct slot *s = slot_of(p);

	if (s->run != r || s->req.asked != ASKED_NOTHING)
		violation(s->world, "a job ends while it waits for an answer");
	s->run = NULL;
	run_free(r);
}

static void fake_say(struct ports *p, struct job_run *r, const char *event, const char *why, const struct tx_answer *a)
{
	(void)p;
	(void)r;
	(void)event;
	(void)why;
	(void)a;
}

const struct ports fake_ports = {
	.transact = fake_transact,
	.interrupt = fake_interrupt,
	.settle = fake_settle,
	.wait = fake_wait,
	.rest = fake_rest,
	.hold = fake_hold,
	.divide = fake_divide,
	.backoff = fake_backoff,
	.reload = fake_reload,
	.done = fake_done,
	.say = fake_say,
};
