#include "worker/entry.h"

#include <stdlib.h>
#include <string.h>

#include "job/keys.h"

static char *print_u64(uint64_t v, char *out)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	while (n > 0)
		*out++ = digits[--n];
	return out;
}

size_t entry_id_print(struct entry_id id, char out[ENTRY_ID_MAX])
{
	char *end = print_u64(id.ms, out);

	*end++ = '-';
	end = print_u64(id.seq, end);
	*end = '\0';
	return (size_t)(end - out);
}

static bool read_u64(const char **at, const char *end, uint64_t *ret)
{
	const char *p = *at;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	if (p == *at)
		return false;
	*at = p;
	*ret = v;
	return true;
}

bool entry_id_parse(const char *s, size_t n, struct entry_id *ret)
{
	const char *end = s + n;
	struct entry_id id;

	if (!read_u64(&s, end, &id.ms) || s == end || *s != '-')
		return false;
	s++;
	if (!read_u64(&s, end, &id.seq) || s != end)
		return false;
	*ret = id;
	return true;
}

int entry_id_compare(struct entry_id a, struct entry_id b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return a.seq == b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}

struct entry *entry_new(struct entry_id id, const char *payload, size_t bytes, const struct job *job)
{
	struct entry *e = calloc(1, sizeof(*e) + bytes);

	if (e == NULL)
		return NULL;
	e->id = id;
	e->payload_bytes = bytes;
	memcpy(e->payload, payload, bytes);
	e->job = *job;
	for (unsigned c = 0; c < job->columns; c++)
		e->job.key[c].s = e->payload + (job->key[c].s - payload);
	return e;
}

static bool is_array(const redisReply *r, size_t least)
{
	return r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements >= least;
}

static bool is_string(const redisReply *r)
{
	return r != NULL && r->type == REDIS_REPLY_STRING;
}

/* The payload of [field, value, ..], or NULL and why there is none. */
static const redisReply *find_payload(const redisReply *fields, const char **ret_why)
{
	*ret_why = "not a job's entry";
	if (!is_array(fields, 2) || fields->elements != 2 || !is_string(fields->element[0]) || !is_string(fields->element[1]))
		return NULL;
	if (fields->element[0]->len != strlen(JOB_FIELD) || memcmp(fields->element[0]->str, JOB_FIELD, strlen(JOB_FIELD)) != 0)
		return NULL;
	return fields->element[1];
}

static int read_entry(const redisReply *item, entry_fn fn, void *arg)
{
	const redisReply *payload;
	struct job job = { .number = 0 };
	struct err err = ERR_INIT;
	struct entry_id id;
	const char *why;
	struct entry *e;
	int rc;

	if (!is_array(item, 2) || !is_string(item->element[0]) || !entry_id_parse(item->element[0]->str, item->element[0]->len, &id))
		return 0;
	payload = find_payload(item->element[1], &why);
	if (payload == NULL) {
		fn(arg, NULL, id, why);
		return 0;
	}
	rc = job_decode(payload->str, payload->len, &job, &err);
	if (rc != 0 && rc != ST_NEWER) {
		fn(arg, NULL, id, err.msg);
		return 0;
	}
	e = entry_new(id, payload->str, payload->len, &job);
	if (e == NULL)
		return ST_NOMEM;
	e->newer = rc == ST_NEWER;
	fn(arg, e, id, e->newer ? err.msg : NULL);
	return 0;
}

int entry_read_list(const redisReply *list, entry_fn fn, void *arg)
{
	int rc = 0;

	if (!is_array(list, 0))
		return 0;
	for (size_t i = 0; i < list->elements && rc == 0; i++)
		rc = read_entry(list->element[i], fn, arg);
	return rc;
}

bool entry_stream_at(const redisReply *reply, size_t i, const char **ret_name, size_t *ret_len, const redisReply **ret_list)
{
	const redisReply *stream;

	if (!is_array(reply, i + 1))
		return false;
	stream = reply->element[i];
	if (!is_array(stream, 2) || !is_string(stream->element[0]))
		return false;
	*ret_name = stream->element[0]->str;
	*ret_len = stream->element[0]->len;
	*ret_list = stream->element[1];
	return true;
}
