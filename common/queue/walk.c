#include "queue/walk.h"

#include <stdio.h>
#include <string.h>

#include "lua.h"
#include "redis/redis_sync.h"

struct walk {
	struct queue *queue;
	walk_fn fn;
	void *arg;
	struct walk_counts counts;
};

static int see(struct walk *w, const char *payload, size_t n, struct err *err)
{
	struct job job;

	if (job_decode(payload, n, &job, NULL) != 0) {
		w->counts.foreign++;
		return 0;
	}
	w->counts.jobs++;
	return w->fn(w->arg, &job, err);
}

/* An entry is [id, [field, value, ...]]: ours has the one field. */
static int see_entry(struct walk *w, const redisReply *entry, struct err *err)
{
	const redisReply *fields = entry->type == REDIS_REPLY_ARRAY && entry->elements == 2 ? entry->element[1] : NULL;

	if (fields == NULL || fields->type != REDIS_REPLY_ARRAY || fields->elements != 2 ||
	    fields->element[1]->type != REDIS_REPLY_STRING || strcmp(fields->element[0]->str, JOB_FIELD) != 0) {
		w->counts.foreign++;
		return 0;
	}
	return see(w, fields->element[1]->str, (size_t)fields->element[1]->len, err);
}

/* [how many entries, the last one, [entry, ...]], as lua/walk.lua gives them. */
static int see_page(struct walk *w, const redisReply *page, char *ret_last, size_t size, size_t *ret_n, struct err *err)
{
	const redisReply *entries = page->elements == 3 ? page->element[2] : NULL;
	int rc = 0;

	if (entries == NULL || entries->type != REDIS_REPLY_ARRAY || page->element[0]->type != REDIS_REPLY_INTEGER ||
	    page->element[1]->type != REDIS_REPLY_STRING)
		return err_set(err, ST_REDIS, "Redis: unexpected answer to a look at the stream");
	*ret_n = (size_t)page->element[0]->integer;
	snprintf(ret_last, size, "(%.40s", page->element[1]->str);
	for (size_t i = 0; i < entries->elements && rc == 0; i++)
		rc = see_entry(w, entries->element[i], err);
	return rc;
}

static int walk_stream(struct walk *w, struct err *err)
{
	char from[48] = "-";
	size_t n = WALK_PAGE;

	while (n == WALK_PAGE) {
		redisReply *page = NULL;
		int rc = redis_cmd(w->queue->redis, &page, err, "EVAL %s 1 %s %s %s %d", LUA_WALK, w->queue->keys.jobs, JOB_GROUP, from,
				   WALK_PAGE);

		if (rc != 0)
			return rc;
		rc = see_page(w, page, from, sizeof(from), &n, err);
		freeReplyObject(page);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ZSCAN shows what is there from beginning to end at least once, whatever comes and goes meanwhile. */
static int walk_delayed(struct walk *w, struct err *err)
{
	char cursor[24] = "0";

	do {
		redisReply *page = NULL;
		int rc = redis_cmd(w->queue->redis, &page, err, "ZSCAN %s %s COUNT %d", w->queue->keys.delayed, cursor, WALK_PAGE);
		const redisReply *members;

		if (rc != 0)
			return rc;
		if (page->type != REDIS_REPLY_ARRAY || page->elements != 2 || page->element[1]->type != REDIS_REPLY_ARRAY) {
			freeReplyObject(page);
			return err_set(err, ST_REDIS, "Redis: unexpected answer to ZSCAN");
		}
		snprintf(cursor, sizeof(cursor), "%.20s", page->element[0]->str);
		members = page->element[1];
		for (size_t i = 0; i + 1 < members->elements && rc == 0; i += 2)
			rc = see(w, members->element[i]->str, (size_t)members->element[i]->len, err);
		freeReplyObject(page);
		if (rc != 0)
			return rc;
	} while (strcmp(cursor, "0") != 0);
	return 0;
}

int walk_jobs(struct queue *q, walk_fn fn, void *arg, struct walk_counts *ret, struct err *err)
{
	struct walk w = { .queue = q, .fn = fn, .arg = arg };
	int rc = walk_delayed(&w, err);

	if (rc == 0)
		rc = walk_stream(&w, err);
	if (rc == 0)
		rc = walk_delayed(&w, err);
	if (rc == 0 && ret != NULL)
		*ret = w.counts;
	return rc;
}
