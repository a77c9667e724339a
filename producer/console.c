#include "producer/console.h"

#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/outage.h"
#include "core/text.h"
#include "pg/pg_error.h"
#include "pg/pg_sync.h"
#include "queue/bell.h"
#include "redis/redis_sync.h"

#define NOTE_MAX (64 * 1024) /* bytes of a line for people */
#define RING_MS 1000
#define CONNECT_MS 5000 /* to each host, where somebody sits and waits */

/* ------------------------------------------------------------ life */

static volatile sig_atomic_t *stop_flag; /* what a signal handler can reach: set once, before the handlers are */

static void on_signal(int number)
{
	(void)number;
	*stop_flag = 1;
}

/* `drover failed | head` ends without a word, as it should; a server that hangs up is an error with a reason. */
static void on_broken_pipe(int number)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	if (poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0)
		_exit(128 + number);
}

void console_init(struct console *con)
{
	struct sigaction stop = { .sa_handler = on_signal }, pipe = { .sa_handler = on_broken_pipe };

	*con = (struct console){ .stop = 0 };
	console_outage(&con->outage, "PostgreSQL");
	stop_flag = &con->stop;
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGPIPE, &pipe, NULL);
}

void console_close(struct console *con)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	pg_sync_free(con->pg);
	redis_sync_free(con->redis);
	con->pg = NULL;
	con->redis = NULL;
	/* What it ends with is settled, and the flag goes away with @con. */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGTERM, &ignore, NULL);
}

/* ------------------------------------------------------------ who and where */

const char *console_database_url(const struct cli_call *call)
{
	const char *url = cli_str(call, "--database-url");

	return url != NULL ? url : "";
}

const char *console_redis_url(const struct cli_call *call)
{
	const char *url = cli_str(call, "--redis-url");

	return url != NULL && url[0] != '\0' ? url : NULL;
}

const char *console_actor(struct console *con, const struct cli_call *call)
{
	const char *given = cli_str(call, "--actor"), *user = getenv("SUDO_USER");
	const struct passwd *pw = user == NULL ? getpwuid(getuid()) : NULL;
	char host[64] = "";

	if (con->actor[0] != '\0')
		return con->actor;
	if (given != NULL && given[0] != '\0') {
		snprintf(con->actor, sizeof(con->actor), "%s", given);
		return con->actor;
	}
	if (user == NULL)
		user = pw != NULL ? pw->pw_name : "unknown";
	if (gethostname(host, sizeof(host) - 1) != 0)
		snprintf(host, sizeof(host), "unknown");
	snprintf(con->actor, sizeof(con->actor), "%.60s@%s", user, host);
	return con->actor;
}

/* Names of tables and what servers say may hold anything. */
static void say(void *arg, const char *line)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(NOTE_MAX);

	(void)arg;
	text_add_printable(&text, line);
	fprintf(stderr, "drover: %s\n", text.data);
}

void console_note(const struct cli_call *call, const char *fmt, ...)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(NOTE_MAX);
	va_list ap;

	if (cli_flag(call, "--json") || cli_flag(call, "--quiet"))
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	say(NULL, text.data);
}

/* Reasons for which nothing but the file, or what it names, is to blame. */
void console_advice(const char *reason, const char *name, char *out, size_t size)
{
	static const char *const wrong[] = { "the migration is wrong", "it does not converge", "the script takes too long" };
	static const char right[] = "a right is missing";
	bool file = false;

	for (size_t i = 0; i < ARRAY_SIZE(wrong) && reason != NULL; i++)
		file = file || strncmp(reason, wrong[i], strlen(wrong[i])) == 0;
	if (file)
		snprintf(
			out, size,
			"mend the file and put it in: drover amend %s FILE (or mend what it names in the database); then: drover resume %s",
			name, name);
	else if (reason != NULL && strncmp(reason, right, sizeof(right) - 1) == 0)
		snprintf(out, size, "grant it; then: drover resume %s", name);
	else
		snprintf(out, size, "to go on: drover resume %s", name);
}

/* ------------------------------------------------------------ connections */

void console_outage(struct outage *o, const char *server)
{
	outage_init(o, server, say, NULL);
}

/* "drover status": one word after the program, so that it is never taken for a worker's lane. */
static void application_name(const struct cli_call *call, char *out, size_t size)
{
	snprintf(out, size, "drover %s", call->command != NULL ? call->command->name : "console");
}

/* Log lines are for workers; here they only explain what is said otherwise. */
static void set_log(const struct cli_call *call)
{
	log_setup(cli_flag(call, "--verbose") ? LOG_DEBUG : LOG_WARN, cli_flag(call, "--json") ? LOG_JSON : LOG_KV);
}

int console_connect(struct console *con, const struct cli_call *call, struct err *err)
{
	char name[64];

	if (con->pg != NULL)
		return 0;
	set_log(call);
	application_name(call, name, sizeof(name));
	if (!con->patient)
		return pg_sync_try_open(&con->pg, console_database_url(call), name, CONNECT_MS, &con->stop, err);
	return pg_sync_open(&con->pg, console_database_url(call), name, &con->stop, &con->outage, err);
}

int console_ride_out(struct console *con, struct err *err)
{
	int rc;

	if (!con->patient || !pg_error_is_outage(err))
		return err->code;
	rc = clock_sleep_ms(outage_failed(&con->outage, clock_now_ms(clock_system()), err->msg), &con->stop);
	if (rc != 0)
		return err_set(err, rc, "interrupted while waiting for PostgreSQL");
	pg_sync_free(con->pg);
	con->pg = NULL;
	err_clear(err);
	return 0;
}

int console_pg(struct console *con, const struct cli_call *call, struct err *err)
{
	int rc;

	if (con->pg != NULL)
		return 0;
	rc = console_connect(con, call, err);
	if (rc != 0)
		return rc;
	rc = con->installs ? schema_open(con->pg, &con->schema, err) : schema_check(con->pg, &con->schema, err);
	if (rc != 0)
		return rc;
	if (con->schema.installed)
		console_note(call, "installed the schema drover, version %d", con->schema.version);
	else if (con->schema.upgraded_from > 0)
		console_note(call, "upgraded the schema drover from version %d to %d", con->schema.upgraded_from, con->schema.version);
	return 0;
}

int console_try_pg(struct console *con, const struct cli_call *call, struct err *err)
{
	int rc;

	if (con->pg != NULL)
		return 0;
	rc = console_connect(con, call, err);
	if (rc != 0)
		return rc;
	return schema_check(con->pg, &con->schema, err);
}

int console_redis(struct console *con, const struct cli_call *call, struct err *err)
{
	const char *url = console_redis_url(call);
	struct redis_sync *fresh = NULL;
	int rc;

	if (url == NULL)
		return err_set(err, ST_CONFIG, "REDIS_URL is not set (or give --redis-url)");
	if (con->redis != NULL && !redis_sync_lost(con->redis))
		return 0;
	rc = redis_sync_try_open(&fresh, url, &con->stop, err);
	if (rc != 0)
		return rc;
	redis_sync_free(con->redis);
	con->redis = fresh;
	return 0;
}

void console_ring(const struct console *con, const struct cli_call *call)
{
	const char *url = console_redis_url(call);
	struct redis_sync *fresh = NULL;

	if (con->redis != NULL && !redis_sync_lost(con->redis))
		bell_ring(con->redis, con->schema.installation);
	else if (url != NULL && redis_sync_try_open_within(&fresh, url, RING_MS, &con->stop, NULL) == 0)
		bell_ring(fresh, con->schema.installation);
	redis_sync_free(fresh);
}

int console_find(struct console *con, const struct cli_call *call, const char *name, struct migration_ref *ret, struct err *err)
{
	int rc = console_pg(con, call, err);

	return rc != 0 ? rc : migrations_find(con->pg, name, ret, err);
}
