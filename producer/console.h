/*
 * console.h - what every command of `drover` shares: the connections, opened when first asked for, and who asks.
 *
 * cli_main() hands each command a `struct console` as its ctx.
 */
#ifndef DROVER_PRODUCER_CONSOLE_H
#define DROVER_PRODUCER_CONSOLE_H

#include <signal.h>

#include "cli/cli.h"
#include "core/err.h"
#include "core/util.h"
#include "ledger/schema.h"

struct pg_sync;
struct redis_sync;

struct console {
	volatile sig_atomic_t stop; /* set by SIGINT and SIGTERM */
	char actor[128];            /* who is named in the audit trail: user@host, or --actor */
	struct pg_sync *pg;         /* NULL until console_pg() */
	struct redis_sync *redis;   /* NULL until console_redis() */
	struct schema_info schema;  /* filled by console_pg() */
};

/* Where the servers are: option, else environment; "" stands for libpq's own PG* variables. NULL: REDIS_URL is not set. */
const char *console_database_url(const struct cli_call *call);
const char *console_redis_url(const struct cli_call *call);

/* Connect (once) to PostgreSQL, installing or upgrading the schema if that is needed and allowed. */
MUST_CHECK int console_pg(struct console *con, const struct cli_call *call, struct err *err);

/* Connect (once) to Redis. ST_CONFIG if no URL is set; ST_DISCONNECTED at once if it does not answer: the caller decides what it means. */
MUST_CHECK int console_redis(struct console *con, const struct cli_call *call, struct err *err);

void console_close(struct console *con);

/* The commands, each in its own file. */
extern const struct cli_command produce_command, run_command;

#endif
