#include "core/clock.h"

#include <time.h>

#include "core/err.h"

/* A signal that lands between the look at *stop and the sleep would go unnoticed for the whole time; slices bound that. */
#define SLICE_MS 50

static uint64_t system_now_ms(const struct clock *c)
{
	struct timespec t;

	(void)c;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int64_t system_wall_ms(const struct clock *c)
{
	struct timespec t;

	(void)c;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const struct clock *clock_system(void)
{
	static const struct clock machine = { system_now_ms, system_wall_ms };

	return &machine;
}

int clock_sleep_ms(uint64_t ms, const volatile sig_atomic_t *stop)
{
	const struct clock *c = clock_system();
	uint64_t end = clock_now_ms(c) + ms;

	for (;;) {
		uint64_t now = clock_now_ms(c);
		uint64_t slice;
		struct timespec t;

		if (stop != NULL && *stop)
			return ST_INTERRUPTED;
		if (now >= end)
			return 0;
		slice = end - now;
		if (slice > SLICE_MS && stop != NULL)
			slice = SLICE_MS;
		t = (struct timespec){ .tv_sec = (time_t)(slice / 1000), .tv_nsec = (long)(slice % 1000) * 1000000 };
		nanosleep(&t, NULL);
	}
}
