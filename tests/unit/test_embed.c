/*
 * test_embed.c - files that CMake embeds (sql/, lua/) arrive byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/util.h"
#include "embedded.h"
#include "sql.h"

static void assert_same_as_file(const char *text, const char *name)
{
	const char *root = getenv("DROVER_SOURCE_DIR");
	char path[4096], bytes[4096];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/unit/embed/%s", root ? root : ".", name);
	f = fopen(path, "rb");
	if (f == NULL)
		fail_msg("cannot open '%s': set DROVER_SOURCE_DIR", path);
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	assert_int_equal(strlen(text), n);
	assert_memory_equal(text, bytes, n);
}

static void embedded_text_is_the_file_byte_for_byte(void **state)
{
	(void)state;
	assert_same_as_file(TEXT_NASTY, "nasty.txt");
	assert_same_as_file(TEXT_PLAIN, "plain.txt");
	assert_same_as_file(TEXT_EMPTY, "empty.txt");
}

static void schema_files_are_numbered_from_1_without_gaps(void **state)
{
	int version = 0;

	(void)state;
	for (const struct sql_schema_file *f = sql_schema; f->text != NULL; f++) {
		assert_int_equal(f->version, ++version);
		assert_int_equal(atoi(f->name), version);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(embedded_text_is_the_file_byte_for_byte),
		cmocka_unit_test(schema_files_are_numbered_from_1_without_gaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
