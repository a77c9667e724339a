/*
 * bell.c - hears that something has changed in PostgreSQL, on a connection to Redis that does nothing else, and polls at once.
 *
 * Read by the last id seen, so that a ring between two reads is heard; after a new connection from the beginning, which has a ring of the last
 * seconds at most. Whoever may write to Redis can make a worker poll ten times a second, and nothing else.
 */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "queue/bell.h"
#include "worker/worker_private.h"

#define BLOCK_TEXT "10000" /* ms */
#define ANSWER_MS 15000    /* longest for an answer: the connection is dead then */
#define REST_MS 100        /* between two rings that are followed */
#define REFUSED_MS 5000    /* to the next read, where Redis does not like it */
#define SPREAD_MS 2        /* a fleet's polls, for each worker of it ... */
#define SPREAD_MOST_MS 200 /* ... within so long: they are not to come all at once */

static void read_next(struct bell *b);

static void on_read(void *arg, int status, const redisReply *reply)
{
	struct bell *b = arg;
	struct worker *w = b->worker;
	const redisReply *list;
	const char *name;
	size_t len;
	uint64_t spread = SPREAD_MS * (w->control.fleet > 1 ? w->control.fleet : 0);

	b->reading = false;
	if (status == ST_REDIS) {
		log_debug("bell.refused", "cause=%s", reply->str);
		loop_timer_start(b->timer, REFUSED_MS);
	}
	if (status != 0)
		return;
	if (!entry_stream_at(reply, 0, &name, &len, &list) || list->type != REDIS_REPLY_ARRAY || list->elements == 0) {
		read_next(b);
		return;
	}
	list = list->element[list->elements - 1];
	if (list->type == REDIS_REPLY_ARRAY && list->elements > 0 && list->element[0]->type == REDIS_REPLY_STRING)
		snprintf(b->last, sizeof(b->last), "%s", list->element[0]->str);
	log_debug("bell.heard", "id=%s", b->last);
	b->rung = true;
	loop_timer_start(b->timer, rng_below(&w->rng, 1 + (spread < SPREAD_MOST_MS ? spread : SPREAD_MOST_MS)));
}

static void read_next(struct bell *b)
{
	struct worker *w = b->worker;
	char key[JOB_KEY_NAME_MAX];
	const char *const argv[] = { "XREAD", "COUNT", "1", "BLOCK", BLOCK_TEXT, "STREAMS", key, b->last };

	if (b->reading || w->installation[0] == '\0' || !redis_link_up(b->link))
		return;
	job_bell_key(key, w->installation);
	b->reading = redis_link_send(b->link, ARRAY_SIZE(argv), argv, NULL, ANSWER_MS, on_read, b) == 0;
}

static void on_timer(void *arg)
{
	struct bell *b = arg;

	if (b->rung) {
		b->rung = false;
		control_urge(b->worker);
		loop_timer_start(b->timer, REST_MS);
	} else {
		read_next(b);
	}
}

static void on_state(void *arg, struct redis_link *link, bool up, const struct err *why)
{
	struct bell *b = arg;

	(void)link;
	(void)why; /* the others say it */
	snprintf(b->last, sizeof(b->last), "0-0");
	if (up)
		bell_listen(b->worker);
}

void bell_listen(struct worker *w)
{
	if (!loop_timer_pending(w->bell.timer))
		read_next(&w->bell);
}

void bell_tell(struct worker *w)
{
	char key[JOB_KEY_NAME_MAX];
	const char *const add[] = BELL_ADD(key), *const expire[] = BELL_EXPIRE(key);

	job_bell_key(key, w->installation);
	if (redis_link_send(w->commands, ARRAY_SIZE(add), add, NULL, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL) != 0 ||
	    redis_link_send(w->commands, ARRAY_SIZE(expire), expire, NULL, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL) != 0)
		return; /* they find out with their polls */
}

int bell_init(struct worker *w, struct err *err)
{
	w->bell.worker = w;
	snprintf(w->bell.last, sizeof(w->bell.last), "0-0");
	w->bell.timer = loop_timer_new(&w->loop, on_timer, &w->bell);
	if (w->bell.timer == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	return redis_link_new(&w->bell.link, &w->loop, w->options->redis_url, on_state, &w->bell, err);
}

void bell_close(struct worker *w)
{
	redis_link_free(w->bell.link);
	loop_timer_free(w->bell.timer);
	w->bell.link = NULL;
	w->bell.timer = NULL;
}
