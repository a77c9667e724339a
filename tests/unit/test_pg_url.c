/* DATABASE_URL: what is understood, what is added, and what is never shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pg/pg_url.h"

static const char *value_of(const struct pg_url *u, const char *keyword)
{
	for (unsigned i = 0; i < u->n; i++)
		if (strcmp(u->keywords[i], keyword) == 0)
			return u->values[i];
	return NULL;
}

static void parse(struct pg_url *u, const char *url)
{
	struct err err = ERR_INIT;

	if (pg_url_parse(u, url, "drover test", &err) != 0)
		fail_msg("%s: %s", url, err.msg);
}

static void uris_and_conninfo_are_understood(void **state)
{
	static const struct {
		const char *url, *host, *port, *user, *dbname;
	} rows[] = {
		{ "postgresql://app:s3cret@db.example:5433/shop", "db.example", "5433", "app", "shop" },
		{ "postgres://db.example/shop?user=app", "db.example", NULL, "app", "shop" },
		{ "host=db.example port=5433 user=app dbname=shop password='a b'", "db.example", "5433", "app", "shop" },
		{ "postgresql:///shop?host=/run/pg", "/run/pg", NULL, NULL, "shop" },
		{ "postgresql://a:1,b:2/shop", "a,b", "1,2", NULL, "shop" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pg_url u;
		const char *want[] = { rows[i].host, rows[i].port, rows[i].user, rows[i].dbname };
		static const char *const names[] = { "host", "port", "user", "dbname" };

		parse(&u, rows[i].url);
		for (size_t k = 0; k < 4; k++) {
			const char *got = value_of(&u, names[k]);

			if ((got == NULL) != (want[k] == NULL) || (got != NULL && strcmp(got, want[k]) != 0))
				fail_msg("%s: %s is %s", rows[i].url, names[k], got != NULL ? got : "missing");
		}
		assert_null(u.keywords[u.n]);
		pg_url_free(&u);
	}
}

static void what_the_user_says_stays(void **state)
{
	struct pg_url u;

	(void)state;
	parse(&u, "postgresql://h/d?connect_timeout=3&keepalives_idle=77&application_name=theirs&client_encoding=LATIN1");
	assert_string_equal(value_of(&u, "connect_timeout"), "3");
	assert_string_equal(value_of(&u, "keepalives_idle"), "77");
	assert_string_equal(value_of(&u, "tcp_user_timeout"), "10000");
	/* These two are ours. */
	assert_string_equal(value_of(&u, "application_name"), "drover test");
	assert_string_equal(value_of(&u, "client_encoding"), "UTF8");
	pg_url_free(&u);
}

static void nothing_leaves_all_to_libpq(void **state)
{
	struct pg_url u;

	(void)state;
	parse(&u, "");
	assert_null(value_of(&u, "host"));
	assert_string_equal(value_of(&u, "connect_timeout"), "10");
	pg_url_free(&u);
	setenv("PGCONNECT_TIMEOUT", "4", 1);
	setenv("PGUSER", "env_user", 1);
	parse(&u, NULL);
	assert_null(value_of(&u, "connect_timeout"));
	assert_string_equal(u.masked, "postgresql://env_user@/");
	pg_url_free(&u);
	unsetenv("PGCONNECT_TIMEOUT");
	unsetenv("PGUSER");
}

static void a_service_file_is_not_overruled(void **state)
{
	struct pg_url u;

	(void)state;
	parse(&u, "service=shop");
	assert_null(value_of(&u, "connect_timeout"));
	assert_null(value_of(&u, "tcp_user_timeout"));
	pg_url_free(&u);
}

static void secrets_are_never_shown(void **state)
{
	static const char *const good[] = {
		"postgresql://app:hunter2@db.example:5433/shop",
		"host=db.example user=app password=hunter2",
		"postgresql:///shop?password=hunter2&sslpassword=hunter2",
	};
	static const char *const bad[] = {
		"hunter2",
		"hunter2 host=x",
		"postgresql://app:x@h/d?hunter2",
		"postgresql://app:x@h/d?hunter2=1",
		"postgresql://app@[hunter2/d",
		"password=hunter2 hunter2",
		"postgresql://app:hunter2@h:p%zz/d",
		"postgresql://app:hun%zzhunter2@h/d",
		"password='hunter2",
		"postgresql://app:hunter2/x@h/d",
		"postgresql://app:x/hunter2@h/d",
		"postgresql://app:x@hunter2@h/d",
		"postgresql://app:12/hunter2@h/d",
		"postgresql://app:x@@hunter2@h/d",
		"postgresql://app:\"hunter2\"@[/d",
		"a\"hunter2",
		"=\"hunter2",
		"dbname=postgresql://app:hunter2@h/d",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct pg_url u;

		parse(&u, good[i]);
		assert_null(strstr(u.masked, "hunter2"));
		pg_url_free(&u);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_INIT;
		struct pg_url u;

		assert_int_equal(pg_url_parse(&u, bad[i], "t", &err), ST_INPUT);
		assert_int_equal(err.code, ST_INPUT);
		assert_non_null(strstr(err.msg, "database URL"));
		if (strstr(err.msg, "hunter2") != NULL)
			fail_msg("%s: %s", bad[i], err.msg);
	}
}

static void a_password_comes_from_the_environment_where_the_url_has_none(void **state)
{
	struct pg_url u;

	(void)state;
	setenv("DATABASE_PASSWORD", "hunter2", 1);
	parse(&u, "postgresql://app@db/shop");
	assert_string_equal(value_of(&u, "password"), "hunter2");
	assert_null(strstr(u.masked, "hunter2"));
	pg_url_free(&u);
	parse(&u, "host=db password=own");
	assert_string_equal(value_of(&u, "password"), "own");
	pg_url_free(&u);
	setenv("DATABASE_PASSWORD_FILE", "/nowhere", 1);
	assert_int_equal(pg_url_parse(&u, "host=db", "t", NULL), ST_CONFIG);
	unsetenv("DATABASE_PASSWORD_FILE");
	unsetenv("DATABASE_PASSWORD");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(uris_and_conninfo_are_understood),
		cmocka_unit_test(what_the_user_says_stays),
		cmocka_unit_test(nothing_leaves_all_to_libpq),
		cmocka_unit_test(a_service_file_is_not_overruled),
		cmocka_unit_test(secrets_are_never_shown),
		cmocka_unit_test(a_password_comes_from_the_environment_where_the_url_has_none),
	};

	static const char *const env[] = { "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGCONNECT_TIMEOUT", "PGPASSWORD" };

	for (size_t i = 0; i < ARRAY_SIZE(env); i++)
		unsetenv(env[i]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
