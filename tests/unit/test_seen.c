/* The audit's difference: jobs that were seen in Redis against those that should be there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "steward/seen.h"

static struct job row(int64_t window, const char *a, const char *b)
{
	struct job job = { .kind = JOB_ROW, .number = window, .columns = b != NULL ? 2 : 1, .key = { { a, strlen(a) } } };

	if (b != NULL)
		job.key[1] = (struct job_text){ b, strlen(b) };
	return job;
}

static void exactly_what_was_added_is_seen(void **state)
{
	struct seen s;

	(void)state;
	seen_init(&s, 42, SEEN_MAX);
	for (int64_t i = 1; i <= 10000; i++) {
		const struct job job = { .kind = i % 2 != 0 ? JOB_BATCH : JOB_FAILED, .number = i };

		assert_int_equal(seen_add(&s, &job), 0);
	}
	seen_seal(&s);
	for (int64_t i = 1; i <= 10001; i++) {
		const struct job batch = { .kind = JOB_BATCH, .number = i }, failed = { .kind = JOB_FAILED, .number = i };

		assert_int_equal(seen_has(&s, &batch), i % 2 != 0 && i <= 10000);
		assert_int_equal(seen_has(&s, &failed), i % 2 == 0 && i <= 10000);
	}
	seen_free(&s);
}

static void a_batch_is_the_same_listed_or_not(void **state)
{
	const struct job listed = { .kind = JOB_LIST, .number = 7 }, batch = { .kind = JOB_BATCH, .number = 7 };
	struct seen s;

	(void)state;
	seen_init(&s, 1, 10);
	assert_int_equal(seen_add(&s, &listed), 0);
	seen_seal(&s);
	assert_true(seen_has(&s, &batch));
	seen_free(&s);
}

static void keys_are_told_apart_column_by_column(void **state)
{
	const struct job in[] = { row(1, "a", "b"), row(1, "ab", ""), row(2, "12345678", NULL), row(2, "123456789", NULL) };
	const struct job out[] = { row(1, "", "ab"),         row(1, "a", NULL),       row(2, "a", "b"),
				   row(1, "12345678", NULL), row(2, "1234567", NULL), row(2, "12345678", "") };
	struct seen s;

	(void)state;
	seen_init(&s, 9, 10);
	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		assert_int_equal(seen_add(&s, &in[i]), 0);
	seen_seal(&s);
	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		assert_true(seen_has(&s, &in[i]));
	for (size_t i = 0; i < ARRAY_SIZE(out); i++)
		if (seen_has(&s, &out[i]))
			fail_msg("row %zu", i);
	seen_free(&s);
}

static void there_is_a_ceiling(void **state)
{
	struct seen s;

	(void)state;
	seen_init(&s, 3, 300);
	for (int64_t i = 1; i <= 301; i++) {
		const struct job job = { .kind = JOB_BATCH, .number = i };

		assert_int_equal(seen_add(&s, &job), i <= 300 ? 0 : ST_LIMIT);
	}
	seen_free(&s);
}

static void nothing_was_seen_in_an_empty_redis(void **state)
{
	const struct job job = { .kind = JOB_BATCH, .number = 1 };
	struct seen s;

	(void)state;
	seen_init(&s, 3, 300);
	seen_seal(&s);
	assert_false(seen_has(&s, &job));
	seen_free(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(exactly_what_was_added_is_seen),       cmocka_unit_test(a_batch_is_the_same_listed_or_not),
		cmocka_unit_test(keys_are_told_apart_column_by_column), cmocka_unit_test(there_is_a_ceiling),
		cmocka_unit_test(nothing_was_seen_in_an_empty_redis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
