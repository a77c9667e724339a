/*
 * test_buf.c - growing strings and lists with a ceiling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "core/buf.h"
#include "core/strvec.h"

static void a_fresh_buffer_is_an_empty_string(void **state)
{
	struct buf b = BUF_INIT(10);

	(void)state;
	assert_string_equal(b.data, "");
	assert_true(buf_ok(&b));
	buf_reset(&b);
	buf_free(&b);
	buf_free(&b);
	assert_string_equal(b.data, "");
}

static void appends_follow_each_other(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(1000);

	(void)state;
	assert_int_equal(buf_puts(&b, "one"), 0);
	assert_int_equal(buf_putc(&b, ' '), 0);
	assert_int_equal(buf_printf(&b, "%d-%s", 2, "three"), 0);
	assert_int_equal(buf_add(&b, "\0x", 2), 0);
	assert_int_equal(b.len, 13);
	assert_memory_equal(b.data, "one 2-three\0x", 14);
}

static void it_takes_exactly_its_ceiling(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(100);

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_putc(&b, 'x'), 0);
	assert_int_equal(b.len, 100);
	assert_int_equal(buf_add(&b, "", 0), 0);
	assert_int_equal(buf_putc(&b, 'x'), ST_LIMIT);
}

static void one_failed_append_fails_all_later_ones(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(5);

	(void)state;
	buf_puts(&b, "abc");
	assert_int_equal(buf_printf(&b, "%s", "too long"), ST_LIMIT);
	assert_false(buf_ok(&b));
	assert_string_equal(b.data, "");
	assert_int_equal(buf_puts(&b, "a"), ST_LIMIT);
	assert_false(buf_ok(&b));
	buf_reset(&b);
	assert_int_equal(buf_puts(&b, "a"), 0);
	assert_string_equal(b.data, "a");
}

static void reset_keeps_the_memory(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(1000);
	char *data;

	(void)state;
	buf_printf(&b, "%200s", "");
	data = b.data;
	buf_reset(&b);
	assert_string_equal(b.data, "");
	buf_puts(&b, "x");
	assert_ptr_equal(b.data, data);
}

static void a_detached_string_is_the_callers(void **state)
{
	struct buf b = BUF_INIT(10);
	char *s;

	(void)state;
	s = buf_detach(&b);
	assert_string_equal(s, "");
	free(s);
	buf_puts(&b, "hello");
	s = buf_detach(&b);
	assert_string_equal(s, "hello");
	assert_string_equal(b.data, "");
	buf_puts(&b, "again");
	assert_string_equal(s, "hello");
	free(s);
	buf_puts(&b, "far too long for it");
	assert_null(buf_detach(&b));
	assert_true(buf_ok(&b));
}

static void write_file(const char *path, const char *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void a_file_is_read_byte_for_byte_up_to_the_ceiling(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(50000);
	CLEANUP(buf_free) struct buf small = BUF_INIT(49999);
	char path[] = "/tmp/drover-test-buf-XXXXXX";
	static char bytes[50000];
	struct err err = ERR_INIT;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7);
	write_file(path, bytes, sizeof(bytes));
	assert_int_equal(buf_read_file(&b, path, &err), 0);
	assert_int_equal(b.len, sizeof(bytes));
	assert_memory_equal(b.data, bytes, sizeof(bytes));
	assert_int_equal(buf_read_file(&small, path, &err), ST_LIMIT);
	assert_non_null(strstr(err.msg, "49999 bytes"));
	unlink(path);
}

static void a_missing_file_and_a_folder_say_why(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(100);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(buf_read_file(&b, "/nonexistent/x.sql", &err), ST_IO);
	assert_string_equal(err.msg, "cannot open '/nonexistent/x.sql': No such file or directory");
	assert_int_equal(buf_read_file(&b, "/tmp", &err), ST_IO);
	assert_string_equal(err.msg, "cannot read '/tmp': Is a directory");
}

static void a_list_owns_its_strings_and_ends_with_null(void **state)
{
	char text[] = "first";
	struct strvec l;

	(void)state;
	strvec_init(&l, 100);
	assert_null(l.v[0]);
	assert_int_equal(strvec_push(&l, text), 0);
	assert_int_equal(strvec_push_n(&l, "second half", 6), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(strvec_push(&l, "more"), 0);
	memset(text, 'x', 5);
	assert_string_equal(l.v[0], "first");
	assert_string_equal(l.v[1], "second");
	assert_int_equal(l.n, 52);
	assert_null(l.v[52]);
	assert_true(strvec_has(&l, "second"));
	assert_false(strvec_has(&l, "sec"));
	strvec_sort(&l);
	assert_string_equal(l.v[0], "first");
	assert_string_equal(l.v[51], "second");
	strvec_free(&l);
	assert_null(l.v[0]);
}

static void a_list_has_a_ceiling(void **state)
{
	CLEANUP(strvec_free) struct strvec l;

	(void)state;
	strvec_init(&l, 2);
	strvec_push(&l, "a");
	strvec_push(&l, "b");
	assert_true(strvec_ok(&l));
	assert_int_equal(strvec_push(&l, "c"), ST_LIMIT);
	assert_false(strvec_ok(&l));
	assert_int_equal(l.n, 0);
	assert_int_equal(strvec_push(&l, "d"), ST_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fresh_buffer_is_an_empty_string),
		cmocka_unit_test(appends_follow_each_other),
		cmocka_unit_test(it_takes_exactly_its_ceiling),
		cmocka_unit_test(one_failed_append_fails_all_later_ones),
		cmocka_unit_test(reset_keeps_the_memory),
		cmocka_unit_test(a_detached_string_is_the_callers),
		cmocka_unit_test(a_file_is_read_byte_for_byte_up_to_the_ceiling),
		cmocka_unit_test(a_missing_file_and_a_folder_say_why),
		cmocka_unit_test(a_list_owns_its_strings_and_ends_with_null),
		cmocka_unit_test(a_list_has_a_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
