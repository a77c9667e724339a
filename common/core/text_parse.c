#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/text.h"

/* Read digits; *ret_end is the first other byte. False without a digit or above 64 bits (then *ret_big). */
static bool read_digits(const char *s, uint64_t *ret, const char **ret_end, bool *ret_big)
{
	uint64_t v = 0;
	const char *p = s;

	*ret_big = false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			*ret_big = true;
	}
	*ret = v;
	*ret_end = p;
	return p > s && !*ret_big;
}

static int out_of_range(const char *s, const char *min, const char *max, bool has_max, struct err *err)
{
	if (has_max)
		return err_set(err, ST_INPUT, "'%s' is out of range: %s to %s", s, min, max);
	return err_set(err, ST_INPUT, "'%s' is too small or too large: at least %s", s, min);
}

int text_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret, struct err *err)
{
	char low[24], high[24];
	const char *end;
	uint64_t v;
	bool big;

	if ((!read_digits(s, &v, &end, &big) && !big) || *end != '\0')
		return err_set(err, ST_INPUT, "'%s' is not a whole number", s);
	if (big || v < min || v > max) {
		snprintf(low, sizeof(low), "%" PRIu64, min);
		snprintf(high, sizeof(high), "%" PRIu64, max);
		return out_of_range(s, low, high, max != UINT64_MAX, err);
	}
	*ret = v;
	return 0;
}

int text_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret, struct err *err)
{
	bool negative = s[0] == '-';
	char low[24], high[24];
	const char *end;
	uint64_t digits;
	int64_t v = 0;
	bool big;

	if ((!read_digits(s + negative, &digits, &end, &big) && !big) || *end != '\0')
		return err_set(err, ST_INPUT, "'%s' is not a whole number", s);
	if (!big) {
		if (negative)
			big = __builtin_sub_overflow((int64_t)0, digits, &v);
		else
			big = __builtin_add_overflow((int64_t)0, digits, &v);
	}
	if (big || v < min || v > max) {
		snprintf(low, sizeof(low), "%" PRId64, min);
		snprintf(high, sizeof(high), "%" PRId64, max);
		return out_of_range(s, low, high, true, err);
	}
	*ret = v;
	return 0;
}

/* ------------------------------------------------------------ decimals with a unit */

struct decimal {
	uint64_t whole;
	uint64_t fraction; /* of 10^digits */
	uint64_t scale;    /* 10^digits */
};

/* "12" or "12.5"; *ret_rest is what follows. At most nine digits behind the point. */
static bool read_decimal(const char *s, struct decimal *ret, const char **ret_rest)
{
	const char *end;
	bool big;

	ret->fraction = 0;
	ret->scale = 1;
	if (!read_digits(s, &ret->whole, &end, &big))
		return false;
	if (*end == '.') {
		const char *digits = end + 1;

		if (!read_digits(digits, &ret->fraction, &end, &big) || end - digits > 9)
			return false;
		for (; digits < end; digits++)
			ret->scale *= 10;
	}
	*ret_rest = end;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit *find_unit(const struct unit *units, const char *name)
{
	for (; units->name != NULL; units++)
		if (strcasecmp(units->name, name) == 0)
			return units;
	return NULL;
}

/* number x unit, exactly; false if it does not fit or leaves a fraction. */
static bool scale(const struct decimal *d, uint64_t factor, uint64_t *ret)
{
	uint64_t whole, part;

	if (__builtin_mul_overflow(d->whole, factor, &whole) || __builtin_mul_overflow(d->fraction, factor, &part))
		return false;
	return part % d->scale == 0 && !__builtin_add_overflow(whole, part / d->scale, ret);
}

static double to_double(const struct decimal *d)
{
	return (double)d->whole + (double)d->fraction / (double)d->scale;
}

int text_parse_duration_ms(const char *s, uint64_t *ret_ms, struct err *err)
{
	static const struct unit units[] = {
		{ "", 1000 },     { "ms", 1 },      { "s", 1000 },     { "sec", 1000 }, { "m", 60000 },
		{ "min", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
	};
	const struct unit *unit;
	struct decimal d;
	const char *rest;

	if (!read_decimal(s, &d, &rest) || (unit = find_unit(units, rest)) == NULL)
		return err_set(err, ST_INPUT, "'%s' is not a duration such as 200ms, 5s, 1.5m, 2h or 1d", s);
	if (!scale(&d, unit->factor, ret_ms))
		return err_set(err, ST_INPUT, "'%s' is too long a time, or finer than 1ms", s);
	return 0;
}

int text_parse_bytes(const char *s, uint64_t *ret_bytes, struct err *err)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "b", 1 },
		{ "k", 1u << 10 },
		{ "kb", 1u << 10 },
		{ "kib", 1u << 10 },
		{ "m", 1u << 20 },
		{ "mb", 1u << 20 },
		{ "mib", 1u << 20 },
		{ "g", 1u << 30 },
		{ "gb", 1u << 30 },
		{ "gib", 1u << 30 },
		{ "t", (uint64_t)1 << 40 },
		{ "tb", (uint64_t)1 << 40 },
		{ "tib", (uint64_t)1 << 40 },
		{ NULL, 0 },
	};
	const struct unit *unit;
	struct decimal d;
	const char *rest;

	if (!read_decimal(s, &d, &rest) || (unit = find_unit(units, rest)) == NULL)
		return err_set(err, ST_INPUT, "'%s' is not a size such as 512, 64kB, 16MB or 1GB", s);
	if (!scale(&d, unit->factor, ret_bytes))
		return err_set(err, ST_INPUT, "'%s' is too large, or not a whole number of bytes", s);
	return 0;
}

int text_parse_rate(const char *s, double *ret_per_s, struct err *err)
{
	static const struct unit units[] = {
		{ "", 1 }, { "/s", 1 }, { "/sec", 1 }, { "/m", 60 }, { "/min", 60 }, { "/h", 3600 }, { NULL, 0 },
	};
	const struct unit *unit;
	struct decimal d;
	const char *rest;

	if (!read_decimal(s, &d, &rest) || (unit = find_unit(units, rest)) == NULL)
		return err_set(err, ST_INPUT, "'%s' is not a rate such as 100/s or 5/m", s);
	if (d.whole == 0 && d.fraction == 0)
		return err_set(err, ST_INPUT, "a rate of 0 would never end: give more, such as 1/s");
	*ret_per_s = to_double(&d) / (double)unit->factor;
	return 0;
}

int text_parse_percent(const char *s, double *ret_percent, struct err *err)
{
	struct decimal d;
	const char *rest;

	if (!read_decimal(s, &d, &rest) || (strcmp(rest, "") != 0 && strcmp(rest, "%") != 0))
		return err_set(err, ST_INPUT, "'%s' is not a percentage such as 20%%", s);
	if (to_double(&d) > 100)
		return err_set(err, ST_INPUT, "'%s' is out of range: 0%% to 100%%", s);
	*ret_percent = to_double(&d);
	return 0;
}

int text_parse_bool(const char *s, bool *ret, struct err *err)
{
	static const char *const yes[] = { "true", "yes", "on", "1" };
	static const char *const no[] = { "false", "no", "off", "0" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(s, yes[i]) == 0 || strcasecmp(s, no[i]) == 0) {
			*ret = strcasecmp(s, yes[i]) == 0;
			return 0;
		}
	}
	return err_set(err, ST_INPUT, "'%s' is neither yes nor no", s);
}

/* ------------------------------------------------------------ lists */

int text_split(const char *s, char sep, struct strvec *list, struct err *err)
{
	const char *p = s;

	if (*s == '\0')
		return 0;
	for (;;) {
		const char *end = strchrnul(p, sep);
		const char *from = p;
		const char *to = end;
		int rc;

		while (from < to && isspace((unsigned char)*from))
			from++;
		while (to > from && isspace((unsigned char)to[-1]))
			to--;
		if (from == to)
			return err_set(err, ST_INPUT, "'%s' has an empty item", s);
		rc = strvec_push_n(list, from, (size_t)(to - from));
		if (rc == ST_LIMIT)
			return err_set(err, rc, "'%s' has more than %zu items", s, list->max);
		if (rc != 0)
			return err_set(err, rc, "out of memory");
		if (*end == '\0')
			return 0;
		p = end + 1;
	}
}

int text_parse_duration_list_ms(const char *s, uint64_t *ret_ms, size_t cap, size_t *ret_n, struct err *err)
{
	CLEANUP(strvec_free) struct strvec items;
	uint64_t ms;
	int rc;

	strvec_init(&items, cap);
	rc = text_split(s, ',', &items, err);
	if (rc != 0)
		return rc;
	if (items.n == 0)
		return err_set(err, ST_INPUT, "expected durations such as 1,5,30");
	/* All are read once before the caller's array is touched. */
	for (size_t i = 0; i < items.n; i++) {
		rc = text_parse_duration_ms(items.v[i], &ms, err);
		if (rc != 0)
			return rc;
	}
	for (size_t i = 0; i < items.n; i++) {
		rc = text_parse_duration_ms(items.v[i], &ret_ms[i], err);
		if (rc != 0)
			return rc;
	}
	*ret_n = items.n;
	return 0;
}

/* ------------------------------------------------------------ did you mean */

#define NEAREST_MAX 48 /* longer words are no commands or options of anybody */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment distance; case does not count. */
static unsigned edits(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned d[NEAREST_MAX + 1][NEAREST_MAX + 1];

	for (size_t i = 0; i <= na; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= nb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		for (size_t j = 1; j <= nb; j++) {
			int x = tolower((unsigned char)a[i - 1]);
			int y = tolower((unsigned char)b[j - 1]);

			d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]))
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[na][nb];
}

const char *text_nearest(const char *word, const char *const *candidates)
{
	const char *best = NULL;
	unsigned best_edits = 0;
	size_t n;

	/* Dashes in front would make every pair of short options alike. */
	word += strspn(word, "-");
	n = strlen(word);
	if (n < 2 || n > NEAREST_MAX)
		return NULL;
	for (; *candidates != NULL; candidates++) {
		const char *c = *candidates + strspn(*candidates, "-");
		size_t nc = strlen(c);
		unsigned most = (unsigned)(n < 3 ? 1 : (n + 2) / 3);
		unsigned e;

		if (nc > NEAREST_MAX || nc < 2)
			continue;
		e = edits(word, n, c, nc);
		if (e > most && n >= 3 && strncasecmp(word, c, n) == 0)
			e = most; /* the beginning of a longer word */
		if (e <= most && (best == NULL || e < best_edits)) {
			best = *candidates;
			best_edits = e;
		}
	}
	return best;
}

bool text_one_of(const char *s, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}
