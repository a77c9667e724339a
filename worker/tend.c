/*
 * tend.c - lets the steward look after migrations that have no producer: in a thread of libuv's pool, on connections of its own.
 */
#include <inttypes.h>

#include <utlist.h>

#include "core/log.h"
#include "worker/worker_private.h"

#define BUDGET_MS 10000
#define SOON_MS 500
#define AGAIN_MS 1000 /* after a failure, doubled each time: a connection that was found broken is made anew by the next round */
#define SAY_EVERY_MS 60000

static void work(uv_work_t *uv)
{
	struct tend *a = container_of(uv, struct tend, work);

	err_clear(&a->err);
	a->result = (struct steward_report){ 0 };
	a->status = steward_tend(a->steward, BUDGET_MS, &a->result, &a->err);
}

static void say(struct tend *a)
{
	if (a->result.pushed > 0)
		log_warn("redis.refilled",
			 "jobs=%" PRIu64
			 " why='due by the ledger, and not in Redis: lost there, or taken back by a crash of PostgreSQL; pushed again'",
			 a->result.pushed);
	if (a->result.found_rows > 0 || a->result.completed > 0 || a->result.foreign > 0)
		log_info("tend.done", "found_rows=%" PRIu64 " completed=%u foreign=%" PRIu64, a->result.found_rows, a->result.completed,
			 a->result.foreign);
	if (a->status == 0 || a->status == ST_DISCONNECTED || a->status == ST_INTERRUPTED || a->status == ST_TIMEOUT)
		return;
	if (a->said_ms != 0 && worker_now() - a->said_ms < SAY_EVERY_MS)
		return;
	a->said_ms = worker_now();
	log_warn("tend.failed", "cause=%s", a->err.msg);
}

static uint64_t pause_ms(const struct tend *a)
{
	uint64_t again = (uint64_t)AGAIN_MS << (a->failures < 8 ? a->failures : 8);

	if (a->result.again || a->wanted)
		return SOON_MS;
	return a->status != 0 && again < STEWARD_EVERY_MS ? again : STEWARD_EVERY_MS;
}

static void done(uv_work_t *uv, int status)
{
	struct tend *a = container_of(uv, struct tend, work);
	struct worker *w = container_of(a, struct worker, tend);

	(void)status;
	a->running = false;
	say(a);
	if (w->draining)
		worker_pump(w);
	else
		loop_timer_start(a->timer, pause_ms(a));
	a->failures = a->status != 0 ? a->failures + 1 : 0;
	a->wanted = false;
}

/* Those whose producer lives are looked after by it. */
static bool anything_to_do(const struct worker *w)
{
	const struct mig *m;

	DL_FOREACH(w->migs, m)
		if (!m->produced && (m->state == MIG_RUNNING || m->state == MIG_OVER))
			return true;
	return false;
}

static void on_timer(void *arg)
{
	struct worker *w = arg;
	struct tend *a = &w->tend;

	loop_timer_start(a->timer, STEWARD_EVERY_MS);
	if (a->running || w->draining || w->outdated || !w->named)
		return;
	if (!anything_to_do(w)) {
		a->wanted = false; /* the producer sees it as well */
		return;
	}
	steward_rename(a->steward, w->name);
	a->running = uv_queue_work(&w->loop, &a->work, work, done) == 0;
}

int tend_init(struct worker *w, struct err *err)
{
	struct tend *a = &w->tend;
	const char *const *only = w->options->migrations != NULL ? (const char *const *)w->options->migrations->v : NULL;
	int rc = steward_new(&a->steward, w->options->database_url, w->options->redis_url, w->name, only, &w->steward_stop, err);

	if (rc != 0)
		return rc;
	a->timer = loop_timer_new(&w->loop, on_timer, w);
	if (a->timer == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	/* A fleet that starts together does not look together. */
	loop_timer_start(a->timer, SOON_MS + rng_below(&w->rng, STEWARD_EVERY_MS / 2));
	return 0;
}

void tend_soon(struct worker *w)
{
	struct tend *a = &w->tend;

	if (a->steward != NULL && !a->running && !a->wanted)
		loop_timer_start(a->timer, SOON_MS + rng_below(&w->rng, AGAIN_MS));
}

void tend_alarm(struct worker *w)
{
	struct tend *a = &w->tend;

	if (a->steward == NULL || a->wanted)
		return;
	steward_alarm(a->steward);
	a->wanted = true;
	if (!a->running)
		loop_timer_start(a->timer, SOON_MS);
}

/* The loop has ended, so no work is under way. A worker that ends in good order leaves its leases to the others at once. */
void tend_close(struct worker *w)
{
	loop_timer_free(w->tend.timer);
	if (w->rc == 0 && w->tend.steward != NULL)
		steward_retire(w->tend.steward);
	steward_free(w->tend.steward);
	w->tend.steward = NULL;
	w->tend.timer = NULL;
}
