#include "queue/push.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/failpoint.h"
#include "job/codec.h"
#include "redis/redis_sync.h"

void push_init(struct push *p, struct queue *queue)
{
	memset(p, 0, sizeof(*p));
	p->queue = queue;
	buf_init(&p->unsent, PUSH_CHUNK_BYTES + JOB_PAYLOAD_MAX + PUSH_CHUNK_JOBS * (JOB_KEY_NAME_MAX + 64));
	buf_init(&p->head, JOB_KEY_NAME_MAX + 64);
	buf_init(&p->payload, JOB_PAYLOAD_MAX);
}

/* Nothing waits any more. */
static void reset(struct push *p)
{
	p->waiting = p->nunsent = 0;
	p->bytes = 0;
	buf_reset(&p->unsent);
}

void push_abandon(struct push *p)
{
	if (p->waiting > 0)
		redis_discard(p->queue->redis);
	reset(p);
}

void push_close(struct push *p)
{
	push_abandon(p);
	buf_free(&p->unsent);
	buf_free(&p->head);
	buf_free(&p->payload);
}

int push_flush(struct push *p, struct err *err)
{
	int rc = p->nunsent > 0 ? redis_append_text(p->queue->redis, err, p->unsent.data, p->unsent.len, p->nunsent) : 0;

	while (p->waiting > 0 && (rc == 0 || rc == ST_REDIS)) {
		struct err why = ERR_INIT;
		int one = redis_take(p->queue->redis, NULL, &why);

		p->waiting--;
		if (one != 0 && rc == 0) {
			rc = one;
			if (err != NULL)
				*err = why;
		}
		if (one != 0 && one != ST_REDIS)
			break; /* the connection is lost: no more answers */
	}
	reset(p);
	return rc;
}

static int sent(struct push *p, struct err *err)
{
	p->waiting++;
	p->pushed++;
	p->bytes += p->payload.len;
	if (FAILPOINT_SET(push_one)) {
		int rc = push_flush(p, err);

		if (rc != 0)
			return rc;
	}
	FAILPOINT(push_one);
	return p->waiting >= PUSH_CHUNK_JOBS || p->bytes >= PUSH_CHUNK_BYTES ? push_flush(p, err) : 0;
}

static int encode(struct push *p, const struct job *job, struct err *err)
{
	int rc;

	buf_reset(&p->payload);
	rc = job_encode(job, &p->payload);
	return rc == 0 ? 0 : err_set(err, rc, "cannot make a job of %c %" PRId64 ": %s", (int)job->kind, job->number, status_text(rc));
}

/* The XADD of a payload of @n bytes, up to the payload. */
static void make_head(struct push *p, size_t n)
{
	const char *key = p->queue->keys.jobs;

	if (p->nunsent > 0 && p->head_for == n)
		return;
	buf_reset(&p->head);
	buf_printf(&p->head, "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(key), key, strlen(JOB_FIELD),
		   JOB_FIELD, n);
	p->head_for = n;
}

/* Row jobs come by the million: commands that differ in their payloads alone are not made one by one. */
static int add(struct push *p, const struct job *job, struct err *err)
{
	int rc = encode(p, job, err);

	if (rc != 0)
		return rc;
	make_head(p, p->payload.len);
	buf_add(&p->unsent, p->head.data, p->head.len);
	buf_add(&p->unsent, p->payload.data, p->payload.len);
	rc = buf_add(&p->unsent, "\r\n", 2);
	if (rc != 0) {
		push_abandon(p);
		return err_set(err, rc, "cannot make a job: %s", status_text(rc));
	}
	p->nunsent++;
	return sent(p, err);
}

int push_batch(struct push *p, int64_t number, bool listed, struct err *err)
{
	const struct job job = { .kind = listed ? JOB_LIST : JOB_BATCH, .number = number };

	return add(p, &job, err);
}

int push_row(struct push *p, int64_t number, int64_t position, const char *const *key, size_t ncolumns, struct err *err)
{
	struct job job = { .kind = JOB_ROW, .number = number, .position = position, .columns = (unsigned)ncolumns };

	for (size_t i = 0; i < ncolumns; i++)
		job.key[i] = (struct job_text){ key[i], strlen(key[i]) };
	return add(p, &job, err);
}

/* Due by the clock of the server that promotes: a script reads it, so no clock of ours comes in. */
static int add_delayed(struct push *p, uint64_t delay_ms, struct err *err)
{
	static const char script[] = "local t = redis.call('TIME') "
				     "return redis.call('ZADD', KEYS[1], 'NX', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1], ARGV[2])";
	char delay[24];
	const char *argv[6] = { "EVAL", script, "1", p->queue->keys.delayed, delay, p->payload.data };
	size_t lens[6] = { 4, sizeof(script) - 1, 1, strlen(argv[3]), 0, p->payload.len };

	lens[4] = (size_t)snprintf(delay, sizeof(delay), "%" PRIu64, delay_ms);
	return redis_append_argv(p->queue->redis, err, 6, argv, lens);
}

int push_failed(struct push *p, int64_t id, uint64_t delay_ms, struct err *err)
{
	const struct job job = { .kind = JOB_FAILED, .number = id };
	int rc;

	if (delay_ms == 0)
		return add(p, &job, err);
	rc = encode(p, &job, err);
	if (rc == 0)
		rc = add_delayed(p, delay_ms, err);
	return rc == 0 ? sent(p, err) : rc;
}

int push_mark(struct push *p, int64_t push_seq, struct err *err)
{
	int rc = push_flush(p, err);

	return rc == 0 ? redis_cmd(p->queue->redis, NULL, err, "SET %s %lld", p->queue->keys.marker, (long long)push_seq) : rc;
}
