/*
 * test_clock.c - time that tests can turn, and a sleep that can be stopped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/err.h"

struct fake {
	struct clock clock;
	uint64_t ms;
};

static uint64_t fake_now(const struct clock *c)
{
	return container_of(c, const struct fake, clock)->ms;
}

static int64_t fake_wall(const struct clock *c)
{
	return (int64_t)container_of(c, const struct fake, clock)->ms + 1000000;
}

static void a_fake_clock_stands_still_until_it_is_turned(void **state)
{
	struct fake f = { { fake_now, fake_wall }, 100 };

	(void)state;
	assert_true(clock_now_ms(&f.clock) == 100);
	f.ms += 50;
	assert_true(clock_now_ms(&f.clock) == 150);
	assert_true(clock_wall_ms(&f.clock) == 1000150);
}

static void the_machines_clock_never_goes_back(void **state)
{
	const struct clock *c = clock_system();
	uint64_t before = clock_now_ms(c);

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_now_ms(c);

		assert_true(now >= before);
		before = now;
	}
	assert_true(clock_wall_ms(c) > 1600000000000); /* after 2020 */
}

static void a_sleep_lasts_its_time(void **state)
{
	uint64_t start = clock_now_ms(clock_system());

	(void)state;
	assert_int_equal(clock_sleep_ms(30, NULL), 0);
	assert_true(clock_now_ms(clock_system()) - start >= 30);
	assert_int_equal(clock_sleep_ms(0, NULL), 0);
}

static volatile sig_atomic_t stop;

static void on_alarm(int sig)
{
	(void)sig;
	stop = 1;
}

static void a_signal_ends_a_sleep(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm };
	uint64_t start = clock_now_ms(clock_system());

	(void)state;
	sigaction(SIGALRM, &action, NULL);
	ualarm(20000, 0);
	assert_int_equal(clock_sleep_ms(10000, &stop), ST_INTERRUPTED);
	assert_true(clock_now_ms(clock_system()) - start < 5000);
	assert_int_equal(clock_sleep_ms(10000, &stop), ST_INTERRUPTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fake_clock_stands_still_until_it_is_turned),
		cmocka_unit_test(the_machines_clock_never_goes_back),
		cmocka_unit_test(a_sleep_lasts_its_time),
		cmocka_unit_test(a_signal_ends_a_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
