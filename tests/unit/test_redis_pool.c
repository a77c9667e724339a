/* redis_pool: answers as hiredis would have made them, whatever comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/util.h"
#include "redis/redis_pool.h"

static redisReader *open_reader(struct redis_pool **ret_pool)
{
	redisReader *reader = redisReaderCreate();

	*ret_pool = redis_pool_new();
	assert_non_null(reader);
	assert_non_null(*ret_pool);
	redis_pool_use(*ret_pool, reader);
	return reader;
}

static void close_reader(redisReader *reader, struct redis_pool *pool)
{
	redisReaderFree(reader);
	redis_pool_free(pool);
}

static redisReply *next(redisReader *reader, const char *text, size_t n)
{
	void *reply = NULL;

	assert_int_equal(redisReaderFeed(reader, text, n), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	return reply;
}

static void answers_are_what_hiredis_makes_of_them(void **state)
{
	static const char text[] = "*5\r\n:42\r\n$-1\r\n$4\r\na\0bc\r\n*0\r\n*2\r\n+OK\r\n*1\r\n$0\r\n\r\n";
	struct redis_pool *pool;
	redisReader *reader = open_reader(&pool);
	redisReply *r;

	(void)state;
	for (int i = 0; i < 3; i++) {
		r = next(reader, text, sizeof(text) - 1);
		assert_int_equal(r->type, REDIS_REPLY_ARRAY);
		assert_int_equal(r->elements, 5);
		assert_int_equal(r->element[0]->integer, 42);
		assert_int_equal(r->element[1]->type, REDIS_REPLY_NIL);
		assert_int_equal(r->element[2]->len, 4);
		assert_memory_equal(r->element[2]->str, "a\0bc", 5);
		assert_int_equal(r->element[3]->elements, 0);
		assert_int_equal(r->element[4]->element[0]->type, REDIS_REPLY_STATUS);
		assert_string_equal(r->element[4]->element[0]->str, "OK");
		assert_int_equal(r->element[4]->element[1]->element[0]->len, 0);
		reader->fn->freeObject(r);
	}
	r = next(reader, "-ERR no\r\n", 9);
	assert_int_equal(r->type, REDIS_REPLY_ERROR);
	assert_string_equal(r->str, "ERR no");
	reader->fn->freeObject(r);
	close_reader(reader, pool);
}

static void strings_larger_than_a_block_and_many_parts(void **state)
{
	static char text[16 + 300000 + 2 + 20000 * 9];
	struct redis_pool *pool;
	redisReader *reader = open_reader(&pool);
	redisReply *r;
	size_t n = (size_t)snprintf(text, sizeof(text), "*20001\r\n$300000\r\n");

	(void)state;
	memset(text + n, 'x', 300000);
	n += 300000;
	n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n");
	for (int i = 0; i < 20000; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "$1\r\ny\r\n");
	r = next(reader, text, n);
	assert_int_equal(r->elements, 20001);
	assert_int_equal(strlen(r->element[0]->str), 300000);
	for (size_t i = 1; i < r->elements; i++)
		assert_string_equal(r->element[i]->str, "y");
	reader->fn->freeObject(r);
	close_reader(reader, pool);
}

static void what_was_begun_is_freed_with_the_reader(void **state)
{
	struct redis_pool *pool;
	redisReader *reader = open_reader(&pool);

	(void)state;
	assert_null(next(reader, "*3\r\n$1\r\na\r\n*2\r\n", 15));
	close_reader(reader, pool);
}

static void nonsense_and_too_much_are_errors(void **state)
{
	static const char *const texts[] = { "?\r\n", "*2\r\n$x\r\n", "*2147483647\r\n$3\r\nab\r\n???" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct redis_pool *pool;
		redisReader *reader = open_reader(&pool);
		void *reply = NULL;

		assert_int_equal(redisReaderFeed(reader, texts[i], strlen(texts[i])), REDIS_OK);
		assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_ERR);
		close_reader(reader, pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_what_hiredis_makes_of_them),
		cmocka_unit_test(strings_larger_than_a_block_and_many_parts),
		cmocka_unit_test(what_was_begun_is_freed_with_the_reader),
		cmocka_unit_test(nonsense_and_too_much_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
