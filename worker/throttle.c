#include "worker/throttle.h"

#include <string.h>

#include "core/util.h"

#define LOW 0.7         /* of its limit: a signal below is no reason to stay */
#define QUIET_MS 600000 /* without a line: what comes then is news */

static const struct {
	const char *name;
	enum setting_id limit;
	unsigned entry, top;
	const char *sentence;
} signals[THROTTLE_SIGNALS] = {
#define X(id, name, setting, entry, top, sentence) { name, SETTING_##setting, entry, top, sentence },
#include "worker/signals.def"
#undef X
};

/* Size first, then lanes, then pauses. Pauses within a transaction keep its locks for longer: where sessions wait for these, the next rung has few. */
static const struct throttle_response rungs[THROTTLE_RUNGS] = {
	{ 0, 1, 0, 0 }, { 50, 1, 0, 0 }, { 5, 1, 0, 0 }, { 3, 2, 0, 0 },  { 3, 0, 0, 20 },
	{ 3, 0, 1, 5 }, { 2, 0, 3, 0 },  { 2, 0, 9, 0 }, { 2, 0, 30, 0 },
};

const struct throttle_response *throttle_response(unsigned rung)
{
	return &rungs[rung < THROTTLE_RUNGS ? rung : THROTTLE_RUNGS - 1];
}

const char *throttle_name(enum throttle_signal signal)
{
	return signal < THROTTLE_SIGNALS ? signals[signal].name : "";
}

double throttle_limit(const struct settings *s, enum throttle_signal signal)
{
	const struct setting *t = &setting_table[signals[signal].limit];
	const void *member = (const char *)s + t->offset;

	if (!s->throttle)
		return 0;
	return t->type == SETTING_IS_BOOL ? *(const bool *)member : (double)*(const uint64_t *)member;
}

static void say_signal(const struct throttle *t, struct buf *out)
{
	const char *sentence = signals[t->signal].sentence, *number = strstr(sentence, "%.0f");

	if (number == NULL)
		(void)buf_puts(out, sentence);
	else
		(void)buf_printf(out, "%.*s%.0f%s", (int)(number - sentence), sentence, t->value, number + 4);
}

void throttle_say(const struct throttle *t, struct buf *out)
{
	const struct throttle_response *r = throttle_response(t->rung);

	if (t->rung == 0)
		return;
	if (t->guess)
		(void)buf_puts(out, "it is not known who else is at work");
	else if (t->signal < THROTTLE_SIGNALS)
		say_signal(t, out);
	else
		(void)buf_puts(out, "what held it before is not over for long");
	(void)buf_printf(out, "; transactions of %.0f ms at most", r->target_ms);
	if (r->pieces > 0)
		(void)buf_printf(out, ", or of %u times %.1f with pauses", r->pieces, THROTTLE_PIECE_US / 1000.0);
	if (r->lane_part != 1)
		(void)buf_puts(out, r->lane_part == 0 ? ", one lane of the fleet" : ", half of the lanes");
	if (r->rest > 0)
		(void)buf_printf(out, ", pauses %u times as long", r->rest);
}

/* What the signals ask for: at least, and at most as long as they are at their limits; and whether any is not well below its own. */
struct wish {
	unsigned least, most;
	bool low;
	enum throttle_signal signal; /* the one that may go furthest */
};

static struct wish wish_of(const struct throttle_reading *seen, const struct settings *limits)
{
	struct wish w = { .low = true, .signal = THROTTLE_NONE };

	for (unsigned i = 0; i < THROTTLE_SIGNALS; i++) {
		double limit = throttle_limit(limits, (enum throttle_signal)i);

		if (limit <= 0 || !seen->known[i] || seen->value[i] < LOW * limit)
			continue;
		w.low = false;
		if (seen->value[i] < limit)
			continue;
		w.least = signals[i].entry > w.least ? signals[i].entry : w.least;
		if (signals[i].top > w.most) {
			w.most = signals[i].top;
			w.signal = (enum throttle_signal)i;
		}
	}
	return w;
}

static void move(struct throttle *t, unsigned rung, uint64_t now_ms)
{
	if (t->rung == 0 || t->guess)
		t->since_ms = now_ms;
	t->guess = false;
	t->rung = rung;
	t->moved_ms = now_ms;
}

bool throttle_step(struct throttle *t, const struct throttle_reading *seen, const struct settings *limits, uint64_t now_ms)
{
	struct throttle before = *t;
	struct wish w = wish_of(seen, limits);
	/* Signals that ask for less than there is, or for nothing: their own rungs are enough. */
	bool calm = w.low || (w.signal != THROTTLE_NONE && t->rung > w.most);

	if (!calm)
		t->calm_ms = 0;
	else if (t->calm_ms == 0)
		t->calm_ms = now_ms;
	if (w.signal != THROTTLE_NONE) {
		t->signal = w.signal;
		t->value = seen->value[w.signal];
	}
	if (t->guess || t->rung < w.least)
		move(t, w.least, now_ms);
	else if (t->rung < w.most && now_ms - t->moved_ms >= THROTTLE_CLIMB_MS)
		move(t, t->rung + 1, now_ms);
	else if (calm && t->rung > 0 && now_ms - t->calm_ms >= THROTTLE_CALM_MS && now_ms - t->moved_ms >= THROTTLE_DOWN_MS)
		move(t, t->rung - 1, now_ms);
	return before.guess || t->rung != before.rung || (t->rung > 0 && t->signal != before.signal);
}

enum throttle_news throttle_news(const struct throttle *t, struct throttle_told *told, uint64_t now_ms)
{
	bool before = told->held;

	if (t->rung == 0) {
		told->held = false;
		return before ? THROTTLE_ENDS : THROTTLE_NO_NEWS;
	}
	/* What another worker found is for that one to say. */
	if (t->signal == THROTTLE_NONE || (before && t->signal == told->signal))
		return THROTTLE_NO_NEWS;
	if (now_ms - told->lines.ms >= QUIET_MS)
		told->lines = (struct outage_said){ 0 };
	if (!outage_time_to_say(&told->lines, now_ms, throttle_name(t->signal)))
		return THROTTLE_NO_NEWS;
	if (!before)
		told->since_ms = t->since_ms;
	told->held = true;
	told->signal = t->signal;
	return before ? THROTTLE_CHANGES : THROTTLE_BEGINS;
}
