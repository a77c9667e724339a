/* How an outage is waited out: pauses that grow, few words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/outage.h"

struct heard {
	unsigned n;
	char last[512];
};

static void hear(void *arg, const char *line)
{
	struct heard *h = arg;

	h->n++;
	snprintf(h->last, sizeof(h->last), "%s", line);
}

static void an_hour_is_said_once_a_minute(void **state)
{
	struct heard h = { 0 };
	struct outage o;
	uint64_t now = 1000, tries = 0;

	(void)state;
	outage_init(&o, "Redis", hear, &h);
	while (now < 3601000) {
		uint64_t wait = outage_failed(&o, now, "connection refused");

		assert_true(wait >= 1 && wait <= OUTAGE_LONGEST_MS);
		now += wait;
		tries++;
	}
	assert_true(h.n >= 55 && h.n <= 61);
	assert_non_null(strstr(h.last, "Redis is away for"));
	assert_true(tries < 3600 / 2); /* no busy loop */
	outage_over(&o, now);
	assert_int_equal(strncmp(h.last, "Redis is back after 1h", 22), 0);
	outage_over(&o, now);
	assert_true(h.n <= 62);
}

static void a_new_reason_is_said(void **state)
{
	struct heard h = { 0 };
	struct outage o;

	(void)state;
	outage_init(&o, "PostgreSQL", hear, &h);
	outage_failed(&o, 1000, "connection refused");
	assert_string_equal(h.last, "PostgreSQL is away: connection refused; waiting");
	outage_failed(&o, 1200, "connection refused");
	assert_int_equal(h.n, 1);
	outage_failed(&o, 3000, "the database system is starting up");
	assert_int_equal(h.n, 2);
	outage_failed(&o, 3100, "connection refused");
	assert_int_equal(h.n, 2);
}

static void reasons_that_take_turns_are_no_flood(void **state)
{
	static const char *const reasons[] = { "connection refused", "the server closed the connection", "starting up" };
	struct outage_said s = { 0 };
	char why[64];
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 3600; i++)
		n += outage_time_to_say(&s, 1000 * (i + 1), reasons[i % ARRAY_SIZE(reasons)]);
	assert_in_range(n, 60, 63);
	n = 0;
	s = (struct outage_said){ 0 };
	for (unsigned i = 0; i < 3600; i++) {
		snprintf(why, sizeof(why), "another one each time: %u", i);
		n += outage_time_to_say(&s, 1000 * (i + 1), why);
	}
	assert_in_range(n, 60, 60 + OUTAGE_REASONS);
}

static void pauses_grow_and_are_jittered(void **state)
{
	struct outage o;
	struct heard h = { 0 };
	uint64_t first, late = 0;

	(void)state;
	outage_init(&o, "x", hear, &h);
	first = outage_failed(&o, 1, "a");
	assert_true(first <= OUTAGE_FIRST_MS);
	for (int i = 0; i < 20; i++)
		late = outage_failed(&o, 2, "a");
	assert_true(late >= OUTAGE_LONGEST_MS / 2 && late <= OUTAGE_LONGEST_MS);
	outage_over(&o, 3);
	assert_true(outage_failed(&o, 4, "a") <= OUTAGE_FIRST_MS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_hour_is_said_once_a_minute),
		cmocka_unit_test(a_new_reason_is_said),
		cmocka_unit_test(reasons_that_take_turns_are_no_flood),
		cmocka_unit_test(pauses_grow_and_are_jittered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
