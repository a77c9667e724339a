/* REDIS_URL, and what INFO says of a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redis/redis_sync.h"
#include "redis/redis_url.h"

static bool same(const char *a, const char *b)
{
	return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

static void urls_are_understood(void **state)
{
	static const struct {
		const char *url, *host;
		int port;
		const char *path, *user, *password;
		int db;
		bool tls;
		const char *masked;
	} rows[] = {
		{ "redis://h", "h", 6379, NULL, NULL, NULL, 0, false, "redis://h:6379" },
		{ "redis://h/", "h", 6379, NULL, NULL, NULL, 0, false, "redis://h:6379" },
		{ "redis://h:7000/2", "h", 7000, NULL, NULL, NULL, 2, false, "redis://h:7000/2" },
		{ "redis://:pw@h", "h", 6379, NULL, NULL, "pw", 0, false, "redis://h:6379" },
		{ "rediss://u:p%40w@h:1", "h", 1, NULL, "u", "p@w", 0, true, "rediss://h:1" },
		{ "redis://u:p@w@h", "h", 6379, NULL, "u", "p@w", 0, false, "redis://h:6379" },
		{ "redis://u:a/b@h/3", "h", 6379, NULL, "u", "a/b", 3, false, "redis://h:6379/3" },
		{ "redis://[::1]:6380/1", "::1", 6380, NULL, NULL, NULL, 1, false, "redis://[::1]:6380/1" },
		{ "redis://[::1]", "::1", 6379, NULL, NULL, NULL, 0, false, "redis://[::1]:6379" },
		{ "unix:///run/r.sock", NULL, 0, "/run/r.sock", NULL, NULL, 0, false, "unix:///run/r.sock" },
		{ "unix:///run/a%20b?db=4", NULL, 0, "/run/a b", NULL, NULL, 4, false, "unix:///run/a b?db=4" },
		{ "unix://u:pw@/run/r.sock", NULL, 0, "/run/r.sock", "u", "pw", 0, false, "unix:///run/r.sock" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct redis_url u;

		if (redis_url_parse(&u, rows[i].url, &err) != 0)
			fail_msg("%s: %s", rows[i].url, err.msg);
		if (!same(u.host, rows[i].host) || u.port != rows[i].port || !same(u.path, rows[i].path) || !same(u.user, rows[i].user) ||
		    !same(u.password, rows[i].password) || u.db != rows[i].db || u.tls != rows[i].tls || !same(u.masked, rows[i].masked))
			fail_msg("%s: read as %s", rows[i].url, u.masked);
		redis_url_free(&u);
	}
}

static void sentinels_are_understood(void **state)
{
	static const struct {
		const char *url, *masked;
		unsigned n;
		const char *master, *user, *password;
		int db;
		bool tls;
	} rows[] = {
		{ "redis+sentinel://h/m", "redis+sentinel://h:26379/m", 1, "m", NULL, NULL, 0, false },
		{ "redis+sentinel://u:p%40w@a,b:1,[::1]:2/my%20m/3", "redis+sentinel://a:26379,b:1,[::1]:2/my m/3", 3, "my m", "u", "p@w",
		  3, false },
		{ "rediss+sentinel://:a/b@h:7,i/m/?cacert=/c&sentinel_user=s", "rediss+sentinel://h:7,i:26379/m", 2, "m", NULL, "a/b", 0,
		  true },
	};

	(void)state;
	setenv("REDIS_SENTINEL_PASSWORD", "spw", 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct redis_url u;

		if (redis_url_parse(&u, rows[i].url, &err) != 0)
			fail_msg("%s: %s", rows[i].url, err.msg);
		if (u.nsentinels != rows[i].n || !same(u.master, rows[i].master) || !same(u.user, rows[i].user) ||
		    !same(u.password, rows[i].password) || u.db != rows[i].db || u.tls != rows[i].tls || !same(u.masked, rows[i].masked) ||
		    !same(u.sentinel_password, "spw") || u.host != NULL)
			fail_msg("%s: read as %s", rows[i].url, u.masked);
		redis_url_free(&u);
	}
	unsetenv("REDIS_SENTINEL_PASSWORD");
}

static void tls_is_described_by_parameters(void **state)
{
	struct redis_url u;

	(void)state;
	assert_int_equal(redis_url_parse(&u, "rediss://h/1?cacert=/run/a%26b.pem&cert=c&key=k&server_name=n", NULL), 0);
	assert_string_equal(u.cacert, "/run/a&b.pem");
	assert_string_equal(u.cert, "c");
	assert_string_equal(u.key, "k");
	assert_string_equal(u.server_name, "n");
	assert_string_equal(u.masked, "rediss://h:6379/1");
	redis_url_free(&u);
}

static void a_password_comes_from_the_environment_where_the_url_has_none(void **state)
{
	struct redis_url u;

	(void)state;
	setenv("REDIS_PASSWORD", "hunter2", 1);
	assert_int_equal(redis_url_parse(&u, "redis://app@h", NULL), 0);
	assert_string_equal(u.user, "app");
	assert_string_equal(u.password, "hunter2");
	redis_url_free(&u);
	assert_int_equal(redis_url_parse(&u, "redis://:own@h", NULL), 0);
	assert_string_equal(u.password, "own");
	redis_url_free(&u);
	assert_int_equal(redis_url_parse(&u, "unix:///run/r.sock", NULL), 0);
	assert_string_equal(u.password, "hunter2");
	redis_url_free(&u);
	setenv("REDIS_PASSWORD_FILE", "/nowhere", 1);
	assert_int_equal(redis_url_parse(&u, "redis://app@h", NULL), ST_CONFIG);
	unsetenv("REDIS_PASSWORD_FILE");
	unsetenv("REDIS_PASSWORD");
}

static void mistakes_get_one_clear_error_without_the_password(void **state)
{
	static const char *const rows[] = {
		"",
		"localhost:6379",
		"http://h",
		"redis://",
		"redis://:0",
		"redis://h:0",
		"redis://h:65536",
		"redis://h:hunter2",
		"redis://h/x",
		"redis://h/-1",
		"redis://h/99999999999",
		"redis://h/1?timeout=hunter2",
		"redis://h/1?cacert=",
		"redis://h/1?cacert",
		"redis://h/1?cacert=a",
		"rediss://h/1?cacert=a&cacert=b",
		"rediss://h/1?cert=a",
		"rediss://h?key=hunter2",
		"redis://u:hun?ter2@h",
		"redis://h?sentinel_user=u",
		"redis+sentinel://h",
		"redis+sentinel://h/",
		"redis+sentinel://h//1",
		"redis+sentinel:///m",
		"redis+sentinel://a,/m",
		"redis+sentinel://a,b:hunter2/m",
		"redis+sentinel://a/m/x",
		"redis+sentinel://a/m?sentinel_user=u",
		"redis+sentinel://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q/m",
		"redis://u@h",
		"redis://u:hun%zzter2@h",
		"redis://u:%00hunter2@h",
		"redis://[::1",
		"redis://[::1]x",
		"unix://",
		"unix:///",
		"unix://run/r.sock",
		"unix:///r?dbx=1",
		"unix:///r?db=a",
		"redis://user:hunter2",
		"redis:h",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		struct redis_url u;

		if (redis_url_parse(&u, rows[i], &err) != ST_INPUT)
			fail_msg("%s: taken", rows[i]);
		if (strncmp(err.msg, "the Redis URL", 13) != 0 && strncmp(err.msg, "cannot read the Redis URL", 25) != 0)
			fail_msg("%s: %s", rows[i], err.msg);
		if (strstr(err.msg, "hunter2") != NULL)
			fail_msg("%s: %s", rows[i], err.msg);
	}
}

static void info_is_read(void **state)
{
	static const char info[] =
		"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\n# Memory\r\nmaxmemory:1048576\r\n"
		"maxmemory_policy:allkeys-lru\r\n# Persistence\r\nloading:1\r\n# Replication\r\nrole:slave\r\nmaster_replid:def\r\n";
	CLEANUP(buf_free) struct buf warning = BUF_INIT(1000);
	struct redis_server s;

	(void)state;
	redis_server_parse(&s, info);
	assert_int_equal(s.version, 70015);
	assert_string_equal(s.run_id, "abc");
	assert_string_equal(s.replid, "def");
	assert_true(s.loading);
	assert_true(s.replica);
	assert_false(s.cluster);
	assert_true(redis_server_warning(&s, &warning));
	assert_non_null(strstr(warning.data, "allkeys-lru"));
}

static void servers_that_will_not_do_are_refused(void **state)
{
	static const struct {
		const char *info;
		int want;
	} rows[] = {
		{ "redis_version:7.0.5\r\n", 0 },
		{ "redis_version:7.0.4\r\n", ST_REFUSED },
		{ "redis_version:6.2.19\r\n", ST_REFUSED },
		{ "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n", 0 },
		{ "redis_version:8.0.2\r\nredis_mode:sentinel\r\n", 0 },
		{ "redis_version:8.0.2\r\nredis_mode:cluster\r\n", ST_REFUSED },
		{ "", ST_REFUSED },
		{ "redis_version:\r\n", ST_REFUSED },
		{ "xredis_version:8.0.0", ST_REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct redis_server s;

		redis_server_parse(&s, rows[i].info);
		if (redis_server_check(&s, NULL) != rows[i].want)
			fail_msg("%s", rows[i].info);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_understood),
		cmocka_unit_test(sentinels_are_understood),
		cmocka_unit_test(tls_is_described_by_parameters),
		cmocka_unit_test(a_password_comes_from_the_environment_where_the_url_has_none),
		cmocka_unit_test(mistakes_get_one_clear_error_without_the_password),
		cmocka_unit_test(info_is_read),
		cmocka_unit_test(servers_that_will_not_do_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
