#include "pg/pg_sync_private.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/clock.h"
#include "core/outage.h"
#include "pg/pg_error.h"

#define SLICE_MS 100   /* longest sleep between two looks at the stop flag */
#define CANCEL_MS 1000 /* longest wait for a cancel request to be sent */

static uint64_t now_ms(void)
{
	return clock_now_ms(clock_system());
}

/* ------------------------------------------------------------ waiting */

/* Wait for @events on the socket. 0, ST_TIMEOUT, ST_INTERRUPTED. */
static int wait_socket(const struct pg_sync *c, int fd, short events, uint64_t until_ms, struct err *err)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now = now_ms();
		int n;

		if (c->stop != NULL && *c->stop)
			return err_set(err, ST_INTERRUPTED, "interrupted");
		if (now >= until_ms)
			return err_set(err, ST_TIMEOUT, "PostgreSQL did not answer in time");
		n = poll(&p, 1, (int)(until_ms - now < SLICE_MS ? until_ms - now : SLICE_MS));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_set(err, ST_IO, "cannot wait for PostgreSQL: %s", strerror(errno));
	}
}

static void drop(struct pg_sync *c)
{
	PQfinish(c->conn);
	c->conn = NULL;
}

static void *send_cancel(void *arg)
{
	PGcancel *cancel = arg;
	char why[128];

	PQcancel(cancel, why, sizeof(why)); /* best effort: the server also notices when it next writes to us */
	PQfreeCancel(cancel);
	return NULL;
}

/* PQcancel() blocks for as long as the network likes, so a thread of its own sends it; after a second nobody waits for it. */
static void cancel_and_drop(struct pg_sync *c)
{
	PGcancel *cancel = PQgetCancel(c->conn);
	struct timespec until;
	pthread_t thread;

	if (cancel != NULL && pthread_create(&thread, NULL, send_cancel, cancel) == 0) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += CANCEL_MS / 1000;
		if (pthread_timedjoin_np(thread, NULL, &until) != 0)
			pthread_detach(thread);
	} else {
		PQfreeCancel(cancel);
	}
	drop(c);
}

static int lost(struct pg_sync *c, struct err *err)
{
	struct err why = ERR_INIT;

	pg_error_of_connection(c->conn, &why);
	drop(c);
	err_set(err, ST_DISCONNECTED, "%s", why.msg);
	if (err != NULL)
		snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", why.sqlstate[0] != '\0' ? why.sqlstate : c->parting);
	return ST_DISCONNECTED;
}

/* Give up a call: what runs on the server is cancelled, and the connection is of no more use. */
static int give_up(struct pg_sync *c, int rc)
{
	cancel_and_drop(c);
	return rc;
}

/* ------------------------------------------------------------ connecting */

static uint64_t connect_deadline_ms(const struct pg_sync *c)
{
	const char *timeout = getenv("PGCONNECT_TIMEOUT");
	uint64_t each = c->connect_ms, hosts = 1;
	long seconds;

	for (unsigned i = 0; i < c->url.n; i++) {
		if (strcmp(c->url.keywords[i], "connect_timeout") == 0)
			timeout = c->url.values[i];
		if (strcmp(c->url.keywords[i], "host") == 0 || strcmp(c->url.keywords[i], "hostaddr") == 0) {
			hosts = 1;
			for (const char *p = c->url.values[i]; *p != '\0'; p++)
				hosts += *p == ',';
		}
	}
	seconds = timeout != NULL ? strtol(timeout, NULL, 10) : 0;
	if (seconds > 0 && seconds < 3600)
		each = (uint64_t)seconds * 1000;
	return each * hosts;
}

/* Nobody reads notices, but for the last: what the server says before it goes. */
static void on_notice(void *arg, const PGresult *res)
{
	struct pg_sync *c = arg;
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (sqlstate != NULL && strncmp(sqlstate, "57P0", 4) == 0)
		snprintf(c->parting, sizeof(c->parting), "%.5s", sqlstate);
}

int pg_sync_connect_once(struct pg_sync *c, struct err *err)
{
	uint64_t until = now_ms() + connect_deadline_ms(c);
	PostgresPollingStatusType want = PGRES_POLLING_WRITING;

	c->conn = PQconnectStartParams(c->url.keywords, c->url.values, 0);
	if (c->conn == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(c->conn, on_notice, c);
	c->parting[0] = '\0';
	while (PQstatus(c->conn) != CONNECTION_BAD && want != PGRES_POLLING_OK && want != PGRES_POLLING_FAILED) {
		int rc = wait_socket(c, PQsocket(c->conn), want == PGRES_POLLING_READING ? POLLIN : POLLOUT, until, err);

		if (rc != 0) {
			drop(c);
			return err_wrap(err, "cannot connect to %s", c->url.masked);
		}
		want = PQconnectPoll(c->conn);
	}
	if (PQstatus(c->conn) == CONNECTION_OK && PQsetnonblocking(c->conn, 1) == 0) {
		PQsetErrorVerbosity(c->conn, PQERRORS_DEFAULT);
		return 0;
	}
	pg_error_of_connection(c->conn, err);
	drop(c);
	return err_wrap(err, "cannot connect to %s", c->url.masked);
}

static int connect_waiting(struct pg_sync *c, struct outage *outage, struct err *err)
{
	struct outage own;

	if (outage == NULL) {
		outage_init(&own, "PostgreSQL", NULL, NULL);
		outage = &own;
	}
	for (;;) {
		struct err why = ERR_INIT;
		int rc = pg_sync_connect_once(c, &why);

		if (rc == 0) {
			outage_over(outage, now_ms());
			return 0;
		}
		if (!pg_error_is_outage(&why)) {
			if (err != NULL)
				*err = why;
			return rc;
		}
		rc = clock_sleep_ms(outage_failed(outage, now_ms(), why.msg), c->stop);
		if (rc != 0)
			return err_set(err, rc, "interrupted while waiting for PostgreSQL: %s", why.msg);
	}
}

static int make(struct pg_sync **ret, const char *url, const char *application_name, const volatile sig_atomic_t *stop, struct err *err)
{
	struct pg_sync *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	c->stop = stop;
	c->connect_ms = PG_SYNC_CONNECT_MS;
	c->deadline_ms = PG_SYNC_DEADLINE_MS;
	rc = pg_url_parse(&c->url, url, application_name, err);
	if (rc != 0) {
		free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

int pg_sync_try_open(struct pg_sync **ret, const char *url, const char *application_name, uint64_t each_ms,
		     const volatile sig_atomic_t *stop, struct err *err)
{
	struct pg_sync *c = NULL;
	int rc = make(&c, url, application_name, stop, err);

	if (rc != 0)
		return rc;
	if (each_ms > 0)
		c->connect_ms = each_ms;
	rc = pg_sync_connect_once(c, err);
	if (rc != 0) {
		pg_sync_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

int pg_sync_open(struct pg_sync **ret, const char *url, const char *application_name, const volatile sig_atomic_t *stop,
		 struct outage *outage, struct err *err)
{
	struct pg_sync *c = NULL;
	int rc = make(&c, url, application_name, stop, err);

	if (rc != 0)
		return rc;
	rc = connect_waiting(c, outage, err);
	if (rc != 0) {
		pg_sync_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

int pg_sync_reopen(struct pg_sync *c, struct outage *outage, struct err *err)
{
	PQclear(c->failed);
	c->failed = NULL;
	drop(c);
	return connect_waiting(c, outage, err);
}

int pg_sync_try_reopen(struct pg_sync *c, struct err *err)
{
	PQclear(c->failed);
	c->failed = NULL;
	drop(c);
	return pg_sync_connect_once(c, err);
}

void pg_sync_free(struct pg_sync *c)
{
	if (c == NULL)
		return;
	PQclear(c->failed);
	PQfinish(c->conn);
	pg_url_free(&c->url);
	free(c);
}

bool pg_sync_lost(const struct pg_sync *c)
{
	return c->conn == NULL;
}

PGconn *pg_sync_conn(struct pg_sync *c)
{
	return c->conn;
}

uint64_t pg_sync_set_deadline_ms(struct pg_sync *c, uint64_t ms)
{
	uint64_t before = c->deadline_ms;

	c->deadline_ms = ms > 0 ? ms : PG_SYNC_DEADLINE_MS;
	return before;
}

const volatile sig_atomic_t *pg_sync_set_stop(struct pg_sync *c, const volatile sig_atomic_t *stop)
{
	const volatile sig_atomic_t *before = c->stop;

	c->stop = stop;
	return before;
}

/* ------------------------------------------------------------ statements */

/* Wait for @events of a call under way. */
static int wait_call(struct pg_sync *c, short events, uint64_t until_ms, struct err *err)
{
	struct err why = ERR_INIT;
	int rc = wait_socket(c, PQsocket(c->conn), events, until_ms < c->look_ms ? until_ms : c->look_ms, &why);

	if (rc == 0) {
		pg_sync_heard(c);
		return 0;
	}
	if (rc == ST_TIMEOUT && now_ms() < until_ms)
		return pg_sync_silent(c, err);
	if (err != NULL)
		*err = why;
	return rc;
}

/* The next result, NULL between statements. Sends what is still unsent meanwhile. */
static int next_result(struct pg_sync *c, uint64_t until_ms, PGresult **ret, struct err *err)
{
	for (;;) {
		int unsent = PQflush(c->conn);
		int rc;

		if (unsent < 0)
			return lost(c, err);
		if (unsent == 0 && !PQisBusy(c->conn)) {
			*ret = PQgetResult(c->conn);
			return 0;
		}
		rc = wait_call(c, (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)), until_ms, err);
		if (rc != 0)
			return give_up(c, rc);
		if (!PQconsumeInput(c->conn))
			return lost(c, err);
	}
}

static bool is_good(const PGresult *res)
{
	ExecStatusType s = PQresultStatus(res);

	return s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK || s == PGRES_EMPTY_QUERY;
}

static int start(struct pg_sync *c, struct err *err)
{
	PQclear(c->failed);
	c->failed = NULL;
	pg_sync_heard(c);
	return c->conn != NULL ? 0 : err_set(err, ST_DISCONNECTED, "the connection to PostgreSQL is lost");
}

/* A failed result: ours now. COPY cannot be served, and leaves the connection in its middle. */
static int failed(struct pg_sync *c, PGresult *res, struct err *err)
{
	ExecStatusType s = PQresultStatus(res);
	int rc;

	c->failed = res;
	if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH) {
		drop(c);
		return err_set(err, ST_SQL, "COPY to or from the client is not possible here");
	}
	rc = pg_error_of_result(res, c->conn, err);
	if (PQstatus(c->conn) == CONNECTION_BAD) {
		drop(c);
		if (err != NULL)
			err->code = ST_DISCONNECTED; /* with its sqlstate: the server said why */
		return ST_DISCONNECTED;
	}
	return rc;
}

/* All results of what was sent, the last one kept; or the first error. */
static int collect(struct pg_sync *c, PGresult **ret, struct err *err)
{
	uint64_t until = now_ms() + c->deadline_ms;
	PGresult *last = NULL, *bad = NULL;

	for (;;) {
		PGresult *res = NULL;
		int rc = next_result(c, until, &res, err);
		ExecStatusType s = PQresultStatus(res);

		if (rc != 0) {
			PQclear(last);
			PQclear(bad);
			return rc;
		}
		if (res == NULL)
			break;
		if (!is_good(res) && bad == NULL) {
			bad = res;
			if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH)
				break;
			continue;
		}
		PQclear(last);
		last = res;
	}
	if (bad != NULL) {
		PQclear(last);
		return failed(c, bad, err);
	}
	if (last == NULL)
		return lost(c, err);
	if (ret != NULL)
		*ret = last;
	else
		PQclear(last);
	return 0;
}

int pg_exec_script(struct pg_sync *c, const char *sql, struct err *err)
{
	int rc = start(c, err);

	if (rc != 0)
		return rc;
	if (!PQsendQuery(c->conn, sql))
		return lost(c, err);
	return collect(c, NULL, err);
}

/* Results of a pipeline up to its end. @bad_at: the first that failed, kept in *@bad; what was not run because of it has no result. */
static int collect_calls(struct pg_sync *c, int n, PGresult **got, PGresult **bad, int *bad_at, struct err *err)
{
	uint64_t until = now_ms() + c->deadline_ms;

	for (int i = 0; i <= n;) {
		PGresult *res = NULL;
		int rc = next_result(c, until, &res, err);
		ExecStatusType s = PQresultStatus(res);

		if (rc != 0)
			return rc;
		if (res == NULL) { /* the end of one statement */
			if (PQstatus(c->conn) == CONNECTION_BAD)
				return *bad != NULL ? 0 : lost(c, err);
			i++;
		} else if (s == PGRES_PIPELINE_SYNC) {
			PQclear(res);
			return 0;
		} else if (is_good(res) && i < n && got[i] == NULL) {
			got[i] = res;
		} else if (*bad == NULL && s != PGRES_PIPELINE_ABORTED) {
			*bad = res;
			*bad_at = i;
		} else {
			PQclear(res);
		}
	}
	return lost(c, err);
}

static int send_calls(struct pg_sync *c, const struct pg_call *calls, int n)
{
	if (!PQenterPipelineMode(c->conn))
		return 0;
	for (int i = 0; i < n; i++)
		if (!PQsendQueryParams(c->conn, calls[i].sql, calls[i].n, NULL, calls[i].params, NULL, NULL, 0))
			return 0;
	return PQpipelineSync(c->conn);
}

/* The calls as they are, in one pipeline. @got has room for one more than @n, all NULL. */
static int pipeline(struct pg_sync *c, const struct pg_call *calls, int n, PGresult **got, int *ret_failed, struct err *err)
{
	PGresult *bad = NULL;
	int bad_at = 0;
	int rc = start(c, err);

	if (rc == 0)
		rc = send_calls(c, calls, n) ? collect_calls(c, n, got, &bad, &bad_at, err) : lost(c, err);
	if (rc == 0 && c->conn != NULL && PQstatus(c->conn) == CONNECTION_OK && !PQexitPipelineMode(c->conn))
		rc = lost(c, err);
	if (rc == 0 && bad != NULL) {
		*ret_failed = bad_at;
		rc = failed(c, bad, err);
		bad = NULL;
	}
	PQclear(bad);
	return rc;
}

static bool is_word(const char *sql, const char *word)
{
	size_t n = strlen(word);

	return strncasecmp(sql, word, n) == 0 && !isalnum((unsigned char)sql[n]) && sql[n] != '_';
}

/* Does it begin or end a transaction itself? */
static bool is_control(const char *sql)
{
	static const char *const words[] = { "begin", "start", "commit", "end", "rollback", "abort" };

	while (isspace((unsigned char)*sql) || strncmp(sql, "--", 2) == 0)
		sql += *sql == '-' ? strcspn(sql, "\n") : 1;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (is_word(sql, words[i]))
			return true;
	return false;
}

/*
 * Outside a transaction of the caller's the calls get one of ours, with settings of our own: behind a pooler in transaction mode another
 * client's may have stayed on the server's connection, default_transaction_read_only or a search_path among them.
 */
#define OWN_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
#define OWN_SETTINGS                                                                                                                  \
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), pg_catalog.set_config('DateStyle', 'ISO', true), " \
	"pg_catalog.set_config('IntervalStyle', 'postgres', true), pg_catalog.set_config('extra_float_digits', '1', true), "          \
	"pg_catalog.set_config('lock_timeout', '0', true), pg_catalog.set_config('statement_timeout', $1, true), "                    \
	"pg_catalog.set_config('idle_in_transaction_session_timeout', '60s', true)"

static int own_transaction(struct pg_sync *c, const struct pg_call *calls, int n, PGresult **got, int *ret_failed, struct err *err)
{
	struct pg_call *all = calloc((size_t)n + 3, sizeof(*all));
	char timeout[24];
	const char *params[] = { timeout };
	int at = 0, rc;

	if (all == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	/* The deadline is kept here, and says what it is; the server's is for a client that is gone. */
	snprintf(timeout, sizeof(timeout), "%" PRIu64, c->deadline_ms + CANCEL_MS);
	all[0].sql = OWN_BEGIN;
	all[1] = (struct pg_call){ .sql = OWN_SETTINGS, .n = 1, .params = params };
	memcpy(all + 2, calls, (size_t)n * sizeof(*calls));
	all[n + 2].sql = "COMMIT";
	rc = pipeline(c, all, n + 3, got, &at, err);
	free(all);
	if (rc == ST_SQL)
		pg_rollback(c);
	at -= 2;
	*ret_failed = at < 0 ? 0 : at >= n ? n - 1 : at;
	PQclear(got[0]);
	PQclear(got[1]);
	memmove(got, got + 2, (size_t)n * sizeof(PGresult *));
	PQclear(got[n + 2]);
	got[n] = NULL;
	return rc;
}

int pg_exec_calls(struct pg_sync *c, const struct pg_call *calls, int n, PGresult **ret, int *ret_failed, struct err *err)
{
	PGresult **got = calloc((size_t)n + 4, sizeof(PGresult *));
	bool own = c->conn != NULL && PQtransactionStatus(c->conn) == PQTRANS_IDLE && !is_control(calls[0].sql);
	int at = 0, rc;

	if (got == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	rc = own ? own_transaction(c, calls, n, got, &at, err) : pipeline(c, calls, n, got, &at, err);
	if (rc == ST_SQL && ret_failed != NULL)
		*ret_failed = at;
	for (int i = 0; i < n; i++) {
		if (rc == 0 && ret != NULL)
			ret[i] = got[i];
		else
			PQclear(got[i]);
	}
	free(got);
	return rc;
}

int pg_exec(struct pg_sync *c, const char *sql, int n, const char *const *params, PGresult **ret, struct err *err)
{
	const struct pg_call call = { .sql = sql, .n = n, .params = params };

	return pg_exec_calls(c, &call, 1, ret, NULL, err);
}

void pg_rollback(struct pg_sync *c)
{
	PGresult *keep = c->failed; /* the caller may still want to look at why */
	int rc;

	if (c->conn == NULL || PQtransactionStatus(c->conn) == PQTRANS_IDLE)
		return;
	c->failed = NULL;
	rc = pg_exec(c, "ROLLBACK", 0, NULL, NULL, NULL);
	if (rc != 0 && c->conn != NULL)
		drop(c);
	PQclear(c->failed);
	c->failed = keep;
}

const PGresult *pg_sync_failed(const struct pg_sync *c)
{
	return c->failed;
}
