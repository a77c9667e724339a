/*
 * pg_url.h - DATABASE_URL: checked once, completed with our defaults, and never shown with its secrets.
 *
 * A libpq URI or a conninfo string; NULL or "" leaves everything to the PG* variables, the service file and .pgpass, as with psql. What the
 * user set, there or in PG*, stays. A password that is not in it is taken from DATABASE_PASSWORD, or from the file that DATABASE_PASSWORD_FILE names. Two things are ours: application_name, which names the lane, and client_encoding UTF8, because
 * keys travel as text from one program to another.
 */
#ifndef DROVER_PG_PG_URL_H
#define DROVER_PG_PG_URL_H

#include "core/err.h"
#include "core/util.h"

#define PG_URL_MAX 48 /* parameters, with ours */

struct pg_url {
	const char *keywords[PG_URL_MAX]; /* for PQconnectStartParams(keywords, values, 0); NULL-terminated */
	const char *values[PG_URL_MAX];
	char masked[512]; /* for messages: "postgresql://app@db.example:5432/shop" */
	unsigned n;       /* private: values[] to free */
};

/**
 * Read and complete. ST_INPUT with libpq's reason, in which whatever might be a secret is left out; ST_CONFIG, ST_IO, ST_LIMIT the
 * password's file; ST_NOMEM.
 * On failure there is nothing to free.
 */
MUST_CHECK int pg_url_parse(struct pg_url *u, const char *url, const char *application_name, struct err *err);

/* Wipes the values. Fine on a zeroed struct. */
void pg_url_free(struct pg_url *u);

#endif
