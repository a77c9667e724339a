/*
 * standing.h - how a migration stands and why it does not go faster: facts from PostgreSQL and Redis, and what they mean.
 *
 * standing_why() is pure, so that every sentence has a test. Used by status and monitor.
 */
#ifndef DROVER_PRODUCER_STANDING_H
#define DROVER_PRODUCER_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"
#include "ledger/migrations.h"
#include "ledger/settings.h"
#include "producer/bound.h"
#include "queue/queue.h"

struct cli_call;
struct console;

#define STANDING_WHY_MAX 20   /* reasons */
#define STANDING_STALLED_S 60 /* nothing committed for so long is worth a word */

/* The fleet, for all migrations alike. */
struct fleet {
	unsigned alive;             /* workers heard of within 15 s */
	unsigned working;           /* of these, neither paused nor draining nor waiting for a server */
	unsigned lanes;             /* of the working */
	unsigned busy;              /* of these, at a job */
	bool redis_asked;           /* REDIS_URL is set */
	char redis[300];            /* why it does not answer; "" if it does */
	struct bound_server server; /* kept from look to look */
};

/* A migration. Strings are borrowed from the result that it was read from. */
struct standing {
	int id;
	const char *name, *state, *reason, *by, *table, *mode, *producer;
	bool ledger_only, producing, scan_done, sweep_waits, limited;
	int64_t scanned, found, changed, skipped, finished, expected, dead, waiting, ignored, incomplete;
	int64_t workers_may,
		workers_able;           /* alive, and meant for it and able to read it; of these, neither paused nor draining nor waiting */
	int64_t lanes_able, lanes_busy; /* of the able; at a job of it */
	int sweep, sweep_stuck;
	double share; /* 0 to 1; negative: unknown */
	/* how far the fleet gives way to others; 0: it does not */
	int rung;
	double held_s;
	double state_s;                            /* since its state last changed */
	const char *signal, *held_by, *held_since; /* NULL: nothing holds it */
	const char *unseen;                        /* what the fleet cannot see, NULL: nothing */
	int64_t idle_s;                            /* since a worker's last commit; negative: none yet */
	int64_t idle_ms;                           /* the same */
	double rate_per_s;                         /* rows finished; negative: not measured */
	bool eta_known;                            /* range of the time left; */
	bool eta_open;                             /* ... without an upper end */
	uint64_t eta_low_ms, eta_high_ms;
	bool depth_known;
	struct queue_depth depth;
	struct settings settings;
	char lock[400];    /* "lane ... waits 3s for a lock of pid 7 (psql): UPDATE ..." */
	char blocker[300]; /* who holds up the last sweep */
	enum bound bound;  /* what sets the pace */
};

/* Who works at all. @ret: zeros, or as the last look left it. Redis away is no error; ST_INPUT: its URL is none. */
MUST_CHECK int fleet_read(struct console *con, const struct cli_call *call, struct fleet *ret, struct err *err);

/* Add the rows of migrations_workers() up. */
void fleet_count(struct fleet *f, const PGresult *workers);

/* Row @row of migrations_status(): the ledger's side alone. */
void standing_of_row(const PGresult *res, int row, struct standing *ret);

/* Backlog, settings, what sets the pace, and who holds what up: more queries, only for what runs. Redis away is no error. */
MUST_CHECK int standing_look_closer(struct console *con, const struct cli_call *call, struct fleet *fleet, struct standing *s,
				    struct err *err);

/* The row of oldest_transaction.sql in words: "pid 12 (psql), open for 3m". */
void standing_say_transaction(const PGresult *res, char *out, size_t size);

/* Rows that are still to be finished, by the best estimate. */
static inline int64_t standing_left(const struct standing *s)
{
	return s->expected > s->finished ? s->expected - s->finished : 0;
}

bool standing_is(const struct standing *s, const char *state);
bool standing_over(const struct standing *s); /* complete, limited or cancelled */

/* Append why it is slow or stopped and what to do about it, the weightiest first: one sentence each. */
void standing_why(const struct standing *s, const struct fleet *fleet, struct strvec *out);

#endif
