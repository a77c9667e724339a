/*
 * throttle.h - how far the fleet gives way to others: from what is seen of the server to a rung, and what each rung means.
 *
 * Pure: times are given, nothing is asked. The worker that watches (watch.c) has one per migration; all workers read the rung in PostgreSQL.
 *
 * Rung 0 holds nothing back. Going up, transactions become smaller, then fewer lanes work, then they pause. A signal at its limit takes the fleet
 * to the signal's first rung at once and further up while it does not help; it comes down rung by rung once every signal is well below its limit.
 */
#ifndef DROVER_WORKER_THROTTLE_H
#define DROVER_WORKER_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/outage.h"
#include "ledger/settings.h"

#define THROTTLE_RUNGS 9
#define THROTTLE_GUESS 4       /* the rung until somebody has looked: others may be at work */
#define THROTTLE_CLIMB_MS 1000 /* on a rung that does not help, until the next one */
#define THROTTLE_CALM_MS 2000  /* below all limits, until the first rung down ... */
#define THROTTLE_DOWN_MS 500   /* ... and until each one after it */
#define THROTTLE_REST_MAX_MS 5000
#define THROTTLE_PIECES_MAX 20 /* each of two steps of an operation: fewer than a script may have */
#define THROTTLE_PIECE_US 600  /* for so long others wait for a processor that is ours */
#define THROTTLE_HELD_MS 20    /* and for a row of a transaction that pauses; half as long again where the way turns out to be longer */

enum throttle_signal {
#define X(id, name, setting, entry, top, sentence) THROTTLE_##id,
#include "worker/signals.def"
#undef X
	THROTTLE_SIGNALS,
	THROTTLE_NONE = THROTTLE_SIGNALS,
};

/* What was seen at one look. What could not be read is not known, which is said and never taken for a low value. */
struct throttle_reading {
	double value[THROTTLE_SIGNALS]; /* in the unit of the limit */
	bool known[THROTTLE_SIGNALS];
};

/* All zeros: nothing holds it. */
struct throttle {
	unsigned rung;
	enum throttle_signal signal; /* that holds it, or did until it was low; only where rung > 0 */
	double value;                /* of the signal, when it last was at its limit */
	uint64_t since_ms;           /* on a rung above 0, without a break */
	uint64_t moved_ms;           /* when the rung last changed */
	uint64_t calm_ms;            /* since when every signal is low; 0: one is not */
	bool guess;                  /* nobody has looked yet at what the rung is for */
};

/*
 * Take in what was seen at @now_ms, against the limits in @limits. Returns whether the rung or the signal is another one now, or known for the first time.
 */
bool throttle_step(struct throttle *t, const struct throttle_reading *seen, const struct settings *limits, uint64_t now_ms);

/* What the log says of it: rung by rung would be a flood where others come and go. */
enum throttle_news {
	THROTTLE_NO_NEWS,
	THROTTLE_BEGINS,  /* to hold */
	THROTTLE_CHANGES, /* another signal holds it */
	THROTTLE_ENDS,    /* and was said to hold */
};

/* What was said so far. All zeros: nothing. */
struct throttle_told {
	bool held;
	enum throttle_signal signal;
	uint64_t since_ms; /* that it is held, as far as it was said */
	struct outage_said lines;
};

/*
 * Is there something to say? Then it counts as said. That it holds is said at once, and when it does so again within a minute of the last line, or for
 * another reason, as often as outage.h has it of an outage's reasons. What was never said to begin does not end.
 */
enum throttle_news throttle_news(const struct throttle *t, struct throttle_told *told, uint64_t now_ms);

/* The limit of a signal; 0: nobody wants to know. */
double throttle_limit(const struct settings *s, enum throttle_signal signal);

const char *throttle_name(enum throttle_signal signal);       /* "": none */
void throttle_say(const struct throttle *t, struct buf *out); /* what holds it, and what workers do; nothing on rung 0 */

/* What a worker does on a rung. */
struct throttle_response {
	double target_ms;   /* of a transaction at most; 0: as set */
	unsigned lane_part; /* 1: all lanes; 2: half of each worker's; 0: one of the whole fleet */
	unsigned rest;      /* after a transaction, in times of what it took */
	unsigned pieces;    /* of a transaction of a batch, THROTTLE_PIECE_US each and sent apart, instead of target_ms; 0: none */
};

const struct throttle_response *throttle_response(unsigned rung); /* above the highest: the highest */

#endif
