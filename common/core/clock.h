/*
 * clock.h - time as a parameter, so that tests can turn it by hand.
 *
 * Whatever asks for the time takes a `const struct clock *`. A fake embeds the struct:
 *
 *   struct fake { struct clock clock; uint64_t ms; };
 *   static uint64_t fake_now(const struct clock *c) { return container_of(c, const struct fake, clock)->ms; }
 */
#ifndef DROVER_CORE_CLOCK_H
#define DROVER_CORE_CLOCK_H

#include <signal.h>
#include <stdint.h>

#include "core/util.h"

struct clock {
	uint64_t (*now_ms)(const struct clock *c); /* milliseconds, never goes back; its zero means nothing */
	int64_t (*wall_ms)(const struct clock *c); /* milliseconds since 1970 UTC; may jump */
};

/* The machine's own. */
const struct clock *clock_system(void);

static inline uint64_t clock_now_ms(const struct clock *c)
{
	return c->now_ms(c);
}

static inline int64_t clock_wall_ms(const struct clock *c)
{
	return c->wall_ms(c);
}

/**
 * Sleep, for blocking code outside an event loop. Ends early, within 50 ms, once *@stop is not 0 (NULL: cannot be stopped);
 * a signal handler that sets it is noticed at once. Returns 0 after the whole time, ST_INTERRUPTED if stopped.
 */
int clock_sleep_ms(uint64_t ms, const volatile sig_atomic_t *stop);

#endif
