/*
 * pg_prepared.h - the statements that a connection has prepared. What is run again soon is neither parsed nor planned anew.
 *
 * A text means something only together with the settings that it is parsed under (DateStyle, TimeZone ...): so a statement is its text and its scope.
 * None is run in an operation that begins more than two seconds after the first of them was prepared (a minute, where no word of them is a user's): so
 * old is what was worked out as they were planned (a function declared IMMUTABLE, say) at most. At the end of an operation that begins shortly before that, or later, all are given back.
 *
 * Only where the connection is direct (decision 0025). A pooler that hands a server's connection from client to client between transactions knows
 * nothing of a client's statements; it tells a client a process number of its own making, so where the server's process has the number that libpq
 * was told as it connected, nothing stands in between.
 */
#ifndef DROVER_PG_PG_PREPARED_H
#define DROVER_PG_PG_PREPARED_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

/* On a connection, until they are given back; more stay unnamed. The server keeps some 40 kB for each, 650 kB where the table has 200 partitions. */
#define PG_PREPARED_MAX 60

#define PG_PREPARED_MS 2000      /* their age when they are old ... */
#define PG_PREPARED_OWN_MS 60000 /* ... under the session's own settings: of these none has a word of a user's in it */
#define PG_PREPARED_SOON_MS \
	500 /* given back so long before, so that the next operation prepares them, instead of one that runs each step unnamed */
#define PG_PREPARED_ASK "SELECT pg_catalog.pg_backend_pid()"

struct pg_statement {
	struct pg_statement *next;
	char name[48]; /* no other client's statement has it */
	bool known;    /* the server has confirmed it */
	uint64_t sent; /* with this operation, to be prepared */
	uint64_t scope;
	char sql[];
};

struct pg_prepared {
	struct pg_statement *all; /* the newest first */
	unsigned n;
	uint64_t token, made; /* of their names */
	uint64_t op, now_ms;  /* number of the operation under way, and when it began */
	uint64_t old_ms;      /* when the first of them will be old */
	bool asked;           /* the server said whether the connection is direct */
	bool direct;          /* and it is */
	bool stale;           /* they are of no use any more */
	bool refused;         /* it looked direct, and they were gone: never again */
};

void pg_prepared_init(struct pg_prepared *p);

/* The connection is no more: the next one begins with none. */
void pg_prepared_forget(struct pg_prepared *p);

/* An operation begins. */
void pg_prepared_begin(struct pg_prepared *p, uint64_t now_ms);

/* Is it time to give them back? Then pg_prepared_drop() writes the statement that does so for one, until it returns NULL ... */
bool pg_prepared_due(const struct pg_prepared *p);
struct pg_statement *pg_prepared_drop(struct pg_prepared *p, struct pg_statement *after, char *ret_sql, size_t size);

/* ... and this is called once the server has done it. @s is no more. */
void pg_prepared_dropped(struct pg_prepared *p, struct pg_statement *s);

/* The answer to PG_PREPARED_ASK. */
void pg_prepared_answer(struct pg_prepared *p, const PGconn *conn, const PGresult *res);

/* The statement of that text and scope; @ret_new: it is to be prepared now, within this operation. NULL: it stays unnamed. */
struct pg_statement *pg_prepared_get(struct pg_prepared *p, const char *sql, uint64_t scope, bool *ret_new);

/* @s (NULL: none) failed. Where it is not there, or its plan does not fit any more, none is run again. */
void pg_prepared_failed(struct pg_prepared *p, const struct pg_statement *s, const PGresult *res);

#endif
