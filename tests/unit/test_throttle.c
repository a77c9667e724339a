/* From what is seen of the server to how far the fleet gives way, on a clock of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/util.h"
#include "worker/throttle.h"

#define LOOK_MS 200

struct fixture {
	struct throttle t;
	struct settings limits;
	struct throttle_reading seen;
	uint64_t now_ms;
};

static void setup(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	settings_defaults(&f->limits);
	f->now_ms = 1000000;
	for (size_t i = 0; i < THROTTLE_SIGNALS; i++)
		f->seen.known[i] = true;
}

/* Looks for so long; the rung at its end. */
static unsigned look_for(struct fixture *f, uint64_t ms)
{
	for (uint64_t end = f->now_ms + ms; f->now_ms < end;) {
		f->now_ms += LOOK_MS;
		(void)throttle_step(&f->t, &f->seen, &f->limits, f->now_ms);
	}
	return f->t.rung;
}

static void every_signal_has_its_first_and_its_highest_rung(void **state)
{
	static const struct {
		enum throttle_signal signal;
		double below, at; /* its default limit */
		unsigned entry, top;
	} rows[] = {
		{ THROTTLE_SLOW, 7, 8, 2, 6 },       { THROTTLE_LOCKS, 0, 1, 3, 7 },      { THROTTLE_TRAFFIC, 0.5, 1, 4, 4 },
		{ THROTTLE_ACTIVE, 3.9, 4, 5, 7 },   { THROTTLE_LAG, 255, 256, 5, 8 },    { THROTTLE_LAG_TIME, 9999, 10000, 5, 8 },
		{ THROTTLE_SLOT, 4095, 4096, 5, 8 }, { THROTTLE_ARCHIVE, 0, 1024, 5, 8 }, { THROTTLE_VACUUM, 0, 1, 6, 6 },
		{ THROTTLE_DEAD, 199, 200, 5, 7 },
	};

	(void)state;
	assert_int_equal(ARRAY_SIZE(rows), THROTTLE_SIGNALS);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f;

		setup(&f);
		f.seen.value[rows[i].signal] = rows[i].below;
		assert_int_equal(look_for(&f, 5000), 0);
		f.seen.value[rows[i].signal] = rows[i].at;
		assert_int_equal(look_for(&f, LOOK_MS), rows[i].entry);
		assert_int_equal(f.t.signal, rows[i].signal);
		assert_int_equal(look_for(&f, 60000), rows[i].top);
	}
}

static void it_climbs_a_rung_a_second_while_it_does_not_help(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.seen.value[THROTTLE_LAG] = 1000;
	assert_int_equal(look_for(&f, LOOK_MS), 5);
	assert_int_equal(look_for(&f, 800), 5);
	assert_int_equal(look_for(&f, 400), 6);
	assert_int_equal(look_for(&f, 1000), 7);
}

static void it_comes_down_rung_by_rung_once_it_is_calm(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.seen.value[THROTTLE_TRAFFIC] = 4;
	look_for(&f, 10000);
	f.seen.value[THROTTLE_TRAFFIC] = 0;
	assert_int_equal(look_for(&f, 1800), 4);
	assert_int_equal(look_for(&f, 400), 3);
	assert_int_equal(look_for(&f, 600), 2);
	assert_int_equal(look_for(&f, 2000), 0);
	f.seen.value[THROTTLE_TRAFFIC] = 4;
	assert_int_equal(look_for(&f, LOOK_MS), 4);
	assert_true(f.now_ms - f.t.since_ms < LOOK_MS); /* a new time that it is held */
}

static void a_signal_near_its_limit_keeps_the_rung(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.seen.value[THROTTLE_LAG] = 256;
	look_for(&f, LOOK_MS);
	f.seen.value[THROTTLE_LAG] = 200;
	assert_int_equal(look_for(&f, 60000), 5);
	f.seen.value[THROTTLE_LAG] = 100;
	assert_int_equal(look_for(&f, 10000), 0);
}

static void a_moment_of_calm_is_not_enough(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	for (int i = 0; i < 20; i++) {
		f.seen.value[THROTTLE_TRAFFIC] = 2;
		look_for(&f, LOOK_MS);
		f.seen.value[THROTTLE_TRAFFIC] = 0;
		assert_int_equal(look_for(&f, 1400), 4);
	}
}

static void when_the_worse_is_over_the_lesser_still_holds(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.seen.value[THROTTLE_TRAFFIC] = 4;
	f.seen.value[THROTTLE_LAG] = 1000;
	assert_int_equal(look_for(&f, 10000), 8);
	assert_int_equal(f.t.signal, THROTTLE_LAG);
	f.seen.value[THROTTLE_LAG] = 0;
	assert_int_equal(look_for(&f, 20000), 4);
	assert_int_equal(f.t.signal, THROTTLE_TRAFFIC);
}

static void the_first_look_decides_what_was_a_guess(void **state)
{
	static const struct {
		double traffic, lag;
		unsigned rung;
	} rows[] = { { 0, 0, 0 }, { 0.9, 0, 0 }, { 4, 0, 4 }, { 4, 300, 5 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f;

		setup(&f);
		f.t = (struct throttle){
			.rung = THROTTLE_GUESS, .signal = THROTTLE_NONE, .since_ms = 1, .moved_ms = f.now_ms, .guess = true
		};
		f.seen.value[THROTTLE_TRAFFIC] = rows[i].traffic;
		f.seen.value[THROTTLE_LAG] = rows[i].lag;
		assert_true(throttle_step(&f.t, &f.seen, &f.limits, f.now_ms + 10));
		assert_int_equal(f.t.rung, rows[i].rung);
		assert_int_equal(f.t.since_ms, f.now_ms + 10);
		assert_false(f.t.guess);
	}
}

static void limits_of_zero_and_full_speed_hold_nothing(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.seen.value[THROTTLE_TRAFFIC] = f.seen.value[THROTTLE_VACUUM] = 4;
	f.limits.throttle_sessions = 0;
	f.limits.throttle_vacuum = false;
	assert_int_equal(look_for(&f, 5000), 0);
	f.limits.throttle_sessions = 3;
	assert_int_equal(look_for(&f, 1000), 4);
	f.limits.throttle = false;
	assert_int_equal(look_for(&f, 10000), 0);
}

static void what_is_not_known_neither_holds_nor_frees_by_itself(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.seen.value[THROTTLE_LAG] = 1000;
	f.seen.known[THROTTLE_LAG] = false;
	assert_int_equal(look_for(&f, 5000), 0);
	f.seen.known[THROTTLE_LAG] = true;
	assert_int_equal(look_for(&f, LOOK_MS), 5);
}

static void it_says_what_holds_it_and_what_that_means(void **state)
{
	static const struct {
		struct throttle t;
		const char *want;
	} rows[] = {
		{ { .rung = 0 }, "" },
		{ { .rung = 4, .signal = THROTTLE_TRAFFIC, .value = 4 },
		  "others are at work in 4 sessions; transactions of 3 ms at most, or of 20 times 0.6 with pauses, one lane of the fleet" },
		{ { .rung = 3, .signal = THROTTLE_VACUUM, .value = 1 },
		  "an anti-wraparound vacuum is at work on the table; transactions of 3 ms at most, half of the lanes" },
		{ { .rung = 5, .signal = THROTTLE_DEAD, .value = 250 },
		  "dead rows are 250 % of the live ones; transactions of 3 ms at most, or of 5 times 0.6 with pauses, one lane of the fleet, "
		  "pauses 1 times as long" },
		{ { .rung = 1, .signal = THROTTLE_NONE }, "what held it before is not over for long; transactions of 50 ms at most" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(buf_free) struct buf b = BUF_INIT(1000);

		throttle_say(&rows[i].t, &b);
		assert_string_equal(b.len > 0 ? b.data : "", rows[i].want);
	}
}

static void higher_rungs_do_no_more_than_lower_ones(void **state)
{
	(void)state;
	for (unsigned i = 2; i < THROTTLE_RUNGS; i++) {
		const struct throttle_response *a = throttle_response(i - 1), *b = throttle_response(i);

		assert_true(b->target_ms <= a->target_ms && b->rest >= a->rest);
		assert_true(b->pieces <= THROTTLE_PIECES_MAX && (i <= THROTTLE_GUESS || b->pieces <= a->pieces));
	}
	assert_ptr_equal(throttle_response(1000), throttle_response(THROTTLE_RUNGS - 1));
}

/* What the log says at one look after another, and how many lines in all. */
struct log {
	struct throttle_told told;
	enum throttle_news last;
	unsigned lines;
};

static void look_and_say(struct fixture *f, struct log *log, uint64_t ms)
{
	for (uint64_t end = f->now_ms + ms; f->now_ms < end;) {
		enum throttle_news news;

		look_for(f, LOOK_MS);
		news = throttle_news(&f->t, &log->told, f->now_ms);
		if (news != THROTTLE_NO_NEWS)
			log->last = news, log->lines++;
	}
}

static void the_log_says_when_it_begins_to_hold_when_the_signal_changes_and_when_it_lets_go(void **state)
{
	struct log log = { .lines = 0 };
	struct fixture f;

	(void)state;
	setup(&f);
	look_and_say(&f, &log, 1000);
	assert_int_equal(log.lines, 0); /* nothing holds it: nothing to say */
	f.seen.value[THROTTLE_ACTIVE] = 5;
	look_and_say(&f, &log, 10000);
	assert_int_equal(log.lines, 1); /* however many steps it took */
	assert_int_equal(log.last, THROTTLE_BEGINS);
	assert_int_equal(log.told.signal, THROTTLE_ACTIVE);
	f.seen.value[THROTTLE_LAG] = 300;
	look_and_say(&f, &log, 10000);
	assert_int_equal(log.lines, 2);
	assert_int_equal(log.last, THROTTLE_CHANGES);
	assert_int_equal(log.told.signal, THROTTLE_LAG);
	memset(f.seen.value, 0, sizeof(f.seen.value));
	look_and_say(&f, &log, 30000);
	assert_int_equal(log.lines, 3);
	assert_int_equal(log.last, THROTTLE_ENDS);
}

static void what_comes_and_goes_is_no_flood_in_the_log(void **state)
{
	static const enum throttle_signal signals[] = { THROTTLE_TRAFFIC, THROTTLE_LOCKS, THROTTLE_SLOW, THROTTLE_ACTIVE };
	struct log log = { .lines = 0 };
	struct fixture f;

	(void)state;
	setup(&f);
	for (unsigned i = 0; i < 3600 / 6; i++) {
		f.seen.value[signals[i % ARRAY_SIZE(signals)]] = 100;
		look_and_say(&f, &log, 1000);
		memset(f.seen.value, 0, sizeof(f.seen.value));
		look_and_say(&f, &log, 5000);
	}
	assert_in_range(log.lines, 60, 2 * 60 + 2 * ARRAY_SIZE(signals)); /* in an hour */
}

static void what_another_worker_found_is_not_said_again_but_its_end_is(void **state)
{
	struct log log = { .told = { .held = true, .signal = THROTTLE_NONE } };
	struct fixture f;

	(void)state;
	setup(&f);
	f.t = (struct throttle){ .rung = 4, .signal = THROTTLE_NONE, .since_ms = f.now_ms, .moved_ms = f.now_ms };
	look_and_say(&f, &log, 1000);
	assert_int_equal(log.lines, 0);
	look_and_say(&f, &log, 10000);
	assert_int_equal(log.lines, 1);
	assert_int_equal(log.last, THROTTLE_ENDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_signal_has_its_first_and_its_highest_rung),
		cmocka_unit_test(it_climbs_a_rung_a_second_while_it_does_not_help),
		cmocka_unit_test(it_comes_down_rung_by_rung_once_it_is_calm),
		cmocka_unit_test(a_signal_near_its_limit_keeps_the_rung),
		cmocka_unit_test(a_moment_of_calm_is_not_enough),
		cmocka_unit_test(when_the_worse_is_over_the_lesser_still_holds),
		cmocka_unit_test(the_first_look_decides_what_was_a_guess),
		cmocka_unit_test(limits_of_zero_and_full_speed_hold_nothing),
		cmocka_unit_test(what_is_not_known_neither_holds_nor_frees_by_itself),
		cmocka_unit_test(it_says_what_holds_it_and_what_that_means),
		cmocka_unit_test(higher_rungs_do_no_more_than_lower_ones),
		cmocka_unit_test(the_log_says_when_it_begins_to_hold_when_the_signal_changes_and_when_it_lets_go),
		cmocka_unit_test(what_comes_and_goes_is_no_flood_in_the_log),
		cmocka_unit_test(what_another_worker_found_is_not_said_again_but_its_end_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
