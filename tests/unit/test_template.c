/*
 * :batch and :keys: replaced where they are tokens, and nowhere else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "migration/template.h"

static void placeholders_are_tokens(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "SELECT 1", "SELECT 1" },
		{ "FROM :batch b", "FROM <B> b" },
		{ "FROM :batch AS b", "FROM <B> AS b" },
		{ "FROM :batch", "FROM <B> AS batch" },
		{ "FROM :batch;", "FROM <B> AS batch;" },
		{ "FROM :batch WHERE true", "FROM <B> AS batch WHERE true" },
		{ "FROM :batch, x", "FROM <B> AS batch, x" },
		{ "FROM :batch JOIN x USING (id)", "FROM <B> AS batch JOIN x USING (id)" },
		{ "FROM :batch LEFT JOIN x ON true", "FROM <B> AS batch LEFT JOIN x ON true" },
		{ "FROM :batch NATURAL JOIN x", "FROM <B> AS batch NATURAL JOIN x" },
		{ "FROM :batch /* b */ \"B b\"", "FROM <B> /* b */ \"B b\"" },
		{ "FROM :batch -- b\n b", "FROM <B> -- b\n b" },
		{ "FROM :batch year", "FROM <B> year" },
		{ "USING :batch ON true", "USING <B> AS batch ON true" },
		{ "FROM x,:batch b", "FROM x,<B> b" },
		{ "(SELECT id FROM :batch)", "(SELECT id FROM <B> AS batch)" },
		{ "id = ANY (:keys)", "id = ANY (<K>)" },
		{ "f(:keys, :keys)", "f(<K>, <K>)" },
		{ "f(:keys::text[])", "f(<K>::text[])" },
		{ "a[x(:keys)]", "a[x(<K>)]" },
		{ "id=ANY(:keys)AND true", "id=ANY(<K>)AND true" },
		/* not tokens of their own */
		{ "':batch'", "':batch'" },
		{ "E'\\':batch'", "E'\\':batch'" },
		{ "\":batch\"", "\":batch\"" },
		{ "$$ :batch $$", "$$ :batch $$" },
		{ "$q$ :keys $$ :keys $q$ :keys", "$q$ :keys $$ :keys $q$ <K>" },
		{ "-- :batch\n1", "-- :batch\n1" },
		{ "/* :batch /* :batch */ :batch */ 1", "/* :batch /* :batch */ :batch */ 1" },
		{ "x::batch", "x::batch" },
		{ "x::keys", "x::keys" },
		{ "x:::batch", "x::<B> AS batch" },
		{ "x := batch", "x := batch" },
		{ ": batch", ": batch" },
		{ ":batches", ":batches" },
		{ ":batch_1", ":batch_1" },
		{ ":Batch", ":Batch" },
		/* an array's slice */
		{ "a[lo:keys]", "a[lo:keys]" },
		{ "a[:keys]", "a[:keys]" },
		{ "a[(1):batch]", "a[(1):batch]" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf out = BUF_INIT(1000);
		struct err err = ERR_INIT;

		if (template_fill(rows[i].text, "<B>", "<K>", &out, &err) != 0)
			fail_msg("'%s': %s", rows[i].text, err.msg);
		assert_string_equal(out.data, rows[i].want);
		buf_free(&out);
	}
}

static void what_cannot_be_scanned_is_refused(void **state)
{
	static const char *const texts[] = { "'x", "$$ x", "/* x", "\"x" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct buf out = BUF_INIT(1000);
		struct err err = ERR_INIT;

		assert_int_equal(template_fill(texts[i], "<B>", "<K>", &out, &err), ST_INPUT);
		buf_free(&out);
	}
}

static void a_text_that_grows_too_long_is_refused(void **state)
{
	struct buf out = BUF_INIT(10);
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(template_fill("SELECT FROM :batch b", "<B>", "<K>", &out, &err), ST_LIMIT);
	buf_free(&out);
}

static void positions_are_characters_and_lines_are_lines(void **state)
{
	(void)state;
	assert_int_equal(scan_byte_of("aüb", 3), 3);
	assert_int_equal(scan_byte_of("aüb", 99), 4);
	assert_int_equal(scan_line_of("a\nb\nc", 3), 2);
	assert_int_equal(scan_line_of("a\nb\nc", 4), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(placeholders_are_tokens),
		cmocka_unit_test(what_cannot_be_scanned_is_refused),
		cmocka_unit_test(a_text_that_grows_too_long_is_refused),
		cmocka_unit_test(positions_are_characters_and_lines_are_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
