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

static void say_begin(struct outage *o, uint64_t away_ms)
{
	char line[512];

	if (o->say == NULL) {
		log_warn("outage.begin", "server=%s away_ms=%" PRIu64 " tries=%u cause='%s'", o->what, away_ms, o->tries, o->why);
		return;
	}
	if (away_ms < 1000)
		snprintf(line, sizeof(line), "%s is away: %s; waiting", o->what, o->why);
	else
		snprintf(line, sizeof(line), "%s is away for %s: %s; waiting", o->what, text_human_duration(away_ms).s, o->why);
	o->say(o->arg, line);
}

uint64_t outage_failed(struct outage *o, uint64_t now_ms, const char *why)
{
	uint64_t ceiling = OUTAGE_FIRST_MS;
	bool news;

	if (!o->away) {
		o->away = true;
		o->since_ms = now_ms;
		o->tries = 0;
		o->why[0] = '\0';
	}
	o->tries++;
	news = strncmp(o->why, why, sizeof(o->why) - 1) != 0;
	/* Servers that come and go alternate between a few reasons: a new one within a second of the last waits its minute. */
	if (o->tries == 1 || (news && now_ms - o->said_ms >= 1000) || now_ms - o->said_ms >= OUTAGE_SAY_MS) {
		snprintf(o->why, sizeof(o->why), "%s", why);
		say_begin(o, now_ms - o->since_ms);
		o->said_ms = now_ms;
	}
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
