#include "loop/loop.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "core/err.h"

/* ------------------------------------------------------------ timers */

struct loop_timer {
	uv_timer_t uv;
	loop_fn fn;
	void *arg;
};

static void free_timer(uv_handle_t *h)
{
	free(container_of(h, struct loop_timer, uv));
}

struct loop_timer *loop_timer_new(uv_loop_t *loop, loop_fn fn, void *arg)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (t == NULL || uv_timer_init(loop, &t->uv) != 0) {
		free(t);
		return NULL;
	}
	t->fn = fn;
	t->arg = arg;
	return t;
}

static void on_timer(uv_timer_t *uv)
{
	struct loop_timer *t = container_of(uv, struct loop_timer, uv);

	t->fn(t->arg);
}

void loop_timer_start(struct loop_timer *t, uint64_t ms)
{
	/* libuv counts from the time at which this turn of the loop began: after long work that is too early. */
	uv_update_time(t->uv.loop);
	uv_timer_start(&t->uv, on_timer, ms, 0);
}

void loop_timer_stop(struct loop_timer *t)
{
	uv_timer_stop(&t->uv);
}

bool loop_timer_pending(const struct loop_timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv) != 0;
}

void loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	uv_timer_stop(&t->uv);
	uv_close((uv_handle_t *)&t->uv, free_timer);
}

/* ------------------------------------------------------------ sockets */

struct loop_watch {
	uv_poll_t uv;
	loop_watch_fn fn;
	void *arg;
	int events; /* as started */
};

static void free_watch(uv_handle_t *h)
{
	free(container_of(h, struct loop_watch, uv));
}

struct loop_watch *loop_watch_new(uv_loop_t *loop, int fd, loop_watch_fn fn, void *arg)
{
	struct loop_watch *w = calloc(1, sizeof(*w));

	if (w == NULL || uv_poll_init(loop, &w->uv, fd) != 0) {
		free(w);
		return NULL;
	}
	w->fn = fn;
	w->arg = arg;
	return w;
}

static void on_watch(uv_poll_t *uv, int status, int events)
{
	struct loop_watch *w = container_of(uv, struct loop_watch, uv);

	/* libuv has stopped the handle if there was an error. */
	if (status != 0)
		w->events = 0;
	w->fn(w->arg, status != 0 || (events & (UV_READABLE | UV_DISCONNECT)) != 0, status != 0 || (events & UV_WRITABLE) != 0);
}

int loop_watch_set(struct loop_watch *w, bool readable, bool writable)
{
	int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);

	if (events == w->events)
		return 0;
	if ((events == 0 ? uv_poll_stop(&w->uv) : uv_poll_start(&w->uv, events, on_watch)) != 0)
		return ST_IO;
	w->events = events;
	return 0;
}

void loop_watch_free(struct loop_watch *w)
{
	if (w == NULL)
		return;
	uv_poll_stop(&w->uv);
	uv_close((uv_handle_t *)&w->uv, free_watch);
}

/* ------------------------------------------------------------ signals */

struct loop_signal {
	uv_signal_t uv;
	loop_signal_fn fn;
	void *arg;
};

static void free_signal(uv_handle_t *h)
{
	free(container_of(h, struct loop_signal, uv));
}

static void on_signal(uv_signal_t *uv, int signum)
{
	struct loop_signal *s = container_of(uv, struct loop_signal, uv);

	s->fn(s->arg, signum);
}

struct loop_signal *loop_signal_new(uv_loop_t *loop, int signum, loop_signal_fn fn, void *arg)
{
	struct loop_signal *s = calloc(1, sizeof(*s));

	if (s == NULL || uv_signal_init(loop, &s->uv) != 0) {
		free(s);
		return NULL;
	}
	s->fn = fn;
	s->arg = arg;
	if (uv_signal_start(&s->uv, on_signal, signum) != 0) {
		loop_signal_free(s);
		return NULL;
	}
	return s;
}

void loop_signal_free(struct loop_signal *s)
{
	if (s != NULL)
		uv_close((uv_handle_t *)&s->uv, free_signal);
}

/* ------------------------------------------------------------ the end */

bool loop_is_address(const char *host)
{
	struct in6_addr six;
	struct in_addr four;

	return inet_pton(AF_INET, host, &four) == 1 || inet_pton(AF_INET6, host, &six) == 1;
}

int loop_finish(uv_loop_t *loop)
{
	/* What was freed closes in the next turns; requests in the pool need a moment. */
	for (int i = 0; i < 300; i++) {
		uv_run(loop, UV_RUN_NOWAIT);
		if (uv_loop_close(loop) == 0)
			return 0;
		uv_sleep(10);
	}
	return ST_BUSY;
}
