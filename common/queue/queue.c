#include "queue/queue.h"

#include <stdlib.h>
#include <string.h>

#include "lua.h"
#include "redis/redis_sync.h"

void queue_init(struct queue *q, struct redis_sync *redis, const char *installation, int migration_id)
{
	q->redis = redis;
	job_keys_make(&q->keys, installation, migration_id);
}

static int append(struct queue *q, struct err *err, const char *a, const char *b, const char *c)
{
	const char *argv[3] = { a, b, c };
	int argc = c != NULL ? 3 : 2;

	return redis_append_argv(q->redis, err, argc, argv, NULL);
}

/* An integer reply; nil, and the error for a group that is not there, count nothing. */
static int take_integer(struct queue *q, uint64_t *ret, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_take(q->redis, &reply, err);

	if (rc != 0)
		return rc;
	*ret = reply->type == REDIS_REPLY_INTEGER && reply->integer > 0 ? (uint64_t)reply->integer : 0;
	freeReplyObject(reply);
	return 0;
}

/* XPENDING key group -> [count, first, last, consumers]; NOGROUP: nothing is pending. */
static int take_pending(struct queue *q, uint64_t *ret, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_take(q->redis, &reply, err);

	*ret = 0;
	if (rc == ST_REDIS)
		return 0;
	if (rc != 0)
		return rc;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 && reply->element[0]->type == REDIS_REPLY_INTEGER)
		*ret = (uint64_t)reply->element[0]->integer;
	freeReplyObject(reply);
	return 0;
}

int queue_depth(struct queue *q, bool with_bytes, struct queue_depth *ret, struct err *err)
{
	struct queue_depth d = { 0 };
	uint64_t more = 0;
	int rc;

	rc = append(q, err, "XLEN", q->keys.jobs, NULL);
	if (rc == 0)
		rc = append(q, err, "ZCARD", q->keys.delayed, NULL);
	if (rc == 0)
		rc = append(q, err, "XPENDING", q->keys.jobs, JOB_GROUP);
	if (rc == 0 && with_bytes)
		rc = append(q, err, "MEMORY", "USAGE", q->keys.jobs);
	if (rc == 0 && with_bytes)
		rc = append(q, err, "MEMORY", "USAGE", q->keys.delayed);
	if (rc == 0)
		rc = take_integer(q, &d.ready, err);
	if (rc == 0)
		rc = take_integer(q, &d.delayed, err);
	if (rc == 0)
		rc = take_pending(q, &d.leased, err);
	if (rc == 0 && with_bytes)
		rc = take_integer(q, &d.bytes, err);
	if (rc == 0 && with_bytes)
		rc = take_integer(q, &more, err);
	d.bytes += more;
	if (rc == 0)
		*ret = d;
	else
		redis_discard(q->redis);
	return rc;
}

int queue_make_group(struct queue *q, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = redis_cmd(q->redis, NULL, &why, "XGROUP CREATE %s %s 0 MKSTREAM", q->keys.jobs, JOB_GROUP);

	if (rc == ST_REDIS && strstr(why.msg, "BUSYGROUP") != NULL)
		return 0;
	if (rc != 0 && err != NULL)
		*err = why;
	return rc;
}

int queue_watch(struct queue *q, int64_t *ret_marker, struct buf *mended, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_cmd(q->redis, &reply, err, "EVAL %s 3 %s %s %s %s %u", LUA_WATCH, q->keys.jobs, q->keys.delayed, q->keys.marker,
			   JOB_GROUP, 3 * QUEUE_BYTES_MAX);

	if (rc != 0)
		return rc;
	*ret_marker = -1;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
		const redisReply *text = reply->element[i];

		if (text->type != REDIS_REPLY_STRING || text->len == 0)
			continue;
		if (i == 0)
			*ret_marker = strtoll(text->str, NULL, 10);
		else
			buf_printf(mended, "%s%s", mended->len > 0 ? "; " : "", text->str);
	}
	freeReplyObject(reply);
	return 0;
}

int queue_clear(struct queue *q, uint64_t *ret_jobs, struct err *err)
{
	struct queue_depth d = { 0 };
	int rc = queue_depth(q, false, &d, err);

	if (rc == ST_REDIS)
		rc = 0; /* something else stands under our keys: it goes as well */
	/* With XTRIM the pending list would keep entries that are no more. Workers that read meanwhile see NOGROUP and go on. */
	if (rc == 0)
		rc = queue_delete(q, err);
	if (rc == 0)
		rc = queue_make_group(q, err);
	if (rc == 0 && ret_jobs != NULL)
		*ret_jobs = queue_depth_jobs(&d);
	return rc;
}

int queue_delete(struct queue *q, struct err *err)
{
	return redis_cmd(q->redis, NULL, err, "UNLINK %s %s %s", q->keys.jobs, q->keys.delayed, q->keys.marker);
}
