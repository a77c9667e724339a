/* drover exporter: the fleet's figures for Prometheus, whether workers run or not. */
#include <signal.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/outage.h"
#include "figures/figures.h"
#include "http/http.h"
#include "loop/loop.h"
#include "producer/console.h"
#include "version.h"

static const struct cli_option options[] = {
	{ "--metrics-listen", .arg = "HOST:PORT", .env = "DROVER_METRICS_LISTEN", .def = "9464",
	  .help = "serve /metrics, /healthz and /readyz there; a port alone: on the loopback address" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover exporter", "on this machine alone: http://127.0.0.1:9464/metrics" },
	{ "drover exporter --metrics-listen 0.0.0.0:9464", "for a Prometheus elsewhere, within a network of your own" },
	{ 0 },
};

struct exporter {
	uv_loop_t loop;
	struct figures_watch *figures;
	struct http *http;
	struct loop_signal *signals[2];
	struct outage postgres, redis;
	bool asks_redis;
	volatile sig_atomic_t stop;
};

/* ------------------------------------------------------------ what it answers */

static void tell_metrics(const struct exporter *e, struct http_answer *a)
{
	const struct figures_servers *s = figures_watch_servers(e->figures);
	struct metrics_text t = METRICS_TEXT_INIT;

	metrics_add(&t, METRIC_BUILD_INFO, 1, DROVER_VERSION, "exporter");
	if (s != NULL)
		metrics_add(&t, METRIC_UP, s->postgres, "postgres");
	if (s != NULL && e->asks_redis)
		metrics_add(&t, METRIC_UP, s->redis, "redis");
	figures_watch_add(e->figures, &t);
	metrics_add_process(&t);
	a->status = 200;
	a->type = METRICS_CONTENT_TYPE;
	metrics_text_end(&t, &a->body);
}

static void tell_ready(const struct exporter *e, struct http_answer *a)
{
	const struct figures_servers *s = figures_watch_servers(e->figures);

	a->status = 503;
	if (s == NULL)
		buf_puts(&a->body, "starting\n");
	else if (!s->postgres)
		buf_printf(&a->body, "PostgreSQL: %s\n", s->why_postgres);
	else if (e->asks_redis && !s->redis)
		buf_printf(&a->body, "Redis: %s\n", s->why_redis);
	else
		a->status = 200;
	if (a->status == 200)
		buf_puts(&a->body, "ready\n");
}

static void on_request(void *arg, const char *path, struct http_answer *a)
{
	const struct exporter *e = arg;

	if (strcmp(path, "/metrics") == 0) {
		tell_metrics(e, a);
	} else if (strcmp(path, "/readyz") == 0) {
		tell_ready(e, a);
	} else if (strcmp(path, "/healthz") == 0) {
		a->status = 200;
		buf_puts(&a->body, "alive\n");
	}
}

/* ------------------------------------------------------------ life */

static void say(struct outage *o, bool up, const char *why)
{
	if (up)
		outage_over(o, clock_now_ms(clock_system()));
	else
		outage_failed(o, clock_now_ms(clock_system()), why);
}

static void on_look(void *arg)
{
	struct exporter *e = arg;
	const struct figures_servers *s = figures_watch_servers(e->figures);

	if (e->stop)
		return;
	say(&e->postgres, s->postgres, s->why_postgres);
	if (e->asks_redis)
		say(&e->redis, s->redis, s->why_redis);
}

static void on_signal(void *arg, int signum)
{
	struct exporter *e = arg;

	(void)signum;
	e->stop = 1;
	uv_stop(&e->loop);
}

static int open_parts(struct exporter *e, const struct cli_call *call, const struct http_address *address, struct err *err)
{
	const char *redis_url = console_redis_url(call);
	char text[HTTP_HOST_MAX + 16];
	struct figures *f = NULL;
	int rc = figures_new(&f, console_database_url(call), redis_url, "drover exporter", &e->stop, err);

	if (rc != 0)
		return rc;
	e->asks_redis = redis_url != NULL;
	e->figures = figures_watch_new(&e->loop, f, on_look, e);
	if (e->figures == NULL) {
		figures_free(f);
		return err_set(err, ST_NOMEM, "out of memory");
	}
	e->signals[0] = loop_signal_new(&e->loop, SIGTERM, on_signal, e);
	e->signals[1] = loop_signal_new(&e->loop, SIGINT, on_signal, e);
	rc = http_new(&e->http, &e->loop, address, on_request, e, text, err);
	if (rc != 0)
		return rc;
	log_info("exporter.start", "version=%s address=%s", DROVER_VERSION, text);
	figures_watch_want(e->figures, true);
	return 0;
}

static int serve(const struct cli_call *call, const struct http_address *address, struct err *err)
{
	struct exporter e = { 0 };
	int rc;

	if (uv_loop_init(&e.loop) != 0)
		return err_set(err, ST_NOMEM, "out of memory");
	outage_init(&e.postgres, "PostgreSQL", NULL, NULL);
	outage_init(&e.redis, "Redis", NULL, NULL);
	rc = open_parts(&e, call, address, err);
	if (rc == 0)
		uv_run(&e.loop, UV_RUN_DEFAULT);
	e.stop = 1;
	while (figures_watch_busy(e.figures) && uv_run(&e.loop, UV_RUN_ONCE) != 0)
		;
	http_free(e.http);
	figures_watch_free(e.figures);
	for (size_t i = 0; i < ARRAY_SIZE(e.signals); i++)
		loop_signal_free(e.signals[i]);
	if (loop_finish(&e.loop) != 0)
		log_debug("exporter.leak", "what=%s", "handles of the loop are still open");
	if (rc == 0)
		log_info("exporter.stop", "why=%s", "told to end");
	return rc;
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct http_address address;

	(void)ctx;
	log_setup(cli_flag(call, "--verbose") ? LOG_DEBUG : LOG_INFO, cli_flag(call, "--json") ? LOG_JSON : LOG_KV);
	if (http_address_parse(&address, cli_str(call, "--metrics-listen"), err) != 0)
		return err_wrap(err, "--metrics-listen");
	return serve(call, &address, err);
}

const struct cli_command exporter_command = {
	.name = "exporter",
	.summary = "serve the fleet's figures to Prometheus, whether workers run or not",
	.help = "Reads PostgreSQL every ten seconds, with REDIS_URL Redis too, and tells how each migration stands: its state and progress, its backlog, its dead "
		"letters, and who works. It changes nothing; the rights of a reader are enough. A server that is away is waited for and told as `drover_up 0`. "
		"What a worker counts for itself it tells with `drover-worker --metrics-listen`. The metrics are in docs/metrics.md.",
	.examples = examples,
	.options = options,
	.run = run,
};
