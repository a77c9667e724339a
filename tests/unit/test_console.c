/* The console's tables, what it reads as ids, and each sentence about why a migration does not go faster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/util.h"
#include "producer/console.h"
#include "producer/filter.h"
#include "producer/standing.h"

/* ------------------------------------------------------------ tables */

static void the_tables_have_no_mistakes(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	if (cli_check(console_program(), &err) != 0)
		fail_msg("%s", err.msg);
}

/* ------------------------------------------------------------ ids */

static void ids_and_ranges_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t first, last;
	} rows[] = { { "1", 1, 1 },
		     { "007", 7, 7 },
		     { "10-20", 10, 20 },
		     { "5-5", 5, 5 },
		     { "9223372036854775806", INT64_MAX - 1, INT64_MAX - 1 } };
	struct failed_range r;
	struct err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(filter_parse_range(rows[i].text, &r, &err), 0);
		assert_int_equal(r.first, rows[i].first);
		assert_int_equal(r.last, rows[i].last);
	}
}

static void what_is_no_id_is_wrong_usage(void **state)
{
	static const char *const texts[] = { "",
					     "0",
					     "-",
					     "-5",
					     "5-",
					     "a",
					     "5-a",
					     "20-10",
					     " 5",
					     "5 ",
					     "5--6",
					     "1-2-3",
					     "9223372036854775807",
					     "99999999999999999999999999999-5",
					     "1.5" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct failed_range r = { 3, 4 };
		struct err err = ERR_INIT;

		if (filter_parse_range(texts[i], &r, &err) != ST_USAGE)
			fail_msg("'%s' was read", texts[i]);
		assert_int_equal(r.first, 3);
		assert_true(strlen(err.msg) > 0);
	}
}

/* ------------------------------------------------------------ why */

/* Runs, and nothing holds it up. */
static struct standing healthy(void)
{
	struct standing s = { .id = 1,
			      .name = "m",
			      .state = "running",
			      .scan_done = true,
			      .incomplete = 3,
			      .found = 100,
			      .expected = 100,
			      .share = 0.5,
			      .idle_s = 1,
			      .workers_may = 2,
			      .workers_able = 2,
			      .lanes_able = 8,
			      .rate_per_s = -1,
			      .depth_known = true };

	settings_defaults(&s.settings);
	return s;
}

static const struct fleet fleet_of_two = { .alive = 2, .working = 2, .lanes = 8, .redis_asked = true };

static void check_why(const struct standing *s, const struct fleet *f, const char *want)
{
	struct strvec why;
	bool found = false;

	strvec_init(&why, STANDING_WHY_MAX);
	standing_why(s, f, &why);
	assert_true(strvec_ok(&why));
	for (size_t i = 0; i < why.n; i++)
		found = found || (want != NULL && strstr(why.v[i], want) != NULL);
	if (want == NULL && why.n > 0)
		fail_msg("nothing was to be said, but: %s", why.v[0]);
	if (want != NULL && !found)
		fail_msg("not said: '%s'; the first of %zu: %s", want, why.n, why.n > 0 ? why.v[0] : "-");
	strvec_free(&why);
}

static void a_healthy_one_needs_no_words(void **state)
{
	struct standing s = healthy();

	(void)state;
	check_why(&s, &fleet_of_two, NULL);
	s.state = "complete";
	check_why(&s, &(struct fleet){ .alive = 0 }, NULL);
}

static void what_stops_it_is_said(void **state)
{
	struct standing s = healthy();
	struct fleet f = fleet_of_two;

	(void)state;
	s.state = "paused";
	s.by = "alice@host";
	s.reason = "too busy";
	check_why(&s, &f, "paused by alice@host: too busy; to go on: drover resume m");
	s.state = "cancelled";
	s.by = s.reason = NULL;
	check_why(&s, &f, "cancelled by somebody; to go on: drover resume m");

	s = healthy();
	s.settings.is_enabled = false;
	check_why(&s, &f, "drover config m is_enabled=on");
	s = healthy();
	s.scan_done = false;
	check_why(&s, &f, "no producer runs: drover produce m");
	s = healthy();
	check_why(&s, &(struct fleet){ .alive = 0 }, "no worker is alive");
	s.workers_able = 0;
	check_why(&s, &(struct fleet){ .alive = 3 }, "no worker takes its jobs: 2 are paused, draining or waiting for a server");
	s.workers_may = 0;
	check_why(&s, &(struct fleet){ .alive = 3 }, "none of the workers that are alive (3) may or can work for it");
	s = healthy();
	s.idle_s = STANDING_STALLED_S;
	check_why(&s, &f, "nothing was committed for 1m");
	strcpy(s.lock, "drover w/1 waits 3s for a lock of pid 7 (psql): UPDATE t");
	check_why(&s, &f, "pid 7");
	strcpy(f.redis, "connection refused");
	check_why(&s, &f, "Redis does not answer from here: connection refused");
}

/* bound_of(), and what is said of it. */
static void check_bound(struct standing *s, const struct bound_server *b, enum bound want, const char *says)
{
	struct fleet f = fleet_of_two;

	f.server = *b;
	s->bound = bound_of(s, b);
	assert_int_equal(s->bound, want);
	check_why(s, &f, says);
}

static void what_sets_the_pace_is_said(void **state)
{
	static const struct bound_server unseen = { .looks = 0 }, idle = { .looks = 3, .at_work = 6, .probes = 2, .cpu_lost = 0.1 },
					 no_cpu = { .looks = 3, .at_work = 6, .probes = 2, .cpu_lost = 1.2 },
					 asleep = { .looks = 3, .at_work = 6, .sleeps = 6 },
					 waits = { .looks = 3, .at_work = 6, .server = 4, .event = "WALWrite" };
	struct standing s = healthy();

	(void)state;
	check_bound(&s, &unseen, BOUND_NONE, NULL);
	check_bound(&s, &idle, BOUND_WORKERS, "the workers are the limit (8 lanes");
	check_bound(&s, &asleep, BOUND_WORKERS, "asleep in SQL");
	check_bound(&s, &no_cpu, BOUND_POSTGRES, "PostgreSQL is the limit: queries wait for a CPU 60% of the time");
	check_bound(&s, &waits, BOUND_POSTGRES, "most lanes wait in it (WALWrite)");
	s.settings.max_lanes = 2;
	check_bound(&s, &idle, BOUND_LANES, "max_lanes: 2 of 8 lanes");
	check_bound(&s, &no_cpu, BOUND_POSTGRES, "wait for a CPU");
	s.scan_done = false;
	s.producing = true;
	s.depth.ready = 8;
	check_bound(&s, &idle, BOUND_SCAN, "the scan sets the pace");
	s.depth.ready = 1000;
	s.settings.processing_interval_ms = 200;
	check_bound(&s, &idle, BOUND_PAUSES, "pauses 200ms");
	s.settings.max_rows_per_s = 100;
	check_bound(&s, &idle, BOUND_RATE, "max_rows_per_s: 100/s");
	s.rate_per_s = 20;
	check_bound(&s, &idle, BOUND_PAUSES, "pauses 200ms");
	s.rung = 4;
	s.held_by = "others are at work";
	check_bound(&s, &idle, BOUND_THROTTLE, "gives way to others");
	s.workers_able = 0;
	check_bound(&s, &idle, BOUND_NONE, "paused, draining");
}

static void what_a_sweep_waits_for_is_said(void **state)
{
	struct standing s = healthy();

	(void)state;
	s.sweep_waits = true;
	strcpy(s.blocker, "pid 9 (psql), open for 2h");
	check_why(&s, &fleet_of_two, "the oldest: pid 9 (psql)");
	s.sweep_stuck = 3;
	check_why(&s, &fleet_of_two, "still writes old rows: 3 sweeps");
}

static void what_is_left_over_is_said(void **state)
{
	struct standing s = healthy();

	(void)state;
	s.state = "complete";
	s.dead = 1234;
	check_why(&s, &fleet_of_two, "1,234 dead letters: drover failed m --group");
	s.waiting = 5;
	check_why(&s, &fleet_of_two, "5 rows wait for a replay");
	check_why(&s, &(struct fleet){ .alive = 0 }, "no worker is alive for the replays");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tables_have_no_mistakes),    cmocka_unit_test(ids_and_ranges_are_read),
		cmocka_unit_test(what_is_no_id_is_wrong_usage),   cmocka_unit_test(a_healthy_one_needs_no_words),
		cmocka_unit_test(what_stops_it_is_said),          cmocka_unit_test(what_sets_the_pace_is_said),
		cmocka_unit_test(what_a_sweep_waits_for_is_said), cmocka_unit_test(what_is_left_over_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
