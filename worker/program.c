#include "worker/program.h"

#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "http/ask.h"
#include "version.h"
#include "worker/worker.h"

static const struct cli_option options[] = {
	CLI_OPTION_DATABASE_URL,
	CLI_OPTION_REDIS_URL,
	{ "--concurrency", .arg = "N", .env = "DROVER_CONCURRENCY", .type = CLI_U64, .def = "4", .min = 1, .max = WORKER_LANES_MAX,
	  .short_name = 'c', .group = "Work", .help = "lanes: connections to PostgreSQL, each with one transaction at a time" },
	{ "--name", .arg = "NAME", .env = "DROVER_WORKER_NAME", .help = "what the worker is called; otherwise its host and process" },
	{ "--migration", .arg = "A,B", .env = "DROVER_MIGRATION", .type = CLI_LIST, .complete = "migrations",
	  .help = "work on these migrations alone; what is not registered yet is waited for" },
	{ "--lease", .arg = "S", .env = "DROVER_LEASE", .type = CLI_DURATION, .def = "12", .min = 3000, .max = 3600000,
	  .help = "how long after a worker's last sign of life its jobs go to others; the same for the whole fleet" },
	{ "--tries", .arg = "N", .env = "DROVER_TRIES", .type = CLI_U64, .min = 1, .max = 1000,
	  .help = "attempts at a row whose error is its own, where neither the migration nor a setting says otherwise" },
	{ "--backoff", .arg = "S,S,...", .env = "DROVER_BACKOFF", .type = CLI_DURATION_LIST,
	  .help = "waits between attempts, with full jitter, where nothing else is said" },
	{ "--timeout", .arg = "S", .env = "DROVER_TIMEOUT", .type = CLI_DURATION, .min = 100, .max = 86400000,
	  .help = "longest for a statement of a job, where nothing else is said" },
	{ "--once", .env = "DROVER_ONCE", .group = "How it ends", .help = "do one unit of work (a batch, or a group of rows), then exit" },
	{ "--stop-when-empty", .env = "DROVER_STOP_WHEN_EMPTY",
	  .help = "exit when no job is ready or delayed and none is held here; jobs that other workers hold are not waited for" },
	{ "--max-jobs", .arg = "N", .env = "DROVER_MAX_JOBS", .type = CLI_U64, .min = 1, .help = "exit after so many jobs" },
	{ "--max-time", .arg = "S", .env = "DROVER_MAX_TIME", .type = CLI_DURATION, .min = 1, .help = "exit after so long" },
	{ "--drain-timeout", .arg = "S", .env = "DROVER_DRAIN_TIMEOUT", .type = CLI_DURATION, .def = "25", .min = 1, .max = 86400000,
	  .help = "longest for what still runs when the worker is told to end" },
	{ "--metrics-listen", .arg = "HOST:PORT", .env = "DROVER_METRICS_LISTEN", .group = "Watching",
	  .help = "serve /metrics for Prometheus, /healthz and /readyz there; a port alone: on the loopback address" },
	{ "--health",
	  .help = "ask whoever listens at --metrics-listen whether it is alive, and exit with 0 or 1: for a container's health check" },
	{ "--log-format", .arg = "FORMAT", .env = "DROVER_LOG_FORMAT", .type = CLI_CHOICE, .def = "kv", .choices = log_format_names,
	  .help = "key=value lines, or JSON" },
	{ "--log-level", .arg = "LEVEL", .env = "DROVER_LOG_LEVEL", .type = CLI_CHOICE, .def = "info", .choices = log_level_names,
	  .help = "the least important lines that are written" },
	{ 0 },
};

static const struct cli_text env[] = {
	CLI_TEXT_PASSWORDS,
	{ "PGHOST, PGUSER, PGPASSFILE ...", "libpq's own, for what DATABASE_URL leaves out" },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "drover-worker", "DATABASE_URL and REDIS_URL are all it needs" },
	{ "drover-worker --concurrency 8 --migration 0001_pages", "eight transactions at a time, of one migration" },
	{ "drover-worker --stop-when-empty", "work off what there is, then exit" },
	{ 0 },
};

static const struct cli_text exits[] = {
	{ "0", "told to end, or done (--once, --stop-when-empty ...), and nothing left running" },
	{ "1", "a mistake that waiting does not mend, or the drain took too long" },
	{ "130", "told twice to end" },
	{ 0 },
};

/* The worker's own options are defaults: settings of the console and of the migration's file go over them. */
static int read_defaults(const struct cli_call *call, struct settings *s, struct err *err)
{
	static const struct {
		const char *option, *setting;
	} map[] = { { "--tries", "tries" }, { "--backoff", "backoff" } };
	struct buf ms = BUF_INIT(32);
	int rc = 0;

	settings_defaults(s);
	for (size_t i = 0; i < ARRAY_SIZE(map) && rc == 0; i++)
		if (cli_given(call, map[i].option))
			rc = settings_set(s, map[i].setting, cli_str(call, map[i].option), err);
	if (rc == 0 && cli_given(call, "--timeout")) {
		buf_printf(&ms, "%llu", (unsigned long long)cli_duration_ms(call, "--timeout"));
		rc = settings_set(s, "query_timeout_ms", ms.data, err);
		buf_free(&ms);
	}
	s->given = 0;
	return rc;
}

/* @ret stays as it is where nothing is to be listened at. */
static int read_address(const struct cli_call *call, struct http_address *space, const struct http_address **ret, struct err *err)
{
	const char *listen = cli_str(call, "--metrics-listen");

	if (listen == NULL || listen[0] == '\0')
		return 0;
	if (http_address_parse(space, listen, err) != 0)
		return err_wrap(err, "--metrics-listen");
	*ret = space;
	return 0;
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	struct worker_options o = {
		.database_url = cli_str(call, "--database-url"),
		.redis_url = cli_str(call, "--redis-url"),
		.name = cli_str(call, "--name"),
		.lanes = (unsigned)cli_u64(call, "--concurrency"),
		.migrations = cli_list(call, "--migration"),
		.once = cli_flag(call, "--once"),
		.stop_when_empty = cli_flag(call, "--stop-when-empty"),
		.max_jobs = cli_u64(call, "--max-jobs"),
		.max_time_ms = cli_duration_ms(call, "--max-time"),
		.lease_ms = cli_duration_ms(call, "--lease"),
		.drain_ms = cli_duration_ms(call, "--drain-timeout"),
	};
	struct http_address address;
	int rc = read_address(call, &address, &o.metrics_listen, err);

	(void)ctx;
	if (rc != 0)
		return rc;
	if (cli_flag(call, "--health")) {
		if (o.metrics_listen == NULL)
			return err_set(err, ST_USAGE, "--health asks at --metrics-listen: set DROVER_METRICS_LISTEN, for both");
		return http_ask(o.metrics_listen, "/healthz", err);
	}
	log_setup_named(cli_str(call, "--log-level"), cli_str(call, "--log-format"));
	if (o.redis_url == NULL)
		return err_set(err, ST_USAGE, "no Redis to take jobs from: set REDIS_URL, or give --redis-url redis://host:6379");
	rc = read_defaults(call, &o.defaults, err);
	return rc == 0 ? worker_run(&o, err) : rc;
}

const struct cli_program *worker_program(void)
{
	static const struct cli_program program = {
		.name = "drover-worker",
		.version = DROVER_VERSION,
		.summary = "take jobs from Redis, change rows in PostgreSQL, acknowledge, retry, or dead-letter",
		.help = "A member of the fleet: start as many as you like, on any machine; each needs DATABASE_URL and REDIS_URL, and no files. A server "
			"that is away is waited for.\n\n"
			"`TERM` or `INT`: takes nothing new, gives back what is not started, finishes what is, exits 0; a second one, or the end of "
			"--drain-timeout, exits at once, and the leases hand the rest on. `USR2` pauses, `CONT` resumes, `HUP` loads plans and "
			"settings anew.",
		.options = options,
		.env = env,
		.exits = exits,
		.examples = examples,
		.run = run,
	};

	return &program;
}
