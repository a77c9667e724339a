/* Payloads of jobs: what is written is read back, msgpack-c reads it as well, and nothing else is taken for a job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "job/codec.h"

static struct job_text text(const char *s)
{
	return (struct job_text){ s, strlen(s) };
}

static void every_kind_comes_back(void **state)
{
	const struct job jobs[] = {
		{ .kind = JOB_BATCH, .number = 1 },
		{ .kind = JOB_LIST, .number = 127 },
		{ .kind = JOB_FAILED, .number = INT64_MAX },
		{ .kind = JOB_BATCH, .number = 4294967296 },
		{ .kind = JOB_ROW, .number = 300, .columns = 1, .key = { text("42") } },
		{ .kind = JOB_ROW, .number = 300, .position = 70000, .columns = 1, .key = { text("42") } },
		{ .kind = JOB_ROW,
		  .number = 5,
		  .columns = 4,
		  .key = { text(""), text("\"'\\"), text("\xe6\x97\xa5"), text("a long one that needs a head of its own") } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		struct buf b = BUF_INIT(JOB_PAYLOAD_MAX);
		struct job back;

		assert_int_equal(job_encode(&jobs[i], &b), 0);
		assert_int_equal(job_decode(b.data, b.len, &back, NULL), 0);
		assert_int_equal(back.kind, jobs[i].kind);
		assert_int_equal(back.number, jobs[i].number);
		assert_int_equal(back.position, jobs[i].position);
		assert_int_equal(back.columns, jobs[i].columns);
		for (unsigned c = 0; c < back.columns; c++) {
			assert_int_equal(back.key[c].n, jobs[i].key[c].n);
			assert_memory_equal(back.key[c].s, jobs[i].key[c].s, back.key[c].n);
		}
		buf_free(&b);
	}
}

static void it_is_msgpack(void **state)
{
	const struct job job = { .kind = JOB_ROW, .number = 70000, .columns = 2, .key = { text("7"), text("x") } };
	struct buf b = BUF_INIT(JOB_PAYLOAD_MAX);
	msgpack_unpacked u;
	size_t at = 0;

	(void)state;
	assert_int_equal(job_encode(&job, &b), 0);
	msgpack_unpacked_init(&u);
	assert_int_equal(msgpack_unpack_next(&u, b.data, b.len, &at), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(at, b.len);
	assert_int_equal(u.data.type, MSGPACK_OBJECT_ARRAY);
	assert_int_equal(u.data.via.array.size, 4);
	assert_int_equal(u.data.via.array.ptr[0].via.u64, JOB_VERSION);
	assert_int_equal(u.data.via.array.ptr[2].via.u64, 70000);
	assert_int_equal(u.data.via.array.ptr[3].via.array.size, 2);
	msgpack_unpacked_destroy(&u);
	buf_free(&b);
}

static void other_encodings_of_the_same_are_read(void **state)
{
	static const unsigned char wide[] = { 0x93, 0xcc, 1, 0xd9, 1, 'B', 0xd3, 0, 0, 0, 0, 0, 0, 0, 9 };
	struct job job;

	(void)state;
	assert_int_equal(job_decode(wide, sizeof(wide), &job, NULL), 0);
	assert_int_equal(job.number, 9);
}

static void what_is_no_job_is_refused(void **state)
{
#define BYTES(...) (const unsigned char[]){ __VA_ARGS__ }, sizeof((const unsigned char[]){ __VA_ARGS__ })
	const struct {
		const char *why;
		const unsigned char *bytes;
		size_t n;
	} rows[] = {
		{ "an empty array", BYTES(0x90) },
		{ "a map", BYTES(0x83, 1, 1, 1, 1, 1, 1) },
		{ "a huge array", BYTES(0xdd, 0xff, 0xff, 0xff, 0xff) },
		{ "an older version", BYTES(0x93, 0, 0xa1, 'B', 1) },
		{ "an unknown kind", BYTES(0x93, 1, 0xa1, 'X', 1) },
		{ "a kind of two letters", BYTES(0x93, 1, 0xa2, 'B', 'B', 1) },
		{ "number 0", BYTES(0x93, 1, 0xa1, 'B', 0) },
		{ "a negative number", BYTES(0x93, 1, 0xa1, 'B', 0xff) },
		{ "a negative number in 64 bits", BYTES(0x93, 1, 0xa1, 'B', 0xd3, 0xff, 0, 0, 0, 0, 0, 0, 1) },
		{ "an unsigned one beyond int64", BYTES(0x93, 1, 0xa1, 'B', 0xcf, 0xff, 0, 0, 0, 0, 0, 0, 1) },
		{ "a number as a float", BYTES(0x93, 1, 0xa1, 'B', 0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0) },
		{ "bytes behind it", BYTES(0x93, 1, 0xa1, 'B', 1, 1) },
		{ "cut short", BYTES(0x93, 1, 0xa1, 'B') },
		{ "a batch with a key", BYTES(0x94, 1, 0xa1, 'B', 1, 0x91, 0xa1, 'x') },
		{ "a row without a key", BYTES(0x93, 1, 0xa1, 'R', 1) },
		{ "a row with an empty key", BYTES(0x94, 1, 0xa1, 'R', 1, 0x90) },
		{ "five columns", BYTES(0x94, 1, 0xa1, 'R', 1, 0x95, 0xa0, 0xa0, 0xa0, 0xa0, 0xa0) },
		{ "place 0 in its window", BYTES(0x95, 1, 0xa1, 'R', 1, 0x91, 0xa1, 'x', 0) },
		{ "a place that is a text", BYTES(0x95, 1, 0xa1, 'R', 1, 0x91, 0xa1, 'x', 0xa1, '1') },
		{ "a batch with a place", BYTES(0x95, 1, 0xa1, 'B', 1, 0x91, 0xa1, 'x', 1) },
		{ "a key that is a number", BYTES(0x94, 1, 0xa1, 'R', 1, 0x91, 1) },
		{ "a NUL in a key", BYTES(0x94, 1, 0xa1, 'R', 1, 0x91, 0xa1, 0) },
		{ "broken UTF-8", BYTES(0x94, 1, 0xa1, 'R', 1, 0x91, 0xa1, 0xff) },
		{ "a string longer than all bytes", BYTES(0x94, 1, 0xa1, 'R', 1, 0x91, 0xdb, 0xff, 0xff, 0xff, 0xff, 'x') },
	};
	struct job job;

	(void)state;
	assert_int_equal(job_decode("", 0, &job, NULL), ST_INPUT);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;

		if (job_decode(rows[i].bytes, rows[i].n, &job, &err) != ST_INPUT || err.msg[0] == '\0')
			fail_msg("%s was taken for a job", rows[i].why);
	}
}

static void what_does_not_fit_is_not_written(void **state)
{
	static char big[JOB_PAYLOAD_MAX + 1];
	struct job job = { .kind = JOB_ROW, .number = 1, .columns = 1 };
	struct buf b = BUF_INIT(2 * JOB_PAYLOAD_MAX);

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	job.key[0] = text(big);
	assert_int_equal(job_encode(&job, &b), ST_LIMIT);
	job.key[0] = (struct job_text){ "a\0b", 3 };
	assert_int_equal(job_encode(&job, &b), ST_INPUT);
	job.key[0] = text("\xc0\x80");
	assert_int_equal(job_encode(&job, &b), ST_INPUT);
	job.number = 0;
	job.key[0] = text("x");
	assert_int_equal(job_encode(&job, &b), ST_INPUT);
	buf_free(&b);
}

static void a_job_of_a_later_version_is_told_from_nonsense(void **state)
{
	static const unsigned char later[] = { 0x94, 2, 0xa1, 'Z', 1, 0xc0 }, nonsense[] = { 0x94, 2, 7, 'Z', 1, 0xc0 };
	struct err err = ERR_INIT;
	struct job job;

	(void)state;
	assert_int_equal(job_decode(later, sizeof(later), &job, &err), ST_NEWER);
	assert_string_equal(err.msg, "a job of version 2, this program knows 1");
	assert_int_equal(job_decode(nonsense, sizeof(nonsense), &job, &err), ST_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_comes_back),
		cmocka_unit_test(it_is_msgpack),
		cmocka_unit_test(other_encodings_of_the_same_are_read),
		cmocka_unit_test(what_is_no_job_is_refused),
		cmocka_unit_test(what_does_not_fit_is_not_written),
		cmocka_unit_test(a_job_of_a_later_version_is_told_from_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
