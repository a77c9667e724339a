/*
 * engine_private.h - the engine's parts: engine.c (the loop), engine_show.c (what is said and shown), engine_wait.c (lease and outages).
 */
#ifndef DROVER_PRODUCER_ENGINE_PRIVATE_H
#define DROVER_PRODUCER_ENGINE_PRIVATE_H

#include "cli/progress.h"
#include "core/outage.h"
#include "producer/engine.h"
#include "redis/redis_sync.h"
#include "steward/audit.h"
#include "steward/charge.h"
#include "steward/finish.h"
#include "steward/scan.h"

struct engine {
	struct console *con;
	const struct cli_call *call;
	const struct engine_options *o;
	struct engine_result *result;
	struct redis_sync *redis;
	struct charge charge;
	struct scan scan;
	struct finisher finisher;
	struct audit audit;
	struct water water;
	struct outage pg_outage, redis_outage;
	/* Redis, as of the last look and what was pushed since */
	uint64_t jobs, bytes;
	/* clock_now_ms of the last of each */
	uint64_t began_ms, looked_ms, depth_ms, counted_ms, blocker_ms;
	uint64_t count_every_ms;
	/* progress */
	struct progress progress;
	struct progress_view view;
	bool showing;      /* from the first turn on */
	char note[160];    /* why it is slow, for the progress line */
	char blocker[200]; /* whose transaction a sweep waits for */
	char said[1400];   /* last line said of its kind, so that nothing is said twice in a row */
	int64_t changed, skipped, dead, ignored, waiting, workers;
	int64_t first_changed; /* when it began */
	uint64_t no_worker_ms; /* since when no worker is alive; 0: one is */
};

uint64_t engine_now(void);

/* One line to the operator, the progress line out of its way. */
void engine_say(struct engine *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same of what is well: not with --quiet. */
void engine_note(struct engine *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* As engine_say(), unless it was the last thing said. */
void engine_say_once(struct engine *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The counts, now and then; the progress line. */
MUST_CHECK int engine_count(struct engine *e, bool now, struct err *err);
void engine_show(struct engine *e);
void engine_show_end(struct engine *e);
/* Who holds up the next sweep, into e->blocker. */
MUST_CHECK int engine_find_blocker(struct engine *e, struct err *err);

/* Sleep, ticking. ST_INTERRUPTED, or what the tick said. */
MUST_CHECK int engine_sleep(struct engine *e, uint64_t ms, struct err *err);
/* Become the producer, waiting while another is. */
MUST_CHECK int engine_lease(struct engine *e, struct err *err);
/* After @why: wait until both servers are there again. Returns 0 if there was an outage and it is over; otherwise the error as it was. */
MUST_CHECK int engine_recover(struct engine *e, struct err *why);

#endif
