/*
 * serve.c - what a worker tells whoever asks by HTTP: /metrics, /healthz, /readyz. The loop itself answers, so that an answer means that it turns.
 *
 * The fleet's figures are told by the worker that comes first by name: told by all of them they would be read, and kept by Prometheus, a hundred times.
 */
#include <string.h>

#include <utlist.h>

#include "core/log.h"
#include "version.h"
#include "worker/worker_private.h"

#define SILENT_MS 15000 /* without an answer of PostgreSQL's the worker does not count as ready */

/* ------------------------------------------------------------ metrics */

static bool postgres_up(const struct worker *w)
{
	return pg_link_up(w->control.link) && w->control.greeted && worker_now() - w->control.answered_ms < SILENT_MS;
}

static void add_lanes(const struct worker *w, struct metrics_text *t)
{
	unsigned busy = 0, idle = 0, resting = 0, away = 0;

	for (unsigned i = 0; i < w->nlanes; i++) {
		const struct lane *l = &w->lanes[i];

		if (!pg_link_up(l->link))
			away++;
		else if (l->run != NULL)
			busy++;
		else if (l->pausing)
			resting++;
		else
			idle++;
	}
	metrics_add(t, METRIC_LANES, busy, "busy");
	metrics_add(t, METRIC_LANES, idle, "idle");
	metrics_add(t, METRIC_LANES, resting, "resting");
	metrics_add(t, METRIC_LANES, away, "away");
}

static void add_connections(const struct worker *w, struct metrics_text *t)
{
	unsigned postgres = pg_link_up(w->control.link), redis = redis_link_up(w->commands), readers = ARRAY_SIZE(w->fetches);

	for (unsigned i = 0; i < w->nlanes; i++)
		postgres += pg_link_up(w->lanes[i].link);
	for (size_t i = 0; i < ARRAY_SIZE(w->fetches); i++)
		redis += redis_link_up(w->fetches[i].link);
	metrics_add(t, METRIC_CONNECTIONS, postgres, "postgres", "up");
	metrics_add(t, METRIC_CONNECTIONS, w->nlanes + 1 - postgres, "postgres", "away");
	metrics_add(t, METRIC_CONNECTIONS, redis, "redis", "up");
	metrics_add(t, METRIC_CONNECTIONS, 1 + readers - redis, "redis", "away");
	metrics_add(t, METRIC_CONNECTS, (double)w->postgres.connects, "postgres");
	metrics_add(t, METRIC_CONNECTS, (double)w->redis.connects, "redis");
	metrics_add(t, METRIC_CONNECT_FAILURES, (double)w->postgres.failures, "postgres");
	metrics_add(t, METRIC_CONNECT_FAILURES, (double)w->redis.failures, "redis");
}

static void add_worker(struct worker *w, struct metrics_text *t)
{
	const struct mig *m;

	metrics_add(t, METRIC_BUILD_INFO, 1, DROVER_VERSION, "worker");
	metrics_add(t, METRIC_UP, postgres_up(w), "postgres");
	metrics_add(t, METRIC_UP, redis_link_up(w->commands), "redis");
	counts_add(&w->counts, t, worker_now());
	add_lanes(w, t);
	DL_FOREACH(w->migs, m)
		metrics_add(t, METRIC_JOBS_HELD, (double)m->nheld, m->name);
	metrics_add(t, METRIC_WORKER_STATE, !w->draining && !w->paused, "running");
	metrics_add(t, METRIC_WORKER_STATE, !w->draining && w->paused, "paused");
	metrics_add(t, METRIC_WORKER_STATE, w->draining, "draining");
	add_connections(w, t);
}

static void tell_metrics(struct worker *w, struct http_answer *a)
{
	struct metrics_text t = METRICS_TEXT_INIT;

	add_worker(w, &t);
	figures_watch_add(w->figures, &t);
	metrics_add_process(&t);
	a->status = 200;
	a->type = METRICS_CONTENT_TYPE;
	metrics_text_end(&t, &a->body);
}

/* ------------------------------------------------------------ ready */

/* With the newest of the reasons that the log names for this outage. */
static void tell_away(const struct server_report *s, const char *what, struct http_answer *a)
{
	if (s->said.n > 0)
		buf_printf(&a->body, "%s is away: %s\n", what, s->said.reasons[s->said.n - 1]);
	else
		buf_printf(&a->body, "%s is away\n", what);
}

static void tell_ready(const struct worker *w, struct http_answer *a)
{
	a->status = 503;
	if (w->draining)
		buf_puts(&a->body, "draining\n");
	else if (!pg_link_up(w->control.link))
		tell_away(&w->postgres, "PostgreSQL", a);
	else if (!redis_link_up(w->commands))
		tell_away(&w->redis, "Redis", a);
	else if (!w->control.greeted)
		buf_puts(&a->body, "the schema drover is not there, or may not be read; run: drover init\n");
	else if (!w->named || !w->control.started)
		buf_puts(&a->body, "starting\n");
	else if (!postgres_up(w))
		buf_puts(&a->body, "PostgreSQL does not answer\n");
	else
		a->status = 200;
	if (a->status == 200)
		buf_puts(&a->body, "ready\n");
}

/* ------------------------------------------------------------ life */

static void on_request(void *arg, const char *path, struct http_answer *a)
{
	struct worker *w = arg;

	if (strcmp(path, "/metrics") == 0) {
		tell_metrics(w, a);
	} else if (strcmp(path, "/readyz") == 0) {
		tell_ready(w, a);
	} else if (strcmp(path, "/healthz") == 0) {
		a->status = 200;
		buf_puts(&a->body, "alive\n");
	}
}

int serve_init(struct worker *w, struct err *err)
{
	char text[HTTP_HOST_MAX + 16], name[64];
	struct figures *f = NULL;
	int rc;

	if (w->options->metrics_listen == NULL)
		return 0;
	snprintf(name, sizeof(name), "drover %.40s/figures", w->name);
	rc = figures_new(&f, w->options->database_url, w->options->redis_url, name, &w->figures_stop, err);
	if (rc != 0)
		return rc;
	w->figures = figures_watch_new(&w->loop, f, NULL, NULL);
	if (w->figures == NULL) {
		figures_free(f);
		return err_set(err, ST_NOMEM, "out of memory");
	}
	rc = http_new(&w->http, &w->loop, w->options->metrics_listen, on_request, w, text, err);
	if (rc == 0)
		log_info("metrics.listening", "address=%s", text);
	return rc;
}

void serve_polled(struct worker *w)
{
	if (w->figures != NULL)
		figures_watch_want(w->figures, w->control.first);
}

void serve_close(struct worker *w)
{
	http_free(w->http);
	figures_watch_free(w->figures);
	w->http = NULL;
	w->figures = NULL;
}
