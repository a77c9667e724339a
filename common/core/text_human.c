#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/text.h"

struct text_short text_human_rows(uint64_t n)
{
	struct text_short t;
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *out = t.s;

	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = '\0';
	return t;
}

/* "3m 20s", "5m" */
static void two_units(struct text_short *t, uint64_t large, const char *large_unit, uint64_t small, const char *small_unit)
{
	if (small == 0)
		snprintf(t->s, sizeof(t->s), "%" PRIu64 "%s", large, large_unit);
	else
		snprintf(t->s, sizeof(t->s), "%" PRIu64 "%s %" PRIu64 "%s", large, large_unit, small, small_unit);
}

struct text_short text_human_duration(uint64_t ms)
{
	struct text_short t;
	uint64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 "ms", ms);
	else if (ms < 10000 && ms % 1000 >= 100)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
	else if (s < 60)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 "s", s);
	else if (s < 3600)
		two_units(&t, s / 60, "m", s % 60, "s");
	else if (s < 86400)
		two_units(&t, s / 3600, "h", s % 3600 / 60, "m");
	else
		two_units(&t, s / 86400, "d", s % 86400 / 3600, "h");
	return t;
}

/* A guess needs no seconds next to hours. */
struct text_short text_human_guess(uint64_t ms)
{
	struct text_short t;
	uint64_t s = (ms + 500) / 1000;

	if (s < 100)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 "s", s);
	else if (s < 100 * 60)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 "m", (s + 30) / 60);
	else if (s < 48 * 3600)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 "h", (s + 1800) / 3600);
	else
		snprintf(t.s, sizeof(t.s), "%" PRIu64 "d", (s + 43200) / 86400);
	return t;
}

struct text_short text_human_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	struct text_short t;
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1023.5 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	/* "1.5 kB", but "20 kB" and "2 MB" */
	if (u > 0 && v < 9.95 && (uint64_t)(v * 10 + 0.5) % 10 != 0)
		snprintf(t.s, sizeof(t.s), "%.1f %s", v, units[u]);
	else
		snprintf(t.s, sizeof(t.s), "%.0f %s", v, units[u]);
	return t;
}

struct text_short text_human_rate(double per_s)
{
	struct text_short t;

	if (!(per_s > 0))
		snprintf(t.s, sizeof(t.s), "0/s");
	else if (per_s >= 9.95)
		snprintf(t.s, sizeof(t.s), "%.30s/s", text_human_rows(per_s < 1e15 ? (uint64_t)(per_s + 0.5) : (uint64_t)1e15).s);
	else if (per_s >= 0.1)
		snprintf(t.s, sizeof(t.s), "%.1f/s", per_s);
	else if (per_s * 3600 >= 60)
		snprintf(t.s, sizeof(t.s), "%.0f/min", per_s * 60);
	else
		snprintf(t.s, sizeof(t.s), "%.0f/h", per_s * 3600);
	return t;
}

struct text_short text_human_percent(double share)
{
	struct text_short t;
	double percent = share * 100;

	/* Rounded down: 99.96 % is not all, and says so. */
	if (!(percent > 0))
		snprintf(t.s, sizeof(t.s), "0%%");
	else if (percent >= 100)
		snprintf(t.s, sizeof(t.s), "100%%");
	else if (percent < 0.1)
		snprintf(t.s, sizeof(t.s), "<0.1%%");
	else if (percent < 10 || percent > 99)
		snprintf(t.s, sizeof(t.s), "%.1f%%", (double)(int)(percent * 10) / 10);
	else
		snprintf(t.s, sizeof(t.s), "%d%%", (int)percent);
	return t;
}

struct text_short text_iso8601(int64_t wall_ms)
{
	struct text_short t;
	int64_t s = wall_ms / 1000;
	int64_t ms = wall_ms % 1000;
	time_t when;
	struct tm tm;

	if (ms < 0) {
		ms += 1000;
		s--;
	}
	when = (time_t)s;
	if (gmtime_r(&when, &tm) == NULL || strftime(t.s, sizeof(t.s), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		snprintf(t.s, sizeof(t.s), "0000-00-00T00:00:00");
	snprintf(t.s + strlen(t.s), sizeof(t.s) - strlen(t.s), ".%03dZ", (int)ms);
	return t;
}
