/*
 * redis.c - Redis as the world has it: a stream whose entries have owners, and the delayed set; the scripts of common/queue/lua.
 */
#include <string.h>

#include "world.h"

struct queued job_of(const struct entry *e)
{
	return (struct queued){
		.id = (uint32_t)e->id.seq, .kind = (uint8_t)e->job.kind, .number = (uint8_t)e->job.number, .row = (uint8_t)e->id.ms
	};
}

static int compare(const struct queued *a, const struct queued *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return (int)a->row - (int)b->row;
}

/* XADD */
void redis_push(struct world *w, struct queued job)
{
	struct redis *r = &w->redis;

	if (r->nstream >= ENTRIES_MAX) {
		violation(w, "entries without end");
		return;
	}
	job.id = ++w->next_id;
	job.owner = -1;
	job.idle = false;
	r->stream[r->nstream++] = job;
}

/* ZADD: a payload is a member but once. */
void redis_delay(struct world *w, struct queued job)
{
	struct redis *r = &w->redis;
	unsigned at = 0;

	job.id = 0;
	job.owner = -1;
	job.idle = false;
	while (at < r->ndelayed && compare(&r->delayed[at], &job) < 0)
		at++;
	if (at < r->ndelayed && compare(&r->delayed[at], &job) == 0)
		return;
	if (r->ndelayed >= ENTRIES_MAX / 2) {
		violation(w, "delayed jobs without end");
		return;
	}
	memmove(r->delayed + at + 1, r->delayed + at, (r->ndelayed - at) * sizeof(job));
	r->delayed[at] = job;
	r->ndelayed++;
}

bool redis_has(const struct world *w, const struct queued *job)
{
	for (unsigned i = 0; i < w->redis.nstream; i++)
		if (compare(&w->redis.stream[i], job) == 0)
			return true;
	for (unsigned i = 0; i < w->redis.ndelayed; i++)
		if (compare(&w->redis.delayed[i], job) == 0)
			return true;
	return false;
}

static struct queued *find(struct world *w, uint32_t id)
{
	for (unsigned i = 0; i < w->redis.nstream; i++)
		if (w->redis.stream[i].id == id)
			return &w->redis.stream[i];
	return NULL;
}

/* XACK and XDEL */
static void drop(struct world *w, const struct queued *e)
{
	struct redis *r = &w->redis;
	size_t at = (size_t)(e - r->stream);

	memmove(r->stream + at, r->stream + at + 1, (r->nstream - at - 1) * sizeof(*e));
	r->nstream--;
}

static void give_back(struct world *w, const struct job_run *r, const struct request *req, int owner)
{
	for (size_t i = 0; i < r->n; i++) {
		struct queued job = job_of(r->entries[i]);
		const struct queued *e = find(w, job.id);

		if (!r->loose && (e == NULL || e->owner != owner))
			continue; /* fenced */
		if (e != NULL)
			drop(w, e);
		if (req->settle == SETTLE_DELAY)
			redis_delay(w, job);
		else
			redis_push(w, job);
		tell(w, req->settle == SETTLE_DELAY ? "it is put off" : "it is given back");
	}
}

void redis_settle(struct world *w, const struct job_run *r, const struct request *req, int owner)
{
	if (req->settle == SETTLE_BACK || req->settle == SETTLE_DELAY) {
		give_back(w, r, req, owner);
		return;
	}
	for (unsigned i = 0; req->settle == SETTLE_PARTS && i < r->nparts; i++)
		redis_push(w, (struct queued){ .kind = JOB_BATCH, .number = (uint8_t)r->parts[i].number });
	if (req->settle == SETTLE_RETRY)
		redis_delay(w, (struct queued){ .kind = JOB_FAILED, .number = (uint8_t)r->failed_id });
	for (size_t i = 0; i < r->n; i++) {
		struct queued job = job_of(r->entries[i]);
		const struct queued *e = find(w, job.id);

		if (!ledger_is_settled(w, &job))
			violation(w, "%c%u is acknowledged before it is settled", job.kind, job.kind == JOB_ROW ? job.row : job.number);
		if (e != NULL)
			drop(w, e);
	}
	tell(w, req->settle == SETTLE_PARTS ? "acknowledged, its parts pushed" :
		req->settle == SETTLE_RETRY ? "acknowledged, its next attempt put off" :
					      "acknowledged");
}
