#include "pg/pg_status.h"

#include <stddef.h>
#include <string.h>

#include "core/util.h"

/*
 * The first entry that the code begins with decides, so longer ones come first. `word`, if any, must be in the message. Classes of the standard
 * and of PostgreSQL that are not listed are unknown; a code of no such class was made up by the user's own code.
 */
static const struct {
	const char *prefix;
	const char *word;
	enum pg_class class;
} table[] = {
	{ "DR001", NULL, PG_CLASS_DONE },
	{ "DR002", NULL, PG_CLASS_STOPPED },
	{ "DR003", NULL, PG_CLASS_REVISION },
	{ "DR004", NULL, PG_CLASS_NO_JOB },
	{ "DR005", NULL, PG_CLASS_DIVERGES },
	{ "DR006", NULL, PG_CLASS_UNMARKED },

	{ "08", NULL, PG_CLASS_OUTAGE },    /* connection exceptions */
	{ "57P0", NULL, PG_CLASS_OUTAGE },  /* shutdown, crash of another backend, starting up, database dropped, idle session */
	{ "53300", NULL, PG_CLASS_OUTAGE }, /* too many connections */
	{ "25006", NULL, PG_CLASS_OUTAGE }, /* read-only: a standby, after a failover */
	{ "0A000", "during recovery", PG_CLASS_OUTAGE }, /* a standby refuses BEGIN READ WRITE */
	{ "25P03", NULL, PG_CLASS_OUTAGE },              /* idle_in_transaction_session_timeout: we were too slow, or cut off */
	{ "25P04", NULL, PG_CLASS_OUTAGE },              /* transaction_timeout */

	{ "40001", NULL, PG_CLASS_CONFLICT }, /* serialization failure, conflict with recovery */
	{ "40P01", NULL, PG_CLASS_CONFLICT }, /* deadlock */
	{ "55P03", NULL, PG_CLASS_CONFLICT }, /* lock_timeout */
	{ "55006", NULL, PG_CLASS_CONFLICT }, /* object in use */
	{ "55000", NULL, PG_CLASS_CONFLICT }, /* object not in the state needed */

	{ "57014", NULL, PG_CLASS_CANCELLED },

	{ "0A000", "cached plan", PG_CLASS_STALE },
	{ "26000", NULL, PG_CLASS_STALE }, /* no such prepared statement: a pooler gave us another server */
	{ "42P05", NULL, PG_CLASS_STALE }, /* it exists already: the same */

	{ "2D000", NULL, PG_CLASS_WRONG }, /* a procedure that commits */
	{ "25001", NULL, PG_CLASS_WRONG }, /* a statement that cannot run in a transaction */

	{ "53", NULL, PG_CLASS_SERVER }, /* out of disk, memory, other resources */
	{ "58", NULL, PG_CLASS_SERVER }, /* errors of the system */
	{ "XX001", NULL, PG_CLASS_SERVER },
	{ "XX002", NULL, PG_CLASS_SERVER },

	{ "XX000", "invalid memory alloc request size", PG_CLASS_DATA }, /* a value too large */
	{ "54000", NULL, PG_CLASS_DATA },                                /* a row too large for an index, and the like */
	{ "09", NULL, PG_CLASS_DATA },                                   /* a trigger's exception */
	{ "20", NULL, PG_CLASS_DATA },                                   /* CASE without a match */
	{ "21", NULL, PG_CLASS_DATA },                                   /* a subquery with more than one row */
	{ "22", NULL, PG_CLASS_DATA },
	{ "23", NULL, PG_CLASS_DATA },
	{ "27", NULL, PG_CLASS_DATA }, /* a trigger changed the row that is being changed */
	{ "38", NULL, PG_CLASS_DATA }, /* functions in other languages */
	{ "39", NULL, PG_CLASS_DATA },
	{ "44", NULL, PG_CLASS_DATA }, /* WITH CHECK OPTION of a view */
	{ "P0", NULL, PG_CLASS_DATA }, /* PL/pgSQL: RAISE, ASSERT, no data found ... */

	{ "42501", "permission denied", PG_CLASS_DENIED }, /* no row has rights of its own; other words are those of row-level security */
	{ "42", NULL, PG_CLASS_SUSPECT },
};

static const char *const known_classes[] = { "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "22",
					     "23", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F",
					     "40", "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX" };

enum pg_class pg_classify(const char *sqlstate, const char *message)
{
	if (sqlstate == NULL || sqlstate[0] == '\0')
		return PG_CLASS_OUTAGE;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0 &&
		    (table[i].word == NULL || (message != NULL && strstr(message, table[i].word) != NULL)))
			return table[i].class;
	for (size_t i = 0; i < ARRAY_SIZE(known_classes); i++)
		if (strncmp(sqlstate, known_classes[i], 2) == 0)
			return PG_CLASS_UNKNOWN;
	return PG_CLASS_DATA;
}

const char *pg_class_name(enum pg_class c)
{
	static const char *const names[PG_CLASS_NR] = {
		[PG_CLASS_OK] = "ok",
		[PG_CLASS_OUTAGE] = "outage",
		[PG_CLASS_CONFLICT] = "conflict",
		[PG_CLASS_CANCELLED] = "cancelled",
		[PG_CLASS_STALE] = "stale",
		[PG_CLASS_DATA] = "data",
		[PG_CLASS_SUSPECT] = "suspect",
		[PG_CLASS_WRONG] = "wrong",
		[PG_CLASS_DENIED] = "denied",
		[PG_CLASS_SERVER] = "server",
		[PG_CLASS_DONE] = "done",
		[PG_CLASS_STOPPED] = "stopped",
		[PG_CLASS_REVISION] = "revision",
		[PG_CLASS_NO_JOB] = "no-job",
		[PG_CLASS_DIVERGES] = "diverges",
		[PG_CLASS_UNMARKED] = "unmarked",
		[PG_CLASS_UNKNOWN] = "unknown",
	};

	return names[c];
}
