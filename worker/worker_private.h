/*
 * worker_private.h - the parts of a worker and who they belong to. All on one loop, on one thread; the steward has a thread of the pool.
 *
 *   control   one connection to PostgreSQL: what to work on, settings, heartbeat
 *   fetch     two connections to Redis that block in XREADGROUP: one for batches, one for rows
 *   bell      one connection to Redis that waits to be told of news in PostgreSQL
 *   commands  one connection to Redis for everything else
 *   lanes     a connection to PostgreSQL each, and the job on it
 */
#ifndef DROVER_WORKER_PRIVATE_H
#define DROVER_WORKER_PRIVATE_H

#include <signal.h>

#include <uv.h>

#include "core/outage.h"
#include "core/rng.h"
#include "figures/figures.h"
#include "http/http.h"
#include "job/keys.h"
#include "loop/loop.h"
#include "pg/pg_link.h"
#include "queue/scripts.h"
#include "redis/redis_link.h"
#include "steward/steward.h"
#include "worker/counts.h"
#include "worker/mig.h"
#include "worker/tx.h"
#include "worker/worker.h"

#define WORKER_POLL_MS 400
#define WORKER_BEAT_MS 5000
#define WORKER_FRESH_MS 12000 /* a worker that was not heard of for longer is not counted ... */
/* The same where a migration has a limit that the workers share: what a dead one has of it lies idle until the others know. */
#define WORKER_SHARING_BEAT_MS 2000
#define WORKER_SHARING_FRESH_MS 5000
#define WORKER_HELD_MAX 32768 /* entries of all migrations that are held at most */
#define WORKER_PROMOTE_MS 1000

struct worker;

/* ------------------------------------------------------------ lane.c */

struct lane {
	struct ports ports; /* of the run on it */
	struct worker *worker;
	unsigned index;
	struct pg_link *link;
	struct pg_op op;
	struct tx tx;
	struct tx_who who;
	char name[WORKER_NAME_MAX + 8], application[64];
	struct job_run *run;      /* NULL: idle */
	struct loop_timer *timer; /* the run's wait; or the pause between two runs, or the end of one */
	uint64_t commits_before;  /* of the migration, when the transaction began */
	uint64_t started_ms;      /* of the run */
	bool worked;              /* the migration's own SQL was sent for the run */
	bool holding;             /* the run waits to be alone */
	bool pausing;             /* processing_interval_ms after a run */
	bool finishing;           /* the run is done, and freed in the next turn of the loop */
	bool wants_renew;         /* its server became read-only */
	/* a connection lost without a word: was it the way to the server, or did that crash? */
	int64_t recovered, booted; /* control's, when the transaction began */
	bool weighing;             /* until control has asked again */
	uint64_t lost_ms;
	struct tx_answer loss;
	uint64_t sent_us, took_us; /* the same of a job's work, and how long the last of that took */
	uint64_t worked_us;        /* of which it did not pause for others */
	uint64_t changed;          /* rows, by it */
	/* for the counts */
	uint64_t started_ns;
	enum counts_outcome outcome; /* of the run, as far as it is known */
	enum settle_kind settled_as; /* what Redis was told last */
	bool failed;                 /* its last attempt did, and is not counted as retried yet */
};

MUST_CHECK int lane_init(struct lane *l, struct worker *w, unsigned index, struct err *err);
void lane_close(struct lane *l);
bool lane_free(const struct lane *l); /* up and idle: can start a run */
/* Does it wait for an answer to what it sent before @when_ms? */
bool lane_waits_since(const struct lane *l, uint64_t when_ms);
void lane_give_up(struct lane *l); /* that answer will not come: connect anew, and find out */
/* Connect anew if it was connected before @since_ms, has asked nothing since and waits for nothing: such a connection may be dead, and nothing tells. */
void lane_renew(struct lane *l, uint64_t since_ms);
void lane_start(struct lane *l, struct job_run *run);
void lane_wake(struct lane *l);          /* it rests no longer */
void lane_allow_alone(struct worker *w); /* let the next run that wants it be alone, if it can be now */

/* ------------------------------------------------------------ settle.c */

/* As struct ports' settle. For runs that never had a lane, @cb is called instead of job_run_on_settled(). */
typedef void (*settle_fn)(void *arg, int status);
MUST_CHECK int settle_send(struct worker *w, struct job_run *r, enum settle_kind kind, settle_fn cb, void *arg);
/* Give back (or drop, of a migration that is over) all of a migration's jobs that are not started. */
void settle_give_back(struct worker *w, struct mig *m);
/*
 * Of what entry_read_list() gives, what is no job that this program knows: dropped, or if a later version knows it left to others while the
 * migration goes on, which *@left (may be NULL) counts. Frees it. False: a job.
 */
bool settle_unknown(struct worker *w, struct mig *m, struct entry *e, struct entry_id id, const char *why, size_t *left);

/* ------------------------------------------------------------ fetch.c, reclaim.c, lease.c */

struct fetch {
	struct worker *worker;
	struct redis_link *link;
	bool rows;                /* for migrations in row mode; otherwise those in batch mode */
	bool reading;             /* XREADGROUP is under way */
	bool blocking;            /* and may take a second */
	struct loop_timer *timer; /* a pause after an error, or ... */
	bool resting;             /* ... a rest, since not all of the streams could be read at once */
	unsigned rest_ms;         /* for how long */
	struct mig *asked[64];    /* whose streams are being read, in order; NULL: gone meanwhile */
	unsigned nasked;
	int32_t from;     /* the migration to begin with, where there are more than these */
	bool found_empty; /* the last answer brought nothing */
	bool was_up;
	bool missed;         /* the answer to a read or a take-over may have been lost: look for what it brought before the next read */
	unsigned recovering; /* answers awaited of that look */
};

MUST_CHECK int fetch_init(struct fetch *f, struct worker *w, bool rows, struct err *err);
void fetch_close(struct fetch *f);
void fetch_more(struct worker *w);                        /* read where there is room and something to read */
void fetch_forget(struct worker *w, const struct mig *m); /* it is about to be freed */
void fetch_make_group(struct worker *w, struct mig *m);

void reclaim_start(struct worker *w); /* begin to take over and to promote, for good */
void reclaim_now(struct worker *w);   /* look at once */
void reclaim_unseen(struct fetch *f); /* take in what is ours without our having seen it */

void lease_start(struct worker *w);
void lease_alive(struct worker *w);  /* the liveness key */
void lease_let_go(struct worker *w); /* and its end */

/* ------------------------------------------------------------ bell.c */

struct bell {
	struct worker *worker;
	struct redis_link *link;
	struct loop_timer *timer; /* until the poll after a ring, or until the next read */
	char last[ENTRY_ID_MAX];  /* heard */
	bool reading;
	bool rung; /* not followed yet */
};

MUST_CHECK int bell_init(struct worker *w, struct err *err);
void bell_close(struct worker *w);
void bell_listen(struct worker *w); /* the installation is known */
void bell_tell(struct worker *w);   /* the others: something is new in PostgreSQL */

/* ------------------------------------------------------------ control.c */

enum control_step { CONTROL_HELLO, CONTROL_POLL, CONTROL_PLAN, CONTROL_LANES, CONTROL_WATCH, CONTROL_TELL, CONTROL_GONE };

struct control {
	struct pg_link *link;
	struct pg_op op;
	enum control_step step;
	struct loop_timer *timer;
	struct mig *loading;      /* CONTROL_PLAN */
	uint64_t beat_ms;         /* of the last heartbeat */
	uint64_t sharing_ms;      /* since when some limit is shared; 0: none is */
	bool started;             /* the first heartbeat is out */
	bool polled;              /* the first poll was answered */
	bool urgent;              /* poll again at once */
	bool schema_missing_said; /* and other reasons why nothing can be asked */
	bool ever_up;
	bool greeted;         /* this connection's database is the one that we were told */
	bool beating;         /* the heartbeat is part of the poll under way ... */
	const char *standing; /* ... and says this; a literal */
	const char *told;     /* what the last one said */
	uint64_t heard_ms;    /* when its connection gave its first answer */
	bool first;           /* of the workers that run, by name */
	uint64_t fleet;       /* how many those are; about, for this one may not be counted */
	uint64_t suspect_ms;  /* of lanes that wait since before, it asked whether the server is at work for them */
	bool lost;            /* the one before was lost: what the lanes wait for may be lost as well, and nobody says so */
	uint64_t unheard_ms;  /* when it asked what was never answered, until it is heard again: nor may lanes be. 0: no such */
	uint64_t asked_ms;    /* when the poll under way was sent ... */
	uint64_t answered_ms; /* ... and the last one that was answered */
	int64_t recovered;    /* the server's last crash, and its start as a whole, as it tells; only to compare */
	int64_t booted;
	uint64_t beat_rows;    /* rows done when it was sent ... */
	uint64_t beating_rows; /* ... and when the one under way was */
	struct buf ids, doing, cannot;
};

MUST_CHECK int control_init(struct worker *w, struct err *err);
void control_close(struct worker *w);
void control_urge(struct worker *w);     /* poll now: a job was told that something has changed */
void control_say_gone(struct worker *w); /* the last thing: take the worker out of the list */

/* ------------------------------------------------------------ beat.c */

/* The parameters of worker_beat.sql, with their texts. */
struct beat {
	const char *params[13];
	char pid[16], lanes[16], jobs[24], rows[24], rate[32];
};

bool beat_is_due(const struct worker *w);
void beat_fill(struct worker *w, struct beat *b, const char *only); /* @only: text[] of names that it is restricted to, NULL: all */
void beat_heard(struct worker *w);                                  /* PostgreSQL has it */

/* ------------------------------------------------------------ watch.c */

#define WORKER_WATCH_MS 200

/* What the worker that watches has seen of the server. */
struct watch {
	struct throttle_reading seen;                      /* of all migrations alike; what is of one table alone is with it */
	struct buf unseen;                                 /* what could not be seen at the last look */
	uint64_t looked_ms, taken_ms, tables_ms, blind_ms; /* the last look, lease, look at tables and WAL; and refusal */
	double touched, active, sessions;                  /* as counted at the last look; active: on the average of a second */
	bool first;                                        /* the last look had none shortly before it */
	bool taking;                                       /* the lease is part of the look under way */
	bool only_taken;                                   /* nothing else is: the last look failed */
	int32_t telling;                                   /* the migration whose rung is being written */
};

uint64_t watch_due_ms(const struct worker *w); /* until there is something to look at; UINT64_MAX: not for now */
/* On control's connection, which is free: whether anything was asked. */
bool watch_ask(struct worker *w);
bool watch_has_news(const struct worker *w); /* to tell */
bool watch_tell(struct worker *w);
void watch_answered(struct worker *w, const struct pg_op *op);
void watch_told(struct worker *w, const struct pg_op *op);

/* ------------------------------------------------------------ drain.c */

void drain_signals(struct worker *w);
void drain_begin(struct worker *w, const char *why);
void drain_check(struct worker *w); /* is everything done? */

/* ------------------------------------------------------------ report.c */

/* What is said of a server: once when it goes, once a minute while it is away (a new reason sooner), once when it is back. */
struct server_report {
	const char *name;
	uint64_t since_ms;
	struct outage_said said;
	uint64_t connects, failures;
};

void report_server(struct worker *w, struct server_report *s, bool up, const struct err *why);
void report_job(struct worker *w, struct lane *l, const char *event, const char *why, const struct tx_answer *a);

/* ------------------------------------------------------------ tend.c */

struct tend {
	struct steward *steward;
	uv_work_t work;
	bool running;
	bool wanted; /* at once */
	struct loop_timer *timer;
	struct steward_report result;
	int status;
	unsigned failures; /* rounds in a row */
	struct err err;
	uint64_t said_ms;
};

MUST_CHECK int tend_init(struct worker *w, struct err *err);
void tend_soon(struct worker *w);  /* a producer is gone, and what it left is to be looked after */
void tend_alarm(struct worker *w); /* Redis may have lost something */
void tend_close(struct worker *w);

/* ------------------------------------------------------------ serve.c */

MUST_CHECK int serve_init(struct worker *w, struct err *err); /* nothing unless --metrics-listen is given */
void serve_polled(struct worker *w);                          /* how many workers come before this one is news */
void serve_close(struct worker *w);

/* ------------------------------------------------------------ worker.c */

struct worker {
	const struct worker_options *options;
	uv_loop_t loop;
	struct rng rng;
	char name[WORKER_NAME_MAX];
	char token[20]; /* tells this process from another of the same name */
	char host[256];
	char installation[72]; /* "": not known yet */
	struct mig *migs;
	struct mig *next_mig; /* whose turn it is */
	struct control control;
	struct watch watch;
	struct redis_link *commands;
	struct fetch fetches[2];
	struct bell bell;
	struct lane *lanes;
	unsigned nlanes;
	struct tend tend;
	struct counts counts;
	struct http *http;             /* NULL: nobody may ask */
	struct figures_watch *figures; /* NULL: the same */
	volatile sig_atomic_t figures_stop;
	struct loop_timer *reclaim_timer, *promote_timer, *lease_timer, *end_timer, *pump_timer;
	struct loop_signal *signals[6];
	struct server_report postgres, redis;
	char run_id[48], replid[48]; /* of the Redis server, to notice another, or another history */
	bool named;                  /* the liveness key is ours */
	bool paused;                 /* USR2 */
	bool outdated;               /* the schema is of another version: nothing begins */
	bool draining, ended;
	bool gone_asked;
	bool alone; /* one run has the worker for itself */
	uint64_t started_ms;
	uint64_t runs; /* started so far: names them */
	uint64_t jobs_taken, jobs_done, rows_done, dead_letters;
	uint64_t settling; /* give-backs under way that belong to no lane */
	unsigned reclaims; /* answers awaited of reclaim.c */
	volatile sig_atomic_t steward_stop;
	int rc; /* of worker_run() */
	struct err *err;
};

static inline uint64_t worker_now_us(void)
{
	return uv_hrtime() / 1000;
}

static inline uint64_t worker_now(void)
{
	return uv_hrtime() / 1000000;
}

void worker_pump(struct worker *w); /* soon: start what can be started, fetch more, see whether it is the end */
void worker_fail(struct worker *w, int rc, const struct err *why); /* end at once with an error */
struct mig *worker_find(struct worker *w, int32_t id);
void worker_remove(struct worker *w, struct mig *m);
size_t worker_held(const struct worker *w);
/* Where there are migrations whose plans it cannot read, the names of the others, as an array. false: it can work for all that it asks for. */
bool worker_names_able(const struct worker *w, struct buf *out);
bool worker_is_able(const struct worker *w); /* Redis and a lane's server are there */
bool worker_may_run(const struct worker *w, const struct mig *m);
bool worker_shares(const struct worker *w); /* does any migration have a limit of the whole fleet? */
unsigned worker_lanes_for(const struct worker *w, const struct mig *m);
void worker_stop_mig(struct worker *w, struct mig *m); /* it is not running any more */

#endif
