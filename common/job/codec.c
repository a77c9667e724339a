#include "job/codec.h"

#include <stdbool.h>
#include <string.h>

#include <msgpack.h>

#include "core/text.h"

static bool is_kind(int c)
{
	return c == JOB_BATCH || c == JOB_LIST || c == JOB_ROW || c == JOB_FAILED;
}

static bool key_text_ok(const struct job_text *t)
{
	return memchr(t->s, '\0', t->n) == NULL && text_utf8_valid(t->s, t->n);
}

/* ------------------------------------------------------------ writing */

static int append(void *out, const char *bytes, size_t n)
{
	return buf_add(out, bytes, n);
}

/* msgpack-c reports what `append` returned; whether all fitted is asked of the buffer once, at the end. */
static void pack(const struct job *job, struct buf *out)
{
	const char kind = (char)job->kind;
	msgpack_packer pk;

	msgpack_packer_init(&pk, out, append);
	msgpack_pack_array(&pk, job->kind != JOB_ROW ? 3 : job->position > 0 ? 5 : 4);
	msgpack_pack_int(&pk, JOB_VERSION);
	msgpack_pack_str(&pk, 1);
	msgpack_pack_str_body(&pk, &kind, 1);
	msgpack_pack_int64(&pk, job->number);
	if (job->kind != JOB_ROW)
		return;
	msgpack_pack_array(&pk, job->columns);
	for (unsigned c = 0; c < job->columns; c++) {
		msgpack_pack_str(&pk, job->key[c].n);
		msgpack_pack_str_body(&pk, job->key[c].s, job->key[c].n);
	}
	if (job->position > 0)
		msgpack_pack_int64(&pk, job->position);
}

int job_encode(const struct job *job, struct buf *out)
{
	size_t before = out->len, bytes = 0;

	if (!is_kind((int)job->kind) || job->number < 1 ||
	    (job->kind == JOB_ROW ? job->columns < 1 || job->columns > JOB_KEY_COLUMNS_MAX || job->position < 0 :
				    job->columns != 0 || job->position != 0))
		return ST_INPUT;
	for (unsigned c = 0; c < job->columns; c++) {
		if (job->key[c].n > JOB_PAYLOAD_MAX || (bytes += job->key[c].n) > JOB_PAYLOAD_MAX - 64)
			return ST_LIMIT;
		if (!key_text_ok(&job->key[c]))
			return ST_INPUT;
	}
	pack(job, out);
	return buf_ok(out) && out->len - before <= JOB_PAYLOAD_MAX ? 0 : ST_LIMIT;
}

/* ------------------------------------------------------------ reading */

struct reader {
	const unsigned char *at, *end;
};

static bool read_bytes(struct reader *r, size_t n, const unsigned char **ret)
{
	if ((size_t)(r->end - r->at) < n)
		return false;
	*ret = r->at;
	r->at += n;
	return true;
}

/* The next @n bytes as an unsigned number, most significant byte first. */
static bool read_big_endian(struct reader *r, size_t n, uint64_t *ret)
{
	const unsigned char *p;
	uint64_t v = 0;

	if (!read_bytes(r, n, &p))
		return false;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	*ret = v;
	return true;
}

/* A number that is not negative, in any of msgpack's encodings of it. */
static bool read_number(struct reader *r, int64_t *ret)
{
	static const struct {
		unsigned char head;
		size_t bytes;
		uint64_t max; /* of the signed ones: a greater one is negative */
	} heads[] = {
		{ 0xcc, 1, UINT64_MAX }, { 0xcd, 2, UINT64_MAX }, { 0xce, 4, UINT64_MAX }, { 0xcf, 8, INT64_MAX },
		{ 0xd0, 1, INT8_MAX },   { 0xd1, 2, INT16_MAX },  { 0xd2, 4, INT32_MAX },  { 0xd3, 8, INT64_MAX },
	};
	const unsigned char *head;
	uint64_t v;

	if (!read_bytes(r, 1, &head))
		return false;
	if (*head <= 0x7f) {
		*ret = *head;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		if (heads[i].head != *head)
			continue;
		if (!read_big_endian(r, heads[i].bytes, &v) || v > heads[i].max)
			return false;
		*ret = (int64_t)v;
		return true;
	}
	return false;
}

static bool read_text(struct reader *r, struct job_text *ret)
{
	const unsigned char *head, *p;
	uint64_t n;

	if (!read_bytes(r, 1, &head))
		return false;
	if (*head >= 0xa0 && *head <= 0xbf)
		n = *head & 0x1f;
	else if (*head < 0xd9 || *head > 0xdb || !read_big_endian(r, (size_t)1 << (*head - 0xd9), &n))
		return false;
	if (n > JOB_PAYLOAD_MAX || !read_bytes(r, (size_t)n, &p))
		return false;
	ret->s = (const char *)p;
	ret->n = (size_t)n;
	return true;
}

/* A short array's head: the only kind that payloads need. */
static bool read_array(struct reader *r, unsigned *ret)
{
	const unsigned char *head;

	if (!read_bytes(r, 1, &head) || (*head & 0xf0) != 0x90)
		return false;
	*ret = *head & 0x0f;
	return true;
}

static int read_key(struct reader *r, struct job *job, struct err *err)
{
	if (!read_array(r, &job->columns) || job->columns < 1 || job->columns > JOB_KEY_COLUMNS_MAX)
		return err_set(err, ST_INPUT, "a row job needs a key of 1 to %d columns", JOB_KEY_COLUMNS_MAX);
	for (unsigned c = 0; c < job->columns; c++) {
		if (!read_text(r, &job->key[c]))
			return err_set(err, ST_INPUT, "column %u of the key is not a string", c + 1);
		if (!key_text_ok(&job->key[c]))
			return err_set(err, ST_INPUT, "column %u of the key is not UTF-8 without NUL", c + 1);
	}
	return 0;
}

int job_decode(const void *bytes, size_t n, struct job *ret, struct err *err)
{
	struct reader r = { .at = bytes, .end = (const unsigned char *)bytes + n };
	struct job job = { .number = 0 };
	struct job_text kind;
	unsigned elements;
	int64_t version;

	if (n > JOB_PAYLOAD_MAX)
		return err_set(err, ST_INPUT, "%zu bytes are too many for a job", n);
	if (!read_array(&r, &elements) || elements < 3 || elements > 5 || !read_number(&r, &version) || !read_text(&r, &kind) ||
	    kind.n != 1)
		return err_set(err, ST_INPUT, "not a job");
	/* Any kind, but nonsense seldom has one. */
	if (version > JOB_VERSION)
		return err_set(err, ST_NEWER, "a job of version %lld, this program knows %d", (long long)version, JOB_VERSION);
	if (version != JOB_VERSION)
		return err_set(err, ST_INPUT, "a job of version %lld, this program knows %d", (long long)version, JOB_VERSION);
	if (!is_kind(kind.s[0]))
		return err_set(err, ST_INPUT, "not a kind of job");
	job.kind = (enum job_kind)kind.s[0];
	if (elements < (job.kind == JOB_ROW ? 4 : 3) || elements > (job.kind == JOB_ROW ? 5 : 3) || !read_number(&r, &job.number) ||
	    job.number < 1)
		return err_set(err, ST_INPUT, "not a job's number");
	if (job.kind == JOB_ROW && read_key(&r, &job, err) != 0)
		return ST_INPUT;
	if (elements == 5 && (!read_number(&r, &job.position) || job.position < 1))
		return err_set(err, ST_INPUT, "not a row's position");
	if (r.at != r.end)
		return err_set(err, ST_INPUT, "bytes after the end of the job");
	*ret = job;
	return 0;
}
