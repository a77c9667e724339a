/*
 * doctor.h - findings: what keeps a migration from going on, how bad that is, and what to do about it.
 *
 * The checks are a table (doctor.c). Each looks at one thing and says what it finds, or nothing. They only read, and each question has a deadline.
 */
#ifndef DROVER_PRODUCER_DOCTOR_H
#define DROVER_PRODUCER_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/util.h"
#include "producer/standing.h"

struct cli_call;
struct console;

enum doctor_severity {
	DOCTOR_ERROR,   /* needs a hand: it stands still, or rows are left behind */
	DOCTOR_WARNING, /* goes on, but somebody should see to it */
	DOCTOR_NOTE,    /* nothing is wrong: what sets the pace, what is waited for */
};

#define DOCTOR_DEADLINE_MS 5000 /* of a question */

struct finding {
	enum doctor_severity severity;
	const char *check;   /* a literal; stable */
	char migration[104]; /* "": of the servers or the fleet */
	char *text;          /* one sentence */
	char *advice;        /* what to do, with the exact command; NULL: nothing */
};

struct doctor {
	struct console *con;
	const struct cli_call *call;
	struct fleet fleet;
	/* of the server, once doctor_server() has looked */
	char role[140];             /* quoted */
	int64_t deadlock_ms;        /* its deadlock_timeout */
	int64_t worker_sessions;    /* connections of workers to this database */
	const struct standing *now; /* the migration that is looked at; NULL: none */
	const char *check;          /* that is made */
	struct finding *found;
	size_t nfound;
	bool out_of_memory;
};

const char *doctor_severity_name(enum doctor_severity s);

/* Add a finding of the check under way; doctor_advise() says what to do about the last one. */
void doctor_say(struct doctor *d, enum doctor_severity severity, const char *fmt, ...) PRINTF_LIKE(3, 4);
void doctor_advise(struct doctor *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/**
 * Look at the servers and the fleet; *@ret_usable: the ledger can be asked. Servers that are away, or a schema that is not there, are findings.
 * ST_INTERRUPTED, ST_INPUT (a URL that is wrong), ST_NOMEM.
 */
MUST_CHECK int doctor_look_at_servers(struct doctor *d, bool *ret_usable, struct err *err);

/* Look at one migration, a row of status.sql. Errors as above, and those of a connection that is lost or does not answer. */
MUST_CHECK int doctor_look_at(struct doctor *d, struct standing *s, struct err *err);

/* Nobody answers any more, for this reason: a finding. */
void doctor_say_away(struct doctor *d, const struct err *why);

/* The weightiest first. */
void doctor_sort(struct doctor *d);

bool doctor_has(const struct doctor *d, enum doctor_severity s);
void doctor_close(struct doctor *d);

#endif
