/*
 * pg_error.h - what libpq says went wrong, as a struct err.
 */
#ifndef DROVER_PG_PG_ERROR_H
#define DROVER_PG_PG_ERROR_H

#include <stdbool.h>

#include <libpq-fe.h>

#include "core/buf.h"
#include "core/err.h"

/**
 * From a failed result: ST_SQL with sqlstate and "primary (detail) hint: ..." in one line; ST_DISCONNECTED if it has no sqlstate.
 * Where a right is missing and the server has no hint, the hint is pg_error_add_remedy()'s. Returns err->code.
 */
int pg_error_of_result(const PGresult *res, const PGconn *conn, struct err *err);

/* Append what mends a "permission denied for ..." of this connection, and for which role; nothing for other errors. */
void pg_error_add_remedy(struct buf *out, const PGresult *res, const PGconn *conn);

/**
 * From a connection that could not be made or broke. ST_DISCONNECTED: the server is away, try again; with sqlstate if it said so. ST_SQL with
 * sqlstate: it refused us. ST_INPUT: libpq itself refused (no password, no such certificate). Call PQsetErrorVerbosity(conn,
 * PQERRORS_VERBOSE) right after PQconnectStartParams(): libpq keeps the sqlstate of a refusal in its text alone.
 */
int pg_error_of_connection(const PGconn *conn, struct err *err);

/* Is the server away (shut down, starting, full, read-only after a failover, link lost), so that the same call is right later? */
bool pg_error_is_outage(const struct err *err);

#endif
