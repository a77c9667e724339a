#include "pg/pg_error.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "pg/pg_status.h"

/* One line for a person: line ends and runs of blanks become one blank. */
static void add_line(struct buf *out, const char *text)
{
	bool blank = true;

	for (; *text != '\0'; text++) {
		if (isspace((unsigned char)*text)) {
			if (!blank)
				buf_putc(out, ' ');
			blank = true;
		} else {
			buf_putc(out, *text);
			blank = false;
		}
	}
	while (out->len > 0 && out->data[out->len - 1] == ' ')
		out->data[--out->len] = '\0';
}

static int set_sql(struct err *err, const char *sqlstate, const char *msg)
{
	err_set(err, ST_SQL, "%s", msg);
	if (err != NULL)
		snprintf(err->sqlstate, sizeof(err->sqlstate), "%.5s", sqlstate);
	return ST_SQL;
}

/* Which table it is stands in the message alone; so does the right that is missing, nowhere. In a server of another language neither is known. */
void pg_error_add_remedy(struct buf *out, const PGresult *res, const PGconn *conn)
{
	static const char denied[] = "permission denied for ";
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *role = PQuser(conn);

	if (sqlstate == NULL || primary == NULL || role == NULL || strcmp(sqlstate, "42501") != 0 ||
	    strncmp(primary, denied, sizeof(denied) - 1) != 0)
		return;
	buf_printf(
		out,
		"role %s lacks the right: GRANT ... ON %s TO %s; if it is Drover's own: drover init --worker-role %s (or --producer-role, --reader-role)",
		role, primary + sizeof(denied) - 1, role, role);
}

int pg_error_of_result(const PGresult *res, const PGconn *conn, struct err *err)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	CLEANUP(buf_free) struct buf b = BUF_INIT(64 * 1024);
	CLEANUP(buf_free) struct buf remedy = BUF_INIT(16 * 1024);

	add_line(&b, primary != NULL ? primary : PQresultErrorMessage(res));
	if (detail != NULL) {
		buf_puts(&b, " (");
		add_line(&b, detail);
		buf_putc(&b, ')');
	}
	if (hint == NULL) {
		pg_error_add_remedy(&remedy, res, conn);
		hint = remedy.len > 0 ? remedy.data : NULL;
	}
	if (hint != NULL) {
		buf_puts(&b, "; hint: ");
		add_line(&b, hint);
	}
	if (!buf_ok(&b)) {
		buf_reset(&b);
		buf_printf(&b, "%.900s", primary != NULL ? primary : "an error too long to show");
	}
	if (sqlstate == NULL)
		return err_set(err, ST_DISCONNECTED, "%s", b.len > 0 ? b.data : "connection lost");
	return set_sql(err, sqlstate, b.data);
}

/* "FATAL:  53300: sorry, ..." -> "53300" into @ret and the text without it; verbose errors look like this. The last of several hosts counts. */
static void take_sqlstate(struct buf *out, const char *line, char *ret)
{
	const char *p = strstr(line, ":  ");
	bool code = p != NULL && strlen(p) > 10 && p[8] == ':' && p[9] == ' ';

	for (int i = 3; code && i < 8; i++)
		code = isdigit((unsigned char)p[i]) || isupper((unsigned char)p[i]);
	if (!code) {
		add_line(out, line);
		return;
	}
	snprintf(ret, 6, "%.5s", p + 3);
	buf_add(out, line, (size_t)(p - line));
	buf_puts(out, ": ");
	add_line(out, p + 10);
}

/* What waiting does not mend, among libpq's own complaints (they are English: the programs keep the C locale). */
static bool is_setup(const PGconn *conn, const char *msg)
{
	static const char *const signs[] = { "no password supplied", "SSL was required",  "certificate",
					     "private key",          "does not support",  "invalid ",
					     "authentication",       "Permission denied", "definition of service" };

	if (PQconnectionNeedsPassword(conn))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
		if (strstr(msg, signs[i]) != NULL)
			return true;
	return false;
}

int pg_error_of_connection(const PGconn *conn, struct err *err)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(16 * 1024);
	CLEANUP(buf_free) struct buf text = BUF_INIT(16 * 1024);
	struct err sql = ERR_INIT;
	char sqlstate[6] = "";
	char *save = NULL;

	buf_puts(&text, PQerrorMessage(conn));
	for (char *line = strtok_r(text.data, "\n", &save); line != NULL && text.len > 0; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "LOCATION:", 9) == 0)
			continue;
		if (b.len > 0)
			buf_puts(&b, "; ");
		take_sqlstate(&b, line, sqlstate);
	}
	if (b.len == 0)
		buf_puts(&b, "connection lost");
	if (sqlstate[0] == '\0')
		return err_set(err, is_setup(conn, b.data) ? ST_INPUT : ST_DISCONNECTED, "%s", b.data);
	set_sql(&sql, sqlstate, b.data);
	if (pg_error_is_outage(&sql)) {
		err_set(err, ST_DISCONNECTED, "%s", b.data);
		if (err != NULL)
			snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate);
		return ST_DISCONNECTED;
	}
	return set_sql(err, sqlstate, b.data);
}

bool pg_error_is_outage(const struct err *err)
{
	if (err->code == ST_DISCONNECTED || err->code == ST_TIMEOUT)
		return true;
	return err->code == ST_SQL && pg_classify(err->sqlstate, err->msg) == PG_CLASS_OUTAGE;
}
