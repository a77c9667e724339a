/* figures_watch.c - keeps the figures fresh on a loop. */
#include <stdlib.h>

#include "core/log.h"
#include "figures/figures.h"
#include "loop/loop.h"

struct figures_watch {
	uv_loop_t *loop;
	struct figures *figures; /* the thread's while it is busy */
	uv_work_t work;
	struct loop_timer *timer;
	bool busy, wanted;
	bool looked; /* once at least */
	uint64_t begun_ms;
	void (*fn)(void *arg);
	void *arg;
	struct metrics_text fresh; /* the thread's while it is busy */
	struct figures_servers found;
	/* of the last look */
	struct buf text; /* empty: nothing could be read */
	struct figures_servers servers;
	uint64_t at_ms, took_ms;
};

static void work(uv_work_t *uv)
{
	struct figures_watch *w = container_of(uv, struct figures_watch, work);

	figures_look(w->figures, &w->fresh, &w->found);
}

static void done(uv_work_t *uv, int status)
{
	struct figures_watch *w = container_of(uv, struct figures_watch, work);

	(void)status;
	w->busy = false;
	w->looked = true;
	w->servers = w->found;
	w->at_ms = uv_now(w->loop);
	w->took_ms = w->at_ms - w->begun_ms;
	buf_reset(&w->text);
	if (w->servers.postgres && buf_ok(&w->fresh.out))
		buf_add(&w->text, w->fresh.out.data, w->fresh.out.len);
	else
		log_debug("figures.none", "cause=%s", w->servers.why_postgres);
	metrics_text_free(&w->fresh);
	if (!w->wanted)
		figures_rest(w->figures);
	if (w->fn != NULL)
		w->fn(w->arg);
}

static void look(void *arg)
{
	struct figures_watch *w = arg;

	if (!w->wanted)
		return;
	loop_timer_start(w->timer, FIGURES_EVERY_MS);
	if (w->busy)
		return; /* a server that does not answer: the deadlines end it */
	w->fresh = (struct metrics_text)METRICS_TEXT_INIT;
	w->begun_ms = uv_now(w->loop);
	w->busy = uv_queue_work(w->loop, &w->work, work, done) == 0;
}

struct figures_watch *figures_watch_new(uv_loop_t *loop, struct figures *f, void (*looked)(void *arg), void *arg)
{
	struct figures_watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->timer = loop_timer_new(loop, look, w);
	if (w->timer == NULL) {
		free(w);
		return NULL;
	}
	w->loop = loop;
	w->figures = f;
	w->fn = looked;
	w->arg = arg;
	buf_init(&w->text, METRICS_TEXT_MAX);
	return w;
}

void figures_watch_free(struct figures_watch *w)
{
	if (w == NULL)
		return;
	loop_timer_free(w->timer);
	figures_free(w->figures);
	buf_free(&w->text);
	free(w);
}

bool figures_watch_busy(const struct figures_watch *w)
{
	return w != NULL && w->busy;
}

void figures_watch_want(struct figures_watch *w, bool wanted)
{
	if (w->wanted == wanted)
		return;
	w->wanted = wanted;
	if (wanted) {
		loop_timer_start(w->timer, 0);
		return;
	}
	loop_timer_stop(w->timer);
	buf_reset(&w->text);
	if (!w->busy)
		figures_rest(w->figures);
}

void figures_watch_add(const struct figures_watch *w, struct metrics_text *t)
{
	uint64_t age_ms = uv_now(w->loop) - w->at_ms;

	if (w->text.len == 0 || !w->wanted || age_ms > FIGURES_FRESH_MS)
		return;
	metrics_add(t, METRIC_LOOK_AGE, (double)age_ms / 1000);
	metrics_add(t, METRIC_LOOK_DURATION, (double)w->took_ms / 1000);
	buf_add(&t->out, w->text.data, w->text.len);
}

const struct figures_servers *figures_watch_servers(const struct figures_watch *w)
{
	return w->looked ? &w->servers : NULL;
}
