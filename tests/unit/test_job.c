/* Back-off, names of keys, stream entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/util.h"
#include "job/backoff.h"
#include "job/keys.h"
#include "worker/entry.h"

static void a_list_gives_its_ceilings_in_turn(void **state)
{
	const uint64_t list[] = { 1000, 5000, 30000 };
	uint64_t top[4] = { 0 };
	struct rng rng;

	(void)state;
	rng_seed(&rng, 7);
	for (int i = 0; i < 4000; i++) {
		for (unsigned attempt = 1; attempt <= 4; attempt++) {
			uint64_t ms = backoff_list_ms(list, 3, attempt, &rng);

			assert_true(ms >= 1 && ms <= list[attempt < 3 ? attempt - 1 : 2]);
			top[attempt - 1] = ms > top[attempt - 1] ? ms : top[attempt - 1];
		}
	}
	assert_true(top[0] > 900 && top[1] > 4500 && top[2] > 27000 && top[3] > 27000); /* full jitter uses all of it */
	assert_int_equal(backoff_list_ms(list, 0, 1, &rng), 1);
}

static void keys_share_a_hash_tag(void **state)
{
	struct job_keys k;
	char worker[JOB_KEY_NAME_MAX], bell[JOB_KEY_NAME_MAX], other[JOB_KEY_NAME_MAX];

	(void)state;
	job_keys_make(&k, "a1b2", 7);
	assert_string_equal(k.jobs, "drover:{a1b2:7}:jobs");
	assert_string_equal(k.delayed, "drover:{a1b2:7}:delayed");
	assert_string_equal(k.marker, "drover:{a1b2:7}:marker");
	job_worker_key(worker, "a1b2", "web-1");
	assert_string_equal(worker, "drover:a1b2:worker:web-1");
	job_bell_key(bell, "a1b2");
	assert_string_equal(bell, "drover:a1b2:bell");
	/* Too long: cut, never over the end. */
	memset(other, 'x', sizeof(other) - 1);
	other[sizeof(other) - 1] = '\0';
	job_keys_make(&k, other, INT32_MAX);
	job_worker_key(worker, other, other);
	job_bell_key(bell, other);
	assert_true(strlen(k.delayed) < JOB_KEY_NAME_MAX && strlen(worker) < JOB_KEY_NAME_MAX && strlen(bell) < JOB_KEY_NAME_MAX);
}

static void ids_are_read_strictly(void **state)
{
	const char *const bad[] = { "", "-", "1", "1-", "-1", "1-2-3", "a-1", "1-a", " 1-1", "99999999999999999999-1" };
	struct entry_id id = { 0 }, later = { 5, 1 };
	char text[ENTRY_ID_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(entry_id_parse(bad[i], strlen(bad[i]), &id));
	assert_true(entry_id_parse("18446744073709551615-18446744073709551615", 41, &id));
	entry_id_print(id, text);
	assert_string_equal(text, "18446744073709551615-18446744073709551615");
	assert_true(entry_id_parse("5-0", 3, &id));
	assert_int_equal(entry_id_compare(id, later), -1);
	assert_int_equal(entry_id_compare(later, id), 1);
	assert_int_equal(entry_id_compare(id, id), 0);
}

struct heard {
	unsigned jobs, foreign;
	int64_t last;
};

static void hear(void *arg, struct entry *e, struct entry_id id, const char *why)
{
	struct heard *h = arg;

	(void)id;
	if (e == NULL) {
		assert_non_null(why);
		h->foreign++;
		return;
	}
	h->jobs++;
	h->last = e->job.number;
	free(e);
}

static void answers_are_read_entry_by_entry(void **state)
{
	static const char answer[] = "*1\r\n*2\r\n$4\r\njobs\r\n*5\r\n"
				     "*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nj\r\n$5\r\n\x93\x01\xa1\x42\x07\r\n" /* a batch */
				     "*2\r\n$3\r\n2-0\r\n*-1\r\n"                                         /* deleted */
				     "*2\r\n$3\r\n3-0\r\n*2\r\n$1\r\nx\r\n$5\r\nhello\r\n"                /* another field */
				     "*2\r\n$3\r\n4-0\r\n*2\r\n$1\r\nj\r\n$5\r\nhello\r\n"                /* not a job */
				     "*2\r\n$1\r\n?\r\n*2\r\n$1\r\nj\r\n$5\r\nhello\r\n";                 /* no id: passed over */
	redisReader *reader = redisReaderCreate();
	const redisReply *list;
	struct heard h = { 0 };
	const char *name;
	void *reply;
	size_t len;

	(void)state;
	assert_int_equal(redisReaderFeed(reader, answer, sizeof(answer) - 1), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	assert_true(entry_stream_at(reply, 0, &name, &len, &list));
	assert_false(entry_stream_at(reply, 1, &name, &len, &list));
	assert_int_equal(len, 4);
	assert_int_equal(entry_read_list(list, hear, &h), 0);
	assert_int_equal(h.jobs, 1);
	assert_int_equal(h.last, 7);
	assert_int_equal(h.foreign, 3);
	freeReplyObject(reply);
	redisReaderFree(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_gives_its_ceilings_in_turn),
		cmocka_unit_test(keys_share_a_hash_tag),
		cmocka_unit_test(ids_are_read_strictly),
		cmocka_unit_test(answers_are_read_entry_by_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
