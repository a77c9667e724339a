/*
 * life.c - worlds are made, copied, compared and freed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* ------------------------------------------------------------ decisions */

void violation(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->violation[0] != '\0')
		return;
	va_start(ap, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it loses sight of the line above */
	vsnprintf(w->violation, sizeof(w->violation), fmt, ap);
	va_end(ap);
}

void tell(struct world *w, const char *what)
{
	if (w->listener != NULL)
		w->listener->tell(w->listener, what);
}

unsigned choose(struct world *w, unsigned n, const char *what)
{
	return n > 1 ? w->chooser->choose(w->chooser, n, what, false) : 0;
}

void spend(struct world *w, enum fault f)
{
	w->left[f]--;
	w->faulty = true;
}

bool goes_wrong(struct world *w, enum fault f)
{
	if (w->left[f] == 0 || w->chooser->choose(w->chooser, 2, "whether it goes wrong", true) == 0)
		return false;
	spend(w, f);
	return true;
}

/* ------------------------------------------------------------ beginning and end */

static void begin(struct world *w)
{
	const struct setup *s = &w->setup;

	memcpy(w->left, s->left, sizeof(w->left));
	w->floor = 1;
	for (unsigned i = 0; i < s->rows; i++) {
		struct row *row = &w->rows[i];

		row->poison = i < 32 && (s->poison & 1u << i) != 0;
		row->suspect = i < 32 && (s->suspect & 1u << i) != 0;
		row->locked = i < 32 && (s->locked & 1u << i) != 0;
		if (s->replay) {
			row->failed = (uint8_t)++w->nfailed;
			w->failed[w->nfailed] = (struct failed_job){ .row = (uint8_t)i, .state = FAILED_DEAD };
		}
	}
	while (!s->producer && !s->replay && w->found < s->rows) {
		world_do(w, (struct step){ STEP_FIND, 0 });
		while (w->push_from < w->push_to)
			world_do(w, (struct step){ STEP_PUSH, 0 });
	}
}

static void set(uint8_t *value, uint8_t otherwise)
{
	*value = *value != 0 ? *value : otherwise;
}

struct world *world_new(const struct setup *s, struct chooser *c)
{
	struct world *w = calloc(1, sizeof(*w));

	if (w == NULL)
		abort();
	w->setup = *s;
	set(&w->setup.workers, 2);
	set(&w->setup.lanes, 1);
	set(&w->setup.rows, 2);
	set(&w->setup.batch_rows, 2);
	set(&w->setup.tries, 1);
	w->chooser = c;
	w->nslots = (unsigned)w->setup.workers * w->setup.lanes;
	for (unsigned i = 0; i < w->nslots; i++)
		w->slots[i] = (struct slot){ .ports = fake_ports, .world = w, .worker = (int)(i % w->setup.workers) };
	begin(w);
	return w;
}

static void copy_redis(struct redis *to, const struct redis *from)
{
	memcpy(to->stream, from->stream, from->nstream * sizeof(*from->stream));
	memcpy(to->delayed, from->delayed, from->ndelayed * sizeof(*from->delayed));
	to->nstream = from->nstream;
	to->ndelayed = from->ndelayed;
}

static struct job_run *move_run(const struct job_run *r, const struct world *from, struct world *to)
{
	struct job_run *c = run_copy(r);

	for (unsigned i = 0; i < from->nslots; i++)
		if (r->ports == &from->slots[i].ports)
			c->ports = &to->slots[i].ports;
	return c;
}

/* Worlds that were freed, for copies: millions are made, one after the other. */
static struct world *spare;

struct world *world_copy(const struct world *w)
{
	struct world *c = spare != NULL ? spare : malloc(sizeof(*c));

	if (c != NULL && c == spare)
		spare = c->next_spare;
	if (c == NULL)
		abort();
	memcpy(c, w, offsetof(struct world, batches));
	memcpy(c->batches, w->batches, (w->nbatches + 1) * sizeof(*w->batches));
	copy_redis(&c->redis, &w->redis);
	copy_redis(&c->snapshot, &w->snapshot);
	for (unsigned i = 0; i < w->nslots; i++) {
		c->slots[i].world = c;
		if (w->slots[i].run != NULL)
			c->slots[i].run = move_run(w->slots[i].run, w, c);
	}
	for (unsigned i = 0; i < w->nwaiting; i++)
		c->waiting[i] = move_run(w->waiting[i], w, c);
	for (unsigned i = 0; i < w->norphans; i++)
		c->orphans[i].run = move_run(w->orphans[i].run, w, c);
	return c;
}

void world_free(struct world *w)
{
	if (w == NULL)
		return;
	for (unsigned i = 0; i < w->nslots; i++)
		if (w->slots[i].run != NULL)
			run_free(w->slots[i].run);
	for (unsigned i = 0; i < w->nwaiting; i++)
		run_free(w->waiting[i]);
	while (w->norphans > 0)
		orphan_drop(w, w->norphans - 1);
	w->next_spare = spare;
	spare = w;
}

bool world_is_over(const struct world *w)
{
	bool over = w->redis.nstream + w->redis.ndelayed + w->nwaiting + w->norphans == 0 && !w->paused && !w->seen.walked &&
		    w->found == w->setup.rows && w->push_from == w->push_to;

	for (unsigned i = 0; i < w->nslots; i++)
		over = over && w->slots[i].run == NULL;
	for (unsigned i = 1; i <= w->nbatches; i++)
		over = over && w->batches[i].state != BATCH_QUEUED && w->batches[i].state != WINDOW_OPEN;
	for (unsigned i = 1; i <= w->nfailed; i++)
		over = over && w->failed[i].state != FAILED_QUEUED && w->failed[i].state != FAILED_RETRYING;
	return over;
}

void world_check_end(struct world *w)
{
	for (unsigned i = 0; i < w->setup.rows; i++) {
		const struct row *r = &w->rows[i];
		bool dead = r->failed != 0 && w->failed[r->failed].state == FAILED_DEAD;
		bool bad = w->setup.mended ? dead : r->poison; /* it may have been mended too late */

		if (r->changed != !bad || dead != bad)
			violation(w, "at the end row %u is %s, changed %u times, %s", i, r->poison ? "poison" : "good", r->changed,
				  dead ? "a dead letter" : "no dead letter");
	}
}

/* ------------------------------------------------------------ the key */

struct out {
	uint8_t *v;
	size_t n;
	const struct world *w;
	uint32_t ids[2 * ENTRIES_MAX + 8 * BATCH_ROWS]; /* all that are known, in order */
	unsigned nids;
	uint8_t names[16]; /* of workers, as this order has it */
};

static void put(struct out *o, unsigned v)
{
	if (o->n < KEY_MAX)
		o->v[o->n++] = (uint8_t)v;
}

static void note_id(struct out *o, uint32_t id)
{
	if (id != 0 && o->nids < sizeof(o->ids) / sizeof(*o->ids))
		o->ids[o->nids++] = id;
}

static void note_run(struct out *o, const struct job_run *r)
{
	for (size_t i = 0; r != NULL && i < r->n; i++)
		note_id(o, (uint32_t)r->entries[i]->id.seq);
}

static int compare_ids(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void note_ids(struct out *o)
{
	const struct world *w = o->w;

	for (unsigned i = 0; i < w->redis.nstream; i++)
		note_id(o, w->redis.stream[i].id);
	for (unsigned i = 0; w->saved && i < w->snapshot.nstream; i++)
		note_id(o, w->snapshot.stream[i].id);
	for (unsigned i = 0; i < w->nslots; i++)
		note_run(o, w->slots[i].run);
	for (unsigned i = 0; i < w->nwaiting; i++)
		note_run(o, w->waiting[i]);
	for (unsigned i = 0; i < w->norphans; i++)
		note_run(o, w->orphans[i].run);
	qsort(o->ids, o->nids, sizeof(*o->ids), compare_ids);
}

/* Ids differ in every run; what matters is which are the same, and their order. */
static void put_id(struct out *o, uint32_t id)
{
	unsigned rank = 0;

	for (unsigned i = 0; i < o->nids && o->ids[i] < id; i++)
		rank += i == 0 || o->ids[i] != o->ids[i - 1];
	put(o, rank);
}

static void put_redis(struct out *o, const struct redis *r)
{
	put(o, r->nstream);
	for (unsigned i = 0; i < r->nstream; i++) {
		const struct queued *e = &r->stream[i];

		put_id(o, e->id);
		put(o, (unsigned)(e->owner < 0 ? 15 : o->names[e->owner]) | (unsigned)e->idle << 4);
		put(o, e->kind);
		put(o, e->number);
		put(o, e->row);
	}
	put(o, r->ndelayed);
	for (unsigned i = 0; i < r->ndelayed; i++) {
		put(o, r->delayed[i].kind);
		put(o, r->delayed[i].number);
		put(o, r->delayed[i].row);
	}
}

static void put_request(struct out *o, const struct request *req)
{
	put(o, req->asked);
	put(o, req->asked == ASKED_TX || req->asked == BEGUN_TX ? req->tx : 0);
	put(o, req->asked == ASKED_SETTLE ? req->settle : 0);
	put(o, req->asked == BEGUN_TX ? req->claimed : 0);
	put(o, req->asked == BEGUN_TX ? req->claimed >> 8 : 0);
}

/* What the ports see of a run: all that matters of an orphan. */
static void put_job(struct out *o, const struct job_run *r)
{
	put(o, r->kind);
	put(o, (unsigned)r->n);
	for (size_t i = 0; i < r->n; i++) {
		const struct queued job = job_of(r->entries[i]);

		put_id(o, (uint32_t)r->entries[i]->id.seq);
		put(o, (unsigned)r->entries[i]->job.number);
		put(o, (unsigned)r->entries[i]->id.ms);
		put(o, r->kind != JOB_ROW && marks_have(ledger_marks(o->w, &job), (uint32_t)r->serial));
	}
	put(o, (unsigned)r->marked | (unsigned)r->note_due << 1 | (unsigned)r->loose << 2 | (unsigned)r->mark_left << 3);
	put(o, r->note);
	put(o, r->settle);
	put(o, (unsigned)r->descent.number);
	put(o, r->settle == SETTLE_RETRY ? (unsigned)r->failed_id : 0);
	put(o, r->settle == SETTLE_PARTS ? (unsigned)r->parts[0].number : 0);
}

static void put_run(struct out *o, const struct job_run *r)
{
	enum job_state at = r->state == JOB_WAITING || r->state == JOB_HOLDING ? r->then : r->state;
	const struct policy_facts *f = &r->facts;

	put_job(o, r);
	put(o, r->state);
	put(o, at);
	put(o, (unsigned)r->alone | (unsigned)r->blind << 1 | (unsigned)r->draining << 2 | (unsigned)r->want_mark << 3 |
		       (unsigned)r->others_commit << 4);
	put(o, r->side_tries);
	put(o, r->again);
	put(o, r->losses);
	put(o, r->n < 2 || r->kind == JOB_BATCH ? 0 : r->conflicts < POLICY_CONFLICTS_SPLIT ? r->conflicts : POLICY_CONFLICTS_SPLIT);
	put(o, r->probe);
	put(o, at == JOB_UNMARKING ? r->leave : 0);
	if (at != JOB_PROBING && at != JOB_NOTING)
		return;
	put(o, f->class);
	put(o, f->phase);
	put(o, (unsigned)f->server_lived << 4 | (unsigned)f->silent | (unsigned)f->ours << 1 | (unsigned)f->others_commit << 2 |
		       (unsigned)f->probe << 3);
	put(o, f->again);
}

static void put_slots(struct out *o, const uint8_t *order)
{
	const struct world *w = o->w;

	for (unsigned k = 0; k < w->setup.workers; k++) {
		for (unsigned i = 0; i < w->nslots; i++) {
			if (w->slots[i].worker != order[k])
				continue;
			put_request(o, &w->slots[i].req);
			put(o, w->slots[i].run != NULL);
			if (w->slots[i].run != NULL)
				put_run(o, w->slots[i].run);
		}
		for (unsigned i = 0; i < w->nwaiting; i++)
			if (w->waiting_worker[i] == order[k])
				put_run(o, w->waiting[i]);
		put(o, 255);
	}
	put(o, w->norphans);
	for (unsigned i = 0; i < w->norphans; i++) {
		const struct orphan *p = &w->orphans[i];

		put_request(o, &p->req);
		put_job(o, p->run);
		put(o, o->names[p->worker]);
		put(o, p->dead || w->setup.workers == 0 ? 0 : (unsigned)p->slot / w->setup.workers);
		put(o, w->slots[p->slot].run != NULL && w->slots[p->slot].run->serial == p->run->serial);
	}
}

static bool is_alive(const struct world *w, uint32_t serial)
{
	for (unsigned i = 0; i < w->nslots; i++)
		if (w->slots[i].run != NULL && w->slots[i].run->serial == serial)
			return true;
	for (unsigned i = 0; i < w->norphans; i++)
		if (w->orphans[i].run->serial == serial)
			return true;
	return false;
}

/* How many of them nobody takes back any more; whose the others are is with their runs. */
static void put_marks(struct out *o, const struct marks *m)
{
	unsigned kept = 0;

	for (unsigned i = 0; m != NULL && i < m->n; i++)
		kept += !is_alive(o->w, m->runs[i]);
	put(o, kept << 1 | (unsigned)(m != NULL && m->watched));
}

static void put_ledger(struct out *o)
{
	const struct world *w = o->w;

	for (unsigned i = 0; i < w->setup.rows; i++) {
		const struct row *r = &w->rows[i];

		put(o, r->changed);
		put(o, r->failed);
		put(o, (unsigned)r->locked | (unsigned)r->receipt << 1 | (unsigned)r->poison << 2);
	}
	put(o, w->nbatches);
	for (unsigned i = 1; i <= w->nbatches; i++) {
		const struct batch *b = &w->batches[i];
		bool queued = b->state == BATCH_QUEUED;

		put(o, b->state);
		put(o, b->n);
		for (unsigned k = 0; k < b->n; k++)
			put(o, b->rows[k]);
		put(o, b->state == WINDOW_OPEN ? b->counted : 0);
		put(o, queued ? b->retries : 0);
		put(o, queued ? b->conflicts : 0);
		put(o, queued ? b->losses : 0);
		put_marks(o, queued ? &b->marks : NULL);
	}
	put(o, w->nfailed);
	for (unsigned i = 1; i <= w->nfailed; i++) {
		put(o, w->failed[i].state);
		put(o, w->failed[i].row);
		put(o, w->failed[i].attempts);
		put_marks(o, &w->failed[i].marks);
	}
}

static size_t put_world(struct out *o, const uint8_t *order)
{
	const struct world *w = o->w;

	o->n = 0;
	for (unsigned i = 0; i < sizeof(o->names); i++)
		o->names[i] = (uint8_t)i;
	for (uint8_t k = 0; k < w->setup.workers; k++)
		o->names[order[k]] = k;
	put_slots(o, order);
	put_redis(o, &w->redis);
	put_ledger(o);
	for (unsigned i = 0; i < FAULTS; i++)
		put(o, w->left[i]);
	put(o, (unsigned)w->paused | (unsigned)w->saved << 1 | (unsigned)w->seen.walked << 2);
	put(o, w->found);
	put(o, w->push_from);
	put(o, w->push_to);
	put(o, w->floor);
	put(o, w->crashes);
	put(o, w->crash != w->crash_seen);
	for (size_t i = 0; w->seen.walked && i < sizeof(w->seen.batches); i++)
		put(o, w->seen.batches[i]);
	for (size_t i = 0; w->seen.walked && i < sizeof(w->seen.failed); i++)
		put(o, w->seen.failed[i]);
	for (size_t i = 0; w->seen.walked && i < sizeof(w->seen.rows); i++)
		put(o, w->seen.rows[i]);
	if (w->saved)
		put_redis(o, &w->snapshot);
	return o->n;
}

/* Workers are alike: of the two orders that two of them have, the one whose key is the lesser. */
size_t world_key(const struct world *w, uint8_t key[KEY_MAX])
{
	static const uint8_t forth[] = { 0, 1 }, back[] = { 1, 0 };
	static uint8_t other[KEY_MAX];
	static struct out o;
	size_t n, m;

	o.v = key;
	o.w = w;
	o.nids = 0;
	note_ids(&o);
	n = put_world(&o, forth);
	if (w->setup.workers < 2)
		return n;
	o.v = other;
	m = put_world(&o, back);
	if (m == n && memcmp(other, key, n) < 0)
		memcpy(key, other, n);
	return n;
}
