#include "producer/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/text.h"
#include "pg/pg_error.h"
#include "pg/pg_sync.h"
#include "producer/doctor_private.h"

#define TEXT_MAX 2000 /* bytes of a sentence */

struct check {
	const char *name; /* in JSON; stable */
	doctor_check_fn look;
};

/* Before the ledger is read: it may be locked. */
static const struct check of_server[] = {
	{ "postgresql", doctor_server },
	{ "ledger-locked", doctor_ledger_locks },
};

static const struct check of_fleet[] = {
	{ "redis", doctor_redis },
	{ "workers", doctor_workers },
};

static const struct check of_migration[] = {
	{ "state", doctor_state },        /* paused by whom, the circuit breaker, switched off */
	{ "settings", doctor_settings },  /* that cannot be read, or work against each other */
	{ "scan", doctor_scan },          /* nobody produces; the backlog is full */
	{ "workers", doctor_workers_of }, /* none, or none that may or can */
	{ "queue", doctor_queue },        /* leases that are over, jobs that Redis has lost or put off */
	{ "locks", doctor_table_locks },  /* who keeps it from its rows */
	{ "progress", doctor_progress },  /* nothing is committed; rows that wait for another attempt */
	{ "sweep", doctor_sweep },        /* transactions that hold up the last sweep; rows that turn up again and again */
	{ "pace", doctor_pace },          /* what it gives way to, which limit it is at */
	{ "dead-letters", doctor_dead },
};

/* ------------------------------------------------------------ findings */

const char *doctor_severity_name(enum doctor_severity s)
{
	static const char *const names[] = { "error", "warning", "note" };

	return names[s];
}

static char *text_of(struct doctor *d, const char *fmt, va_list ap)
{
	CLEANUP(buf_free) struct buf clean = BUF_INIT(8 * TEXT_MAX);
	char text[TEXT_MAX], *copy;

	/* What servers and others said stays in one line. */
	vsnprintf(text, sizeof(text), fmt, ap);
	text_add_printable(&clean, text);
	copy = buf_detach(&clean);
	d->out_of_memory = d->out_of_memory || copy == NULL;
	return copy;
}

void doctor_say(struct doctor *d, enum doctor_severity severity, const char *fmt, ...)
{
	struct finding *grown = realloc(d->found, (d->nfound + 1) * sizeof(*grown));
	va_list ap;

	if (grown == NULL) {
		d->out_of_memory = true;
		return;
	}
	d->found = grown;
	grown = &grown[d->nfound++];
	*grown = (struct finding){ .severity = severity, .check = d->check };
	if (d->now != NULL)
		snprintf(grown->migration, sizeof(grown->migration), "%s", d->now->name);
	va_start(ap, fmt);
	grown->text = text_of(d, fmt, ap);
	va_end(ap);
}

void doctor_advise(struct doctor *d, const char *fmt, ...)
{
	va_list ap;

	if (d->nfound == 0 || d->out_of_memory)
		return;
	va_start(ap, fmt);
	d->found[d->nfound - 1].advice = text_of(d, fmt, ap);
	va_end(ap);
}

/* There are few, and those of one severity stay as they were found. */
void doctor_sort(struct doctor *d)
{
	for (size_t i = 1; i < d->nfound; i++) {
		struct finding f = d->found[i];
		size_t at = i;

		for (; at > 0 && d->found[at - 1].severity > f.severity; at--)
			d->found[at] = d->found[at - 1];
		d->found[at] = f;
	}
}

bool doctor_has(const struct doctor *d, enum doctor_severity s)
{
	for (size_t i = 0; i < d->nfound; i++)
		if (d->found[i].severity == s)
			return true;
	return false;
}

void doctor_close(struct doctor *d)
{
	for (size_t i = 0; i < d->nfound; i++) {
		free(d->found[i].text);
		free(d->found[i].advice);
	}
	free(d->found);
	d->found = NULL;
	d->nfound = 0;
}

void doctor_say_away(struct doctor *d, const struct err *why)
{
	d->check = "postgresql";
	d->now = NULL;
	doctor_say(d, DOCTOR_ERROR, "PostgreSQL %s: %s", pg_error_is_outage(why) ? "is away" : "refuses", why->msg);
	doctor_advise(
		d,
		"mend the server or the way to it (DATABASE_URL says where it is); workers and producers wait for it and go on by themselves");
}

/* ------------------------------------------------------------ the tables */

/* A question that the server refused to answer is no reason not to ask the next. */
static int make(struct doctor *d, const struct check *checks, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		int rc;

		d->check = checks[i].name;
		rc = checks[i].look(d, &why);
		if (rc == ST_SQL && !pg_error_is_outage(&why)) {
			doctor_say(d, DOCTOR_NOTE, "this could not be looked at: %s", why.msg);
			doctor_advise(d, "as the schema's owner: drover init --reader-role %s", d->role[0] != '\0' ? d->role : "ROLE");
		} else if (rc != 0) {
			if (err != NULL)
				*err = why;
			return rc;
		}
	}
	return d->out_of_memory ? err_set(err, ST_NOMEM, "out of memory") : 0;
}

static bool must_end(int rc)
{
	return rc == ST_INTERRUPTED || rc == ST_INPUT || rc == ST_NOMEM || rc == ST_USAGE;
}

/* What console_try_pg() did not like about the schema. */
static void say_schema(struct doctor *d, const struct err *why)
{
	static const struct {
		enum schema_trouble trouble;
		const char *advice;
	} what[] = {
		{ SCHEMA_MISSING, "install it: drover init" },
		{ SCHEMA_OLDER, "as its owner, with this version of drover: drover init" },
		{ SCHEMA_NEWER, "use the drover and the drover-worker of the version that upgraded it; workers of another one wait" },
		{ SCHEMA_COPY, "if this copy is to have migrations of its own: drover init --rekey" },
		{ SCHEMA_DENIED, "as its owner: drover init --reader-role ROLE (or --producer-role, --worker-role)" },
		{ SCHEMA_DAMAGED, "restore the schema drover from a backup, or drop it and begin anew: DROP SCHEMA drover CASCADE" },
	};

	d->check = "schema";
	doctor_say(d, DOCTOR_ERROR, "%s", why->msg);
	for (size_t i = 0; i < ARRAY_SIZE(what); i++)
		if (what[i].trouble == d->con->schema.trouble)
			doctor_advise(d, "%s", what[i].advice);
}

static void say_refused(struct doctor *d, const struct err *why)
{
	d->check = "postgresql";
	doctor_say(d, DOCTOR_ERROR, "PostgreSQL refuses the connection: %s", why->msg);
	doctor_advise(d, "mend DATABASE_URL, or what it names: the role, its password, the database, pg_hba.conf");
}

int doctor_look_at_servers(struct doctor *d, bool *ret_usable, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = console_connect(d->con, d->call, &why);

	*ret_usable = false;
	if (rc == ST_SQL && !pg_error_is_outage(&why)) {
		say_refused(d, &why);
		rc = ST_REFUSED;
	} else if (rc == 0) {
		(void)pg_sync_set_deadline_ms(d->con->pg, DOCTOR_DEADLINE_MS);
		rc = make(d, of_server, ARRAY_SIZE(of_server), &why);
		if (rc == 0)
			rc = schema_check(d->con->pg, &d->con->schema, &why);
		if (rc == ST_REFUSED || rc == ST_NOT_FOUND)
			say_schema(d, &why);
		*ret_usable = rc == 0;
	}
	if (must_end(rc))
		return err_set(err, rc, "%s", why.msg);
	if (rc != 0 && rc != ST_REFUSED && rc != ST_NOT_FOUND)
		doctor_say_away(d, &why);
	rc = make(d, of_fleet, *ret_usable ? ARRAY_SIZE(of_fleet) : 1, &why);
	if (must_end(rc))
		return err_set(err, rc, "%s", why.msg);
	if (rc != 0) {
		doctor_say_away(d, &why);
		*ret_usable = false;
	}
	return 0;
}

int doctor_look_at(struct doctor *d, struct standing *s, struct err *err)
{
	int rc;

	d->now = s;
	rc = make(d, of_migration, ARRAY_SIZE(of_migration), err);
	d->now = NULL;
	return rc;
}
