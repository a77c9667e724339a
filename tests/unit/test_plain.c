/*
 * Sections that amount to a `set`: what is made of them, and what is left alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "migration/plain.h"

/* "schema.table (keys): column = expression; ..", or "no". The caller's to free(). */
static char *read(const char *text)
{
	struct migration_statement statement = { .text = strdup(text) };
	struct migration_statements section = { .v = &statement, .n = 1 };
	struct plain_update *u = NULL;
	struct buf out = BUF_INIT(10000);
	struct err err = ERR_INIT;

	if (plain_read(&section, &u, &err) != 0)
		fail_msg("%s: %s", text, err.msg);
	free(statement.text);
	if (u == NULL)
		return strdup("no");
	(void)buf_printf(&out, "%s%s%s (", u->schema != NULL ? u->schema : "", u->schema != NULL ? "." : "", u->table);
	for (size_t i = 0; i < u->keys.n; i++)
		(void)buf_printf(&out, "%s%s", i > 0 ? ", " : "", u->keys.v[i]);
	(void)buf_puts(&out, "):");
	for (size_t i = 0; i < u->nr_sets; i++)
		(void)buf_printf(&out, "%s %s =%s", i > 0 ? ";" : "", u->sets[i].column, u->sets[i].expression);
	plain_free(u);
	return buf_detach(&out);
}

static void a_plain_update_is_a_set(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id", "t (id): a = 1 " },
		{ "UPDATE t SET a=1 FROM :batch WHERE t.id=batch.id", "t (id): a =1 " },
		{ "UPDATE t SET a = t.b + t.id FROM :batch b WHERE b.id = t.id;", "t (id): a = \"t\".b + \"t\".id " },
		{ "update s.t AS x set a = x.b || f(x.c, c), \"B c\" = now() from :batch as y where x.id = y.id",
		  "s.t (id): a = \"t\".b || f(\"t\".c, c); B c = now() " },
		{ "UPDATE \"T\" x SET a = x.a FROM :batch b WHERE x.k = b.k AND b.id = x.id", "T (k, id): a = \"T\".a " },
		{ "UPDATE t SET a = (t.b, ',', ' FROM ')::text, c = CASE WHEN t.id > 7 THEN 1 END FROM :batch b WHERE (t.id = b.id)",
		  "t (id): a = (\"t\".b, ',', ' FROM ')::text; c = CASE WHEN \"t\".id > 7 THEN 1 END " },
		{ "UPDATE t SET a = b + 1 WHERE id = ANY (:keys)", "t (id): a = b + 1 " },
		{ "UPDATE t x SET a = x.b WHERE x.id = ANY(:keys)", "t (id): a = \"t\".b " },
		/* comments are kept where they do no harm */
		{ "UPDATE t /* , */ SET a /* = */ = 1 -- one, FROM\n , /* , */ b = t.c -- t.c\n FROM /* x */ :batch b WHERE t.id = b.id",
		  "t (id): a = 1 -- one, FROM\n ; b = \"t\".c -- t.c\n " },
		/* the table's name as a column's, a string, a part of a name */
		{ "UPDATE t x SET a = x.t || 'x.t' || x.xx FROM :batch b WHERE x.id = b.id", "t (id): a = \"t\".t || 'x.t' || \"t\".xx " },
		{ "UPDATE t \"x y\" SET a = \"x y\".\"x y\" FROM :batch b WHERE \"x y\".id = b.id", "t (id): a = \"t\".\"x y\" " },
		{ "UPDATE t x SET a = X . b FROM :batch b WHERE x.id = b.id", "t (id): a = \"t\" . b " },
		{ "UPDATE t x SET a = (x.c).d[x.i] FROM :batch b WHERE x.id = b.id", "t (id): a = (\"t\".c).d[\"t\".i] " },
		{ "UPDATE \xc3\xbc x SET a = '\xc3\xbc' || x.\xc3\xbc FROM :batch b WHERE x.id = b.id",
		  "\xc3\xbc (id): a = '\xc3\xbc' || \"\xc3\xbc\".\xc3\xbc " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *seen = read(rows[i].text);

		if (strcmp(seen, rows[i].want) != 0)
			fail_msg("%s:\n%s\nwant:\n%s", rows[i].text, seen, rows[i].want);
		free(seen);
	}
}

static void anything_else_is_left_alone(void **state)
{
	static const char *const texts[] = {
		"DELETE FROM t USING :batch b WHERE t.id = b.id",
		"INSERT INTO t SELECT id FROM :batch",
		/* other rows, or fewer */
		"UPDATE t SET a = 1 FROM :batch b",
		"UPDATE t SET a = 1 FROM :batch b WHERE true",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id AND true",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id AND t.a IS NULL",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id OR t.k = b.k",
		"UPDATE t SET a = 1 FROM :batch b WHERE NOT t.id = b.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id <> b.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id OPERATOR(x.=) b.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.k",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = t.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE b.id = b.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id AND b.id = t.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id + 1",
		"UPDATE t SET a = 1 FROM :batch b WHERE id = b.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE s.t.id = b.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id IS NOT DISTINCT FROM b.id",
		"UPDATE t SET a = 1 WHERE id = ALL (:keys)",
		"UPDATE t SET a = 1 WHERE id <> ANY (:keys)",
		"UPDATE t SET a = 1 WHERE id = ANY (:keys) AND k = 1",
		"UPDATE t SET a = 1 WHERE x.id = ANY (:keys)",
		"UPDATE t SET a = 1 WHERE id = ANY (:keys::int[])",
		"UPDATE t SET a = 1 WHERE id = ANY (keys) AND k = ANY (:keys)",
		"UPDATE t SET a = 1 WHERE (id = ANY (:keys))",
		/* the batch's columns are not quite the table's: no collation, no domain */
		"UPDATE t SET a = t.b + b.id FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = batch.id FROM :batch WHERE t.id = batch.id",
		"UPDATE t SET a = 1 WHERE id IN (SELECT id FROM :batch)",
		/* other relations, or other names for them */
		"UPDATE t SET a = u.a FROM :batch b JOIN u ON u.id = b.id WHERE t.id = b.id",
		"UPDATE t SET a = u.a FROM :batch b, u WHERE t.id = b.id",
		"UPDATE t SET a = b.x FROM :batch b(x) WHERE t.id = b.x",
		"UPDATE t b SET a = 1 FROM :batch b WHERE b.id = b.id",
		"UPDATE t SET a = u.a FROM u WHERE u.id = ANY (:keys)",
		"UPDATE ONLY t SET a = 1 FROM :batch b WHERE t.id = b.id",
		"UPDATE x.s.t SET a = 1 FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = (SELECT 1 FROM :batch b WHERE b.id = t.id) FROM batch b WHERE t.id = b.id",
		/* what a set is not */
		"UPDATE t SET (a, b) = (1, 2) FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET (a) = ROW(1) FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a[1] = 1 FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a.x = 1 FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = DEFAULT FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id RETURNING a",
		"WITH x AS (SELECT 1) UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = 1 WHERE CURRENT OF c",
		/* :batch or :keys more than once */
		"UPDATE t SET a = cardinality(:keys) FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = cardinality(:keys) WHERE id = ANY (:keys)",
		"UPDATE t SET a = cardinality(:keys) WHERE id = ANY (keys)",
		/* whole rows, and what could be one */
		"UPDATE t SET a = t::text FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = b::text FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = to_json(t.*) FROM :batch b WHERE t.id = b.id",
		"UPDATE t x SET a = f(x) FROM :batch b WHERE x.id = b.id",
		"UPDATE t SET a = s.t.b FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = u.b FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = (SELECT 1) FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = (SELECT x.v FROM u x WHERE x.id = t.id) FROM :batch b WHERE t.id = b.id",
		"UPDATE t SET a = U&\"!0074\" UESCAPE '!' .b FROM :batch b WHERE t.id = b.id",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *seen = read(texts[i]);

		if (strcmp(seen, "no") != 0)
			fail_msg("%s: %s", texts[i], seen);
		free(seen);
	}
}

/* Some versions of the scanner give such a name the end of its U. */
static void names_with_escapes_are_read_right_or_left_alone(void **state)
{
	static const char *const texts[] = {
		"UPDATE t SET a = U&\"t\".a FROM :batch k WHERE t.id = k.id",
		"UPDATE t x SET a = U&\"x\".a FROM :batch k WHERE x.id = k.id",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *seen = read(texts[i]);

		if (strcmp(seen, "no") != 0 && strcmp(seen, "t (id): a = \"t\".a ") != 0)
			fail_msg("%s: %s", texts[i], seen);
		free(seen);
	}
}

static void sections_of_other_sizes_are_left_alone(void **state)
{
	char text[] = "UPDATE t SET a = 1 FROM :batch b WHERE t.id = b.id";
	struct migration_statement statements[] = { { .text = text }, { .text = text } };
	struct plain_update *u = NULL;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t n = 0; n <= 2; n++) {
		assert_int_equal(plain_read(&(struct migration_statements){ .v = statements, .n = n }, &u, &err), 0);
		assert_true((u != NULL) == (n == 1));
		plain_free(u);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_update_is_a_set),
		cmocka_unit_test(anything_else_is_left_alone),
		cmocka_unit_test(names_with_escapes_are_read_right_or_left_alone),
		cmocka_unit_test(sections_of_other_sizes_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
