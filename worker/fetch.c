/*
 * fetch.c - reads jobs: a blocking XREADGROUP over the streams of all migrations of one mode, on a connection of its own.
 *
 * Only as much is read as the lanes will soon want, so that jobs lie in Redis, where others can take them, and not here.
 */
#include <stdio.h>
#include <string.h>

#include <utlist.h>

#include "core/failpoint.h"
#include "core/log.h"
#include "worker/worker_private.h"

#define BLOCK_TEXT "1000"      /* ms */
#define ANSWER_MS 5000         /* longest for an answer to a blocking read: the connection is dead then */
#define REST_MS 20             /* after a read that did not block and brought nothing, while some have no room */
#define TURNS_MS 200           /* all have been asked once in about this, where they are more than a read takes */
#define NEWER_REST_MIN_MS 1000 /* reads of a stream rest, after one that brought newer jobs alone; twice as long after the next */
#define NEWER_REST_MAX_MS 30000
#define PAUSE_MS 250 /* after NOGROUP */
#define PAUSE_LONG_MS 2000
#define ROWS_AHEAD_MAX 10000

/* ------------------------------------------------------------ groups */

static void on_group(void *arg, int status, const redisReply *reply)
{
	(void)arg;
	/* BUSYGROUP: it is there, which is all we want. */
	if (status == ST_REDIS && strncmp(reply->str, "BUSYGROUP", 9) != 0)
		log_debug("fetch.group", "cause=%s", reply->str);
}

void fetch_make_group(struct worker *w, struct mig *m)
{
	const char *const argv[] = { "XGROUP", "CREATE", m->keys.jobs, JOB_GROUP, "0", "MKSTREAM" };

	if (redis_link_send(w->commands, ARRAY_SIZE(argv), argv, NULL, REDIS_LINK_DEADLINE_MS, on_group, NULL) != 0)
		return; /* the read says NOGROUP, and it is tried again */
}

/* ------------------------------------------------------------ how much */

static size_t want(const struct worker *w, const struct mig *m)
{
	size_t have = m->nbatches + m->nrows + m->nfailed, most;

	if (w->options->once)
		most = 1;
	else if (m->row_mode || m->state == MIG_OVER) /* rows: many make one transaction. What is over has nothing but replays */
		most = (size_t)mig_batch_size(m) * 2 < ROWS_AHEAD_MAX ? (size_t)mig_batch_size(m) * 2 : ROWS_AHEAD_MAX;
	else
		most = w->nlanes + 2;
	if (w->options->max_jobs > 0 && most > w->options->max_jobs - w->jobs_taken)
		most = (size_t)(w->options->max_jobs - w->jobs_taken);
	return m->runs != NULL || have >= most ? 0 : most - have;
}

static bool may_read(const struct worker *w)
{
	return w->named && !w->draining && !w->paused && !w->alone && worker_is_able(w) && worker_held(w) < WORKER_HELD_MAX &&
	       !(w->options->once && w->jobs_taken > 0) && !(w->options->max_jobs > 0 && w->jobs_taken >= w->options->max_jobs);
}

/* ------------------------------------------------------------ reading */

struct intake {
	struct worker *worker;
	struct mig *mig;
	uint64_t now_ms;
	size_t n, newer; /* entries, and those among them that are left to others */
};

static void on_entry(void *arg, struct entry *e, struct entry_id id, const char *why)
{
	struct intake *in = arg;

	in->n++;
	if (settle_unknown(in->worker, in->mig, e, id, why, &in->newer))
		return;
	e->read_ms = in->now_ms;
	mig_hold(in->mig, e);
	mig_queue(in->mig, e);
}

/* Where all is newer, another worker had better read it. */
static void rest_from_newer(const struct intake *in)
{
	struct mig *m = in->mig;
	uint64_t ms = 2 * m->newer_rest_ms;

	if (in->newer == 0 || in->newer < in->n) {
		m->newer_rest_ms = in->n > 0 ? 0 : m->newer_rest_ms;
		return;
	}
	m->newer_rest_ms = ms < NEWER_REST_MIN_MS ? NEWER_REST_MIN_MS : ms > NEWER_REST_MAX_MS ? NEWER_REST_MAX_MS : ms;
	m->newer_until_ms = worker_now() + m->newer_rest_ms;
}

static struct mig *asked_for(struct fetch *f, const char *name, size_t len)
{
	for (unsigned i = 0; i < f->nasked; i++)
		if (f->asked[i] != NULL && strlen(f->asked[i]->keys.jobs) == len && memcmp(f->asked[i]->keys.jobs, name, len) == 0)
			return f->asked[i];
	return NULL;
}

static void take_in(struct fetch *f, const redisReply *reply)
{
	const redisReply *list;
	const char *name;
	size_t len;

	for (unsigned i = 0; i < f->nasked; i++)
		if (f->asked[i] != NULL)
			f->asked[i]->found_empty = true;
	for (size_t i = 0; entry_stream_at(reply, i, &name, &len, &list); i++) {
		struct intake in = { .worker = f->worker, .mig = asked_for(f, name, len), .now_ms = worker_now() };

		if (list->type == REDIS_REPLY_ARRAY && list->elements > 0)
			FAILPOINT(worker_fetched);
		if (in.mig == NULL)
			continue; /* forgotten meanwhile: its leases run out */
		if (entry_read_list(list, on_entry, &in) != 0)
			log_error("fetch.memory", "migration=%s what=%s", in.mig->name,
				  "out of memory, some jobs wait for their leases to end");
		if (in.n > 0)
			in.mig->found_empty = false;
		rest_from_newer(&in);
		if (f->worker->draining || f->worker->paused || !worker_may_run(f->worker, in.mig))
			settle_give_back(f->worker, in.mig);
	}
}

static void refused(struct fetch *f, const redisReply *reply)
{
	/* UNBLOCKED: the stream vanished while the read waited on it. */
	bool nogroup = strncmp(reply->str, "NOGROUP", 7) == 0 || strncmp(reply->str, "UNBLOCKED", 9) == 0;

	if (nogroup) {
		/* Flushed, restarted empty, or failed over: the audit finds out what is missing. */
		for (unsigned i = 0; i < f->nasked; i++)
			if (f->asked[i] != NULL)
				fetch_make_group(f->worker, f->asked[i]);
		tend_alarm(f->worker);
	} else {
		if (strncmp(reply->str, "WRONGTYPE", 9) == 0)
			tend_alarm(f->worker); /* somebody has put something else under our key: who audits removes it */
		log_warn("fetch.refused", "cause=%s", reply->str);
	}
	loop_timer_start(f->timer, nogroup ? PAUSE_MS : PAUSE_LONG_MS);
}

static void on_read(void *arg, int status, const redisReply *reply)
{
	struct fetch *f = arg;

	f->reading = false;
	if (status == ST_CLOSING)
		return;
	if (status == 0)
		take_in(f, reply);
	if (status == 0 && !f->blocking && reply->type == REDIS_REPLY_NIL) {
		f->resting = true;
		loop_timer_start(f->timer, f->rest_ms);
	} else if (status == ST_REDIS)
		refused(f, reply);
	f->nasked = 0;
	worker_pump(f->worker);
}

/*
 * Which streams have room here. Returns whether that is all of them: then, and only then, may the read block.
 * COUNT is that of each stream: the least that one of them has room for. The others are read again while they have more.
 */
static bool choose(struct fetch *f, size_t *ret_most)
{
	struct worker *w = f->worker;
	int32_t first = f->from;
	unsigned full = 0, waiting = 0;
	struct mig *m;

	f->nasked = 0;
	f->from = 0;
	*ret_most = 0;
	for (int before = 0; before < 2; before++) {
		DL_FOREACH(w->migs, m) {
			size_t wanted;

			if (m->row_mode != f->rows || !worker_may_run(w, m) || (m->id < first) != before ||
			    worker_now() < m->newer_until_ms)
				continue;
			wanted = want(w, m);
			if (wanted > 0 && f->nasked < ARRAY_SIZE(f->asked)) {
				f->asked[f->nasked++] = m;
				*ret_most = *ret_most == 0 || wanted < *ret_most ? wanted : *ret_most;
				continue;
			}
			full += wanted == 0;
			waiting += wanted > 0;
			if (wanted > 0 && f->from == 0)
				f->from = m->id; /* more than a read takes: this one's turn is next */
		}
	}
	f->rest_ms = full == 0 && waiting > 0 ? TURNS_MS * f->nasked / (f->nasked + waiting) : REST_MS;
	f->rest_ms = f->rest_ms > REST_MS ? f->rest_ms : REST_MS;
	return full == 0 && waiting == 0 && f->nasked > 0;
}

static void read_next(struct fetch *f, size_t most, bool block)
{
	struct worker *w = f->worker;
	const char *argv[8 + 2 * ARRAY_SIZE(f->asked)] = { "XREADGROUP", "GROUP", JOB_GROUP, w->name, "COUNT", NULL, "BLOCK", BLOCK_TEXT };
	size_t n = block ? 8 : 6, room = WORKER_HELD_MAX - worker_held(w);
	char count[24];

	if (most > room / f->nasked)
		most = room / f->nasked > 0 ? room / f->nasked : 1;
	snprintf(count, sizeof(count), "%zu", most);
	argv[5] = count;
	argv[n++] = "STREAMS";
	for (unsigned i = 0; i < f->nasked; i++)
		argv[n++] = f->asked[i]->keys.jobs;
	for (unsigned i = 0; i < f->nasked; i++)
		argv[n++] = ">";
	loop_timer_stop(f->timer);
	f->resting = false;
	f->blocking = block;
	f->reading = redis_link_send(f->link, n, argv, NULL, ANSWER_MS, on_read, f) == 0;
}

/*
 * A read that blocks on some streams must not hold up the others, which may have room a moment later: while not all have room, reads do not
 * block, and an empty answer is followed by a short rest, which ends early when all have room.
 */
void fetch_more(struct worker *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(w->fetches); i++) {
		struct fetch *f = &w->fetches[i];
		bool waiting = loop_timer_pending(f->timer), all;
		size_t most;

		if (f->reading || f->recovering > 0 || (waiting && !f->resting) || !redis_link_up(f->link) || !may_read(w))
			continue;
		if (f->missed)
			reclaim_unseen(f);
		if (f->recovering > 0)
			continue;
		all = choose(f, &most);
		if (f->nasked > 0 && (all || !waiting))
			read_next(f, most, all);
		else
			f->nasked = 0;
	}
}

void fetch_forget(struct worker *w, const struct mig *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(w->fetches); i++)
		for (unsigned k = 0; k < w->fetches[i].nasked; k++)
			if (w->fetches[i].asked[k] == m)
				w->fetches[i].asked[k] = NULL;
}

/* ------------------------------------------------------------ life */

static void on_timer(void *arg)
{
	struct fetch *f = arg;

	worker_pump(f->worker);
}

static void on_state(void *arg, struct redis_link *link, bool up, const struct err *why)
{
	struct fetch *f = arg;

	(void)link;
	report_server(f->worker, &f->worker->redis, up, why);
	f->missed = f->missed || (up && f->was_up);
	f->was_up = f->was_up || up;
	worker_pump(f->worker);
}

int fetch_init(struct fetch *f, struct worker *w, bool rows, struct err *err)
{
	f->worker = w;
	f->rows = rows;
	f->timer = loop_timer_new(&w->loop, on_timer, f);
	if (f->timer == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	return redis_link_new(&f->link, &w->loop, w->options->redis_url, on_state, f, err);
}

void fetch_close(struct fetch *f)
{
	redis_link_free(f->link);
	loop_timer_free(f->timer);
	f->link = NULL;
	f->timer = NULL;
}
