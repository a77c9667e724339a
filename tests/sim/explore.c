#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHOICES_MAX 6 /* in one step */
#define NONE UINT32_MAX

/* ------------------------------------------------------------ choices of one step, one after the other */

struct choices {
	struct chooser chooser;
	uint8_t made[CHOICES_MAX], of[CHOICES_MAX];
	unsigned n, at;
};

static unsigned choose_next(struct chooser *chooser, unsigned n, const char *what, bool fault)
{
	struct choices *c = container_of(chooser, struct choices, chooser);

	(void)what;
	(void)fault;
	if (c->at == CHOICES_MAX)
		return 0;
	if (c->at == c->n) {
		c->made[c->n] = 0;
		c->of[c->n++] = (uint8_t)n;
	}
	return c->made[c->at++];
}

/* The next combination; false: all were made. */
static bool choices_next(struct choices *c)
{
	while (c->n > 0 && c->made[c->n - 1] + 1 == c->of[c->n - 1])
		c->n--;
	if (c->n == 0)
		return false;
	c->made[c->n - 1]++;
	c->at = 0;
	return true;
}

/* ------------------------------------------------------------ states */

struct state {
	uint64_t hash[2];
	uint32_t from; /* the state that it was reached from first, by ... */
	struct step step;
	uint8_t made[CHOICES_MAX];
	bool over;
};

struct search {
	struct report *report;
	const struct setup *setup;
	struct observer *observer;
	struct state *states;
	uint32_t *table; /* open addressing; indices of states */
	uint64_t nstates, cap, mask, most;
	uint32_t *edges; /* from, to: of steps in which nothing went wrong */
	uint64_t nedges, edges_cap;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static void hash(const uint8_t *key, size_t n, uint64_t out[2])
{
	out[0] = n + 1;
	out[1] = ~(uint64_t)n;
	for (size_t i = 0; i < n; i += 8) {
		uint64_t v = 0;

		memcpy(&v, key + i, n - i < 8 ? n - i : 8);
		out[0] = mix(out[0], v);
		out[1] = mix(out[1] + 0x632be59bd9b4e019u, v ^ out[0] << 17);
	}
}

static void *grown(void *v, uint64_t *cap, size_t size)
{
	uint64_t more = *cap == 0 ? 1024 : *cap;

	*cap += more;
	v = realloc(v, *cap * size);
	if (v == NULL)
		abort();
	memset((char *)v + (*cap - more) * size, 0, more * size);
	return v;
}

static void table_grow(struct search *s)
{
	s->mask = s->mask == 0 ? 4095 : s->mask * 2 + 1;
	free(s->table);
	s->table = malloc((s->mask + 1) * sizeof(*s->table));
	if (s->table == NULL)
		abort();
	memset(s->table, 0xff, (s->mask + 1) * sizeof(*s->table));
	for (uint32_t i = 0; i < s->nstates; i++) {
		uint64_t at = s->states[i].hash[0] & s->mask;

		while (s->table[at] != NONE)
			at = (at + 1) & s->mask;
		s->table[at] = i;
	}
}

/* The number of a world's state; whether it is new. */
static uint32_t state_of(struct search *s, const struct world *w, bool *is_new)
{
	static uint8_t key[KEY_MAX];
	uint64_t h[2], at;

	hash(key, world_key(w, key), h);
	if (s->nstates * 2 >= s->mask)
		table_grow(s);
	if (s->nstates == s->cap)
		s->states = grown(s->states, &s->cap, sizeof(*s->states));
	for (at = h[0] & s->mask; s->table[at] != NONE; at = (at + 1) & s->mask) {
		const struct state *have = &s->states[s->table[at]];

		*is_new = false;
		if (have->hash[0] == h[0] && have->hash[1] == h[1])
			return s->table[at];
	}
	*is_new = true;
	s->states[s->nstates] = (struct state){ .hash = { h[0], h[1] }, .from = NONE, .over = world_is_over(w) };
	s->table[at] = (uint32_t)s->nstates;
	return (uint32_t)s->nstates++;
}

static void add_edge(struct search *s, uint32_t from, uint32_t to)
{
	if (s->nedges == s->edges_cap)
		s->edges = grown(s->edges, &s->edges_cap, 2 * sizeof(*s->edges));
	s->edges[2 * s->nedges] = from;
	s->edges[2 * s->nedges++ + 1] = to;
}

/* ------------------------------------------------------------ what led there */

static void write_trace(struct search *s, uint32_t last)
{
	struct report *r = s->report;
	struct choices c = { .chooser = { choose_next } };
	uint32_t *path = NULL;
	uint64_t n = 0, cap = 0;
	struct world *w;
	size_t len = 0;

	for (uint32_t i = last; s->states[i].from != NONE; i = s->states[i].from) {
		if (n == cap)
			path = grown(path, &cap, sizeof(*path));
		path[n++] = i;
	}
	w = world_new(s->setup, &c.chooser);
	while (n-- > 0 && len + 200 < sizeof(r->trace)) {
		const struct state *at = &s->states[path[n]];

		c = (struct choices){ .chooser = { choose_next }, .n = CHOICES_MAX };
		memcpy(c.made, at->made, sizeof(c.made));
		world_do(w, at->step);
		len += (size_t)snprintf(r->trace + len, sizeof(r->trace) - len, "  %s %u%s:", step_name(at->step), at->step.which,
					w->faulty ? " (fault)" : "");
		for (unsigned i = 0; i < w->nslots; i++)
			len += (size_t)snprintf(r->trace + len, sizeof(r->trace) - len, " %s",
						w->slots[i].run != NULL ? job_state_name(w->slots[i].run->state) : "-");
		len += (size_t)snprintf(r->trace + len, sizeof(r->trace) - len, "\n");
	}
	world_free(w);
	free(path);
}

static void wrong(struct search *s, const char *what, uint32_t last)
{
	if (s->report->wrong[0] != '\0')
		return;
	snprintf(s->report->wrong, sizeof(s->report->wrong), "%s", what);
	write_trace(s, last);
}

/* ------------------------------------------------------------ depth first */

struct frame {
	struct world *world;
	uint32_t state;
	struct step steps[STEPS_MAX];
	unsigned nsteps, at;
	struct choices choices;
};

struct stack {
	struct frame **v;
	uint64_t n, cap, made; /* in use, room, there */
};

static void push_frame(struct stack *k, struct world *w, uint32_t state)
{
	struct frame *f;

	if (k->n == k->cap)
		k->v = grown(k->v, &k->cap, sizeof(*k->v));
	if (k->n == k->made)
		k->v[k->made++] = malloc(sizeof(*f));
	f = k->v[k->n++];
	if (f == NULL)
		abort();
	f->world = w;
	f->state = state;
	f->at = 0;
	f->choices.n = f->choices.at = 0;
	f->nsteps = world_steps(w, f->steps);
}

static void pop_frame(struct stack *k)
{
	world_free(k->v[--k->n]->world);
}

/* One step of the frame on top, with the next of its choices; what it leads to, if that is new, goes on top. */
static void advance(struct search *s, struct stack *k)
{
	struct frame *f = k->v[k->n - 1];
	struct step step = f->steps[f->at];
	struct choices *c = &f->choices;
	struct world *w = world_copy(f->world);
	uint32_t to;
	bool is_new;

	c->chooser.choose = choose_next;
	c->at = 0;
	w->chooser = &c->chooser;
	world_do(w, step);
	s->report->transitions++;
	to = state_of(s, w, &is_new);
	if (!w->faulty)
		add_edge(s, f->state, to);
	if (is_new) {
		struct state *st = &s->states[to];

		st->from = f->state;
		st->step = step;
		memcpy(st->made, c->made, c->at);
		if (st->over && w->violation[0] == '\0')
			world_check_end(w);
		s->report->ends += st->over;
	}
	if (w->violation[0] != '\0')
		wrong(s, w->violation, to);
	if (s->observer != NULL)
		s->observer->step(s->observer, f->world, step, w);
	if (!choices_next(c)) {
		f->at++;
		c->n = 0;
	}
	if (is_new && s->nstates < s->most) {
		push_frame(k, w, to);
	} else {
		s->report->cut = s->report->cut || is_new;
		world_free(w);
	}
}

/* From every state the end can be reached by steps in which nothing goes wrong: backwards from the ends. */
static void check_ends(struct search *s)
{
	uint32_t *first = calloc(s->nstates + 1, sizeof(*first)), *to = calloc(s->nedges + 1, sizeof(*to));
	uint32_t *todo = calloc(s->nstates + 1, sizeof(*todo));
	uint8_t *reached = calloc(s->nstates + 1, 1);
	uint64_t n = 0;

	if (first == NULL || to == NULL || todo == NULL || reached == NULL)
		abort();
	for (uint64_t i = 0; i < s->nedges; i++)
		first[s->edges[2 * i + 1] + 1]++;
	for (uint64_t i = 1; i <= s->nstates; i++)
		first[i] += first[i - 1];
	for (uint64_t i = 0; i < s->nedges; i++)
		to[first[s->edges[2 * i + 1]]++] = s->edges[2 * i]; /* first[] moves on to the beginning of the next */
	for (uint32_t i = 0; i < s->nstates; i++)
		if (s->states[i].over) {
			reached[i] = 1;
			todo[n++] = i;
		}
	while (n > 0) {
		uint32_t at = todo[--n];

		for (uint32_t i = at == 0 ? 0 : first[at - 1]; i < first[at]; i++)
			if (!reached[to[i]]) {
				reached[to[i]] = 1;
				todo[n++] = to[i];
			}
	}
	for (uint32_t i = 0; i < s->nstates; i++)
		if (!reached[i]) {
			wrong(s, "stuck: nothing leads to the end from here", i);
			break;
		}
	free(first);
	free(to);
	free(todo);
	free(reached);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void explore(const struct setup *setup, uint64_t most, struct observer *observer, struct report *ret)
{
	struct search s = { .report = ret, .setup = setup, .observer = observer, .most = most };
	struct choices c = { .chooser = { choose_next } };
	struct stack k = { 0 };
	double began = now_s();
	struct world *w;
	bool is_new;

	memset(ret, 0, sizeof(*ret));
	w = world_new(setup, &c.chooser);
	push_frame(&k, w, state_of(&s, w, &is_new));
	while (k.n > 0 && ret->wrong[0] == '\0') {
		const struct frame *f = k.v[k.n - 1];

		ret->depth = k.n > ret->depth ? (unsigned)k.n : ret->depth;
		if (f->at == f->nsteps)
			pop_frame(&k);
		else
			advance(&s, &k);
	}
	while (k.n > 0)
		pop_frame(&k);
	ret->states = s.nstates;
	if (ret->wrong[0] == '\0' && !ret->cut)
		check_ends(&s);
	ret->seconds = now_s() - began;
	while (k.made > 0)
		free(k.v[--k.made]);
	free(k.v);
	free(s.states);
	free(s.table);
	free(s.edges);
}
