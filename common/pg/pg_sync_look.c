/*
 * pg_sync_look.c - a call that has waited for long: is the server still at work for it, or was its answer lost on the way?
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "pg/pg_sync_private.h"
#include "sql.h"

#define SILENCE_MS 5000 /* until the server is asked ... */
#define AGAIN_MS 1000   /* ... and asked once more if it is not at work: the answer may have been on its way */
#define LOOK_MS 5000    /* longest to connect, and to be answered */

static bool is_same(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Of a list of hosts the second connection may have reached another. */
static bool is_same_server(const PGconn *a, const PGconn *b)
{
	return is_same(PQhost(a), PQhost(b)) && is_same(PQhostaddr(a), PQhostaddr(b)) && is_same(PQport(a), PQport(b));
}

/* Asked on a connection of its own. True as well if it cannot be told. */
static bool is_at_work(const struct pg_sync *c)
{
	struct pg_sync look = { .url = c->url, .stop = c->stop, .connect_ms = LOOK_MS, .deadline_ms = LOOK_MS, .is_look = true };
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	struct err why = ERR_INIT;
	char pid[16];
	const char *params[] = { PQparameterStatus(c->conn, "application_name"), pid };
	bool at_work = true;

	snprintf(pid, sizeof(pid), "%d", PQbackendPID(c->conn));
	if (params[0] != NULL && pg_sync_connect_once(&look, &why) == 0 && is_same_server(look.conn, c->conn) &&
	    pg_exec(&look, SQL_CONNECTION_AT_WORK, 2, params, &res, &why) == 0)
		at_work = pg_bool(res, 0, "at_work");
	PQclear(look.failed);
	PQfinish(look.conn);
	return at_work;
}

static bool has_input(const struct pg_sync *c)
{
	struct pollfd p = { .fd = PQsocket(c->conn), .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

void pg_sync_heard(struct pg_sync *c)
{
	c->look_ms = c->is_look ? UINT64_MAX : clock_now_ms(clock_system()) + SILENCE_MS;
	c->missed = false;
}

/*
 * A network that loses what it is given tells nobody, and keepalive takes its time or is not there (Unix sockets, some tunnels). Statements
 * may take long, so only the server knows.
 */
int pg_sync_silent(struct pg_sync *c, struct err *err)
{
	if (is_at_work(c)) {
		pg_sync_heard(c);
	} else if (!c->missed || has_input(c)) {
		c->missed = true;
		c->look_ms = clock_now_ms(clock_system()) + AGAIN_MS;
	} else {
		return err_set(err, ST_DISCONNECTED, "PostgreSQL is not at work for this connection: the answer was lost");
	}
	return 0;
}
