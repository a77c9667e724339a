/*
 * pg_sync_private.h - what the files of pg_sync share.
 */
#ifndef DROVER_PG_PG_SYNC_PRIVATE_H
#define DROVER_PG_PG_SYNC_PRIVATE_H

#include "pg/pg_sync.h"
#include "pg/pg_url.h"

struct pg_sync {
	PGconn *conn; /* NULL: lost */
	struct pg_url url;
	const volatile sig_atomic_t *stop;
	uint64_t connect_ms;  /* per host */
	uint64_t deadline_ms; /* per call */
	/* a call under way */
	uint64_t look_ms; /* when to ask whether the server is at work for it; each byte heard puts it off */
	bool missed;      /* it was not when asked before, and nothing was heard since */
	bool is_look;     /* this is the connection that asks */
	PGresult *failed; /* of the last call */
	char parting[6];  /* sqlstate of the notice with which the server says good-bye */
};

MUST_CHECK int pg_sync_connect_once(struct pg_sync *c, struct err *err);

/* Something was heard, or a call begins. */
void pg_sync_heard(struct pg_sync *c);

/* It is look_ms: 0 to wait on; ST_DISCONNECTED: the server is not at work for this call, so its answer was lost. Takes up to 10 s. */
MUST_CHECK int pg_sync_silent(struct pg_sync *c, struct err *err);

#endif
