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
	buf_init(&p->payload, JOB_PAYLOAD_MAX);
}

void push_abandon(struct push *p)
{
	if (p->waiting > 0)
		redis_discard(p->queue->redis);
	p->waiting = 0;
	p->bytes = 0;
}

void push_close(struct push *p)
{
	push_abandon(p);
	buf_free(&p->payload);
}

int push_flush(struct push *p, struct err *err)
{
	int rc = 0;

	while (p->waiting > 0) {
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
	p->waiting = 0;
	p->bytes = 0;
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

static int add(struct push *p, const struct job *job, struct err *err)
{
	const char *argv[5] = { "XADD", p->queue->keys.jobs, "*", JOB_FIELD };
	size_t lens[5] = { 4, strlen(argv[1]), 1, strlen(JOB_FIELD) };
	int rc = encode(p, job, err);

	if (rc != 0)
		return rc;
	argv[4] = p->payload.data;
	lens[4] = p->payload.len;
	rc = redis_append_argv(p->queue->redis, err, 5, argv, lens);
	return rc == 0 ? sent(p, err) : rc;
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
