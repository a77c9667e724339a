/*
 * console.h - what every command of `drover` shares: the connections, opened when first asked for, and who asks.
 *
 * cli_main() hands each command a `struct console` as its ctx.
 */
#ifndef DROVER_PRODUCER_CONSOLE_H
#define DROVER_PRODUCER_CONSOLE_H

#include <signal.h>
#include <stdbool.h>

#include "cli/cli.h"
#include "core/err.h"
#include "core/outage.h"
#include "core/util.h"
#include "ledger/migrations.h"
#include "ledger/schema.h"

struct pg_sync;
struct redis_sync;

struct console {
	volatile sig_atomic_t stop; /* set by SIGINT and SIGTERM */
	bool installs;              /* the schema, or an upgrade of it, where there is none: init, produce, run and a change of config */
	bool patient;               /* waits for a PostgreSQL that is away, and says so; otherwise that is an error */
	struct outage outage;       /* of PostgreSQL, where it is patient */
	char actor[128];            /* who is named in the audit trail: user@host, or --actor */
	struct pg_sync *pg;         /* NULL until console_pg() */
	struct redis_sync *redis;   /* NULL until console_redis() */
	struct schema_info schema;  /* filled by console_pg() */
};

/* The whole program as tables: commands, options, texts. */
const struct cli_program *console_program(void);

/* SIGINT and SIGTERM set @con->stop from here on; one console per process. */
void console_init(struct console *con);
void console_close(struct console *con);

/* Where the servers are: option, else environment; "" stands for libpq's own PG* variables. NULL: REDIS_URL is not set. */
const char *console_database_url(const struct cli_call *call);
const char *console_redis_url(const struct cli_call *call);

/* Who is named in the audit trail. */
const char *console_actor(struct console *con, const struct cli_call *call);

/**
 * Connect (once) to PostgreSQL, and look at the schema: a console that @installs puts it in or upgrades it if the role may, the others get
 * ST_NOT_FOUND or ST_REFUSED. While the server is away a patient console waits, and says so on stderr; others get ST_DISCONNECTED or ST_TIMEOUT
 * within seconds: somebody sits there, or a script has more to do.
 */
MUST_CHECK int console_pg(struct console *con, const struct cli_call *call, struct err *err);

/*
 * A step that can be begun again failed with @err. If that was an outage and the console is patient: says so, pauses, and forgets the
 * connection for console_pg() to make a new one; then 0. Otherwise the error as it was.
 */
MUST_CHECK int console_ride_out(struct console *con, struct err *err);

/* The same as console_pg() without a look at the schema. */
MUST_CHECK int console_connect(struct console *con, const struct cli_call *call, struct err *err);

/* As console_pg() without waiting and without changing anything: ST_DISCONNECTED, ST_NOT_FOUND (no schema). */
MUST_CHECK int console_try_pg(struct console *con, const struct cli_call *call, struct err *err);

/* Connect (once) to Redis. ST_CONFIG if no URL is set; ST_DISCONNECTED at once if it does not answer: the caller decides what it means. */
MUST_CHECK int console_redis(struct console *con, const struct cli_call *call, struct err *err);

/*
 * Wake the workers: something was committed that they are to know of. After console_pg(). It takes a second or two where Redis does not answer, and
 * nothing is said of that: workers look for themselves twice a second.
 */
void console_ring(const struct console *con, const struct cli_call *call);

/* console_pg(), then the migration named. */
MUST_CHECK int console_find(struct console *con, const struct cli_call *call, const char *name, struct migration_ref *ret, struct err *err);

/* Prepares an outage that is said on stderr, one line each time. */
void console_outage(struct outage *o, const char *server);

/* A line for people on stderr: nothing with --json or --quiet. */
void console_note(const struct cli_call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define CONSOLE_ADVICE_MAX 400

/* What to do about a pause of the migration @name, by its reason (NULL: none): to be put behind a semicolon. */
void console_advice(const char *reason, const char *name, char *out, size_t size);

/* The commands, each in its own file. */
extern const struct cli_command produce_command, run_command;
extern const struct cli_command init_command, status_command, verify_command, pause_command, resume_command, cancel_command, clear_command,
	config_command, failed_command, failed_show_command, retry_command, forget_command, flush_command, prune_command, workers_command,
	restart_command, monitor_command, amend_command, events_command, doctor_command, exporter_command, docs_command;

#endif
