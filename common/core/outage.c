#include "core/outage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/text.h"

void outage_init(struct outage *o, const char *what, outage_say_fn say, void *arg)
{
	memset(o, 0, sizeof(*o));
	o->what = what;
	o->say = say;
	o->arg = arg;
	rng_seed_random(&o->rng);
}

/* Servers that come and go, and connections that meet different ends, alternate between a few reasons. */
static bool is_news(const struct outage_said *s, const char *why)
{
	for (unsigned i = 0; i < s->n; i++)
		if (strncmp(s->reasons[i], why, sizeof(s->reasons[i]) - 1) == 0)
			return false;
	return s->n < OUTAGE_REASONS;
}

bool outage_time_to_say(struct outage_said *s, uint64_t now_ms, const char *why)
{
	bool news = is_news(s, why);

	if (s->n > 0 && now_ms - s->ms < (news ? OUTAGE_NEWS_MS : OUTAGE_SAY_MS))
		return false;
	if (news)
		snprintf(s->reasons[s->n++], sizeof(s->reasons[0]), "%s", why);
	s->ms = now_ms;
	return true;
}

static void say_begin(struct outage *o, uint64_t away_ms, const char *why)
{
	char line[512];

	if (o->say == NULL) {
		log_warn("outage.begin", "server=%s away_ms=%" PRIu64 " tries=%u cause='%s'", o->what, away_ms, o->tries, why);
		return;
	}
	if (away_ms < 1000)
		snprintf(line, sizeof(line), "%s is away: %s; waiting", o->what, why);
	else
		snprintf(line, sizeof(line), "%s is away for %s: %s; waiting", o->what, text_human_duration(away_ms).s, why);
	o->say(o->arg, line);
}

uint64_t outage_failed(struct outage *o, uint64_t now_ms, const char *why)
{
	uint64_t ceiling = OUTAGE_FIRST_MS;

	if (!o->away) {
		o->away = true;
		o->since_ms = now_ms;
		o->tries = 0;
		o->said = (struct outage_said){ 0 };
	}
	o->tries++;
	if (outage_time_to_say(&o->said, now_ms, why))
		say_begin(o, now_ms - o->since_ms, why);
	for (unsigned i = 1; i < o->tries && ceiling < OUTAGE_LONGEST_MS; i++)
		ceiling *= 2;
	if (ceiling > OUTAGE_LONGEST_MS)
		ceiling = OUTAGE_LONGEST_MS;
	return ceiling / 2 + rng_below(&o->rng, ceiling / 2 + 1);
}

void outage_over(struct outage *o, uint64_t now_ms)
{
	char line[128];

	if (!o->away)
		return;
	o->away = false;
	o->tries = 0;
	if (o->say == NULL) {
		log_info("outage.end", "server=%s away_ms=%" PRIu64, o->what, now_ms - o->since_ms);
		return;
	}
	snprintf(line, sizeof(line), "%s is back after %s", o->what, text_human_duration(now_ms - o->since_ms).s);
	o->say(o->arg, line);
}
