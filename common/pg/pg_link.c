#include "pg/pg_link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/outage.h"
#include "loop/loop.h"
#include "pg/pg_dial.h"
#include "pg/pg_error.h"
#include "pg/pg_prepared.h"

#define ROLLBACK_MS 5000
#define FIELD_MAX 8192 /* bytes of each part of an error that are kept */
#define STEADY_MS 5000 /* a connection that lasted so long is made anew at once; others wait with back-off */

enum link_state { LINK_WAITING, LINK_DIALING, LINK_CONNECTING, LINK_UP };

/* What comes next from the server, statement by statement. */
struct answer {
	enum { ANSWER_STEP, ANSWER_PREPARED, ANSWER_PROCESS, ANSWER_DROPPED, ANSWER_END } to;
	unsigned step;                  /* of the operation; their number for what is ours, behind them */
	unsigned keep;                  /* where its result is kept; 0: nowhere */
	struct pg_statement *statement; /* NULL: unnamed */
};

struct pg_link {
	uv_loop_t *loop;
	struct pg_url url;
	pg_link_state_fn fn;
	void *arg;
	enum link_state state;
	struct pg_dial *dial;        /* LINK_DIALING */
	PGconn *conn;                /* from LINK_CONNECTING on */
	struct loop_watch *watch;    /* of the socket, while it is the one we last asked for */
	int fd;                      /* that socket */
	struct loop_timer *timer;    /* back-off, or the deadline of connecting */
	struct loop_timer *patience; /* the operation's deadline */
	struct outage outage;        /* counts the back-off; says nothing */
	uint64_t up_since_ms;
	char parting[6]; /* sqlstate of the notice with which the server says good-bye */
	struct pg_prepared prepared;
	/* the operation under way */
	struct pg_op *op;
	const struct pg_step *steps; /* borrowed while some of them are not sent yet */
	unsigned nsteps, nsent;
	struct answer answers[2 * PG_STEPS_MAX + PG_PREPARED_MAX + 1]; /* of the steps, of ours, ANSWER_END */
	unsigned expected, at;                                         /* answers to what was sent last, and the one that comes now */
	uint64_t deadline_ms, started_ms;
	bool rolling_back;
};

static void connect_now(void *arg);

/* ------------------------------------------------------------ outcomes */

/* User code may raise a message of any size. Cut between characters. */
static char *copy(const char *s)
{
	size_t n = s != NULL ? strlen(s) : 0;

	if (n > FIELD_MAX)
		for (n = FIELD_MAX; n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80;)
			n--;
	return s != NULL ? strndup(s, n) : NULL;
}

static const struct answer *answer_now(const struct pg_link *l)
{
	return &l->answers[l->at < l->expected ? l->at : l->expected];
}

static void failure_clear(struct pg_failure *f)
{
	free(f->message);
	free(f->detail);
	free(f->hint);
	free(f->context);
	free(f->constraint);
	memset(f, 0, sizeof(*f));
}

static void note_failure(struct pg_link *l, const PGresult *res)
{
	struct pg_failure *f = &l->op->failure;
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	CLEANUP(buf_free) struct buf remedy = BUF_INIT(FIELD_MAX);

	if (l->op->status != 0)
		return;
	l->op->status = ST_SQL;
	snprintf(f->sqlstate, sizeof(f->sqlstate), "%.5s", sqlstate != NULL ? sqlstate : "");
	f->step = answer_now(l)->step;
	f->message = copy(primary != NULL ? primary : PQresultErrorMessage(res));
	f->detail = copy(PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL));
	pg_error_add_remedy(&remedy, res, l->conn);
	f->hint = copy(hint == NULL && remedy.len > 0 ? remedy.data : hint);
	f->context = copy(PQresultErrorField(res, PG_DIAG_CONTEXT));
	f->constraint = copy(PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME));
}

static void op_finish(struct pg_link *l)
{
	struct pg_op *op = l->op;
	struct pg_failure failure = op->failure;
	PGresult *kept[PG_KEPT_MAX];

	memcpy(kept, op->kept, sizeof(kept));
	loop_timer_stop(l->patience);
	l->op = NULL;
	op->elapsed_ms = clock_now_ms(clock_system()) - l->started_ms;
	if (op->status != 0 && op->failure.message == NULL)
		op->failure.message = failure.message = copy(status_text(op->status));
	op->cb(op); /* may start the next one, with the same struct */
	for (unsigned i = 0; i < PG_KEPT_MAX; i++)
		PQclear(kept[i]);
	failure_clear(&failure);
}

/* ------------------------------------------------------------ losing and making the connection */

static void hang_up(struct pg_link *l)
{
	loop_watch_free(l->watch);
	l->watch = NULL;
	PQfinish(l->conn);
	l->conn = NULL;
	pg_prepared_forget(&l->prepared);
	pg_dial_free(l->dial);
	l->dial = NULL;
	l->state = LINK_WAITING;
}

/* The connection is gone, or could not be made. Reports, then tries again later. */
static void lost(struct pg_link *l, const struct err *why)
{
	struct pg_op *op = l->op;
	bool was_up = l->state == LINK_UP;
	uint64_t now_ms = clock_now_ms(clock_system());

	hang_up(l);
	if (op != NULL) {
		/* An error that was reported before the link broke is still what happened; its transaction is gone either way. */
		if (op->status == 0 || op->failure.message == NULL) {
			op->status = ST_DISCONNECTED;
			snprintf(op->failure.sqlstate, sizeof(op->failure.sqlstate), "%s", l->parting);
			op->failure.step = answer_now(l)->step;
			op->failure.message = copy(why->msg);
		}
	}
	if (was_up && now_ms - l->up_since_ms >= STEADY_MS)
		outage_over(&l->outage, now_ms);
	loop_timer_start(l->timer, was_up && !l->outage.away ? 0 : outage_failed(&l->outage, now_ms, ""));
	l->outage.away = true;
	l->fn(l->arg, l, false, why);
	if (op != NULL)
		op_finish(l);
}

static void lost_conn(struct pg_link *l)
{
	struct err why = ERR_INIT;

	pg_error_of_connection(l->conn, &why);
	lost(l, &why);
}

static void lost_because(struct pg_link *l, const char *text)
{
	struct err why = ERR_INIT;

	err_set(&why, ST_DISCONNECTED, "%s", text);
	lost(l, &why);
}

/* User code may raise thousands of notices: none is kept. The server's good-bye is one too. */
static void on_notice(void *arg, const PGresult *res)
{
	struct pg_link *l = arg;
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (sqlstate != NULL && strncmp(sqlstate, "57P0", 4) == 0)
		snprintf(l->parting, sizeof(l->parting), "%.5s", sqlstate);
}

static void on_socket(void *arg, bool readable, bool writable);

/* The socket may be another one after each call of PQconnectPoll(). Returns false if it cannot be watched. */
static bool watch_socket(struct pg_link *l, bool readable, bool writable)
{
	int fd = PQsocket(l->conn);

	if (l->watch == NULL || l->fd != fd) {
		loop_watch_free(l->watch);
		l->fd = fd;
		l->watch = fd >= 0 ? loop_watch_new(l->loop, fd, on_socket, l) : NULL;
	}
	return l->watch != NULL && loop_watch_set(l->watch, readable, writable) == 0;
}

static void connected(struct pg_link *l)
{
	loop_timer_stop(l->timer);
	if (PQsetnonblocking(l->conn, 1) != 0 || PQenterPipelineMode(l->conn) != 1 || !watch_socket(l, true, false)) {
		lost_because(l, "cannot use the connection");
		return;
	}
	l->state = LINK_UP;
	l->up_since_ms = clock_now_ms(clock_system());
	l->fn(l->arg, l, true, NULL);
}

static void poll_connect(struct pg_link *l)
{
	bool fine = true;

	/* libpq closes the socket of a host that failed before it opens the next one's: stop watching while it decides. */
	PostgresPollingStatusType s;

	loop_watch_free(l->watch);
	l->watch = NULL;
	s = PQconnectPoll(l->conn);
	if (s == PGRES_POLLING_OK)
		connected(l);
	else if (s == PGRES_POLLING_FAILED)
		lost_conn(l);
	else
		fine = watch_socket(l, s == PGRES_POLLING_READING, s == PGRES_POLLING_WRITING);
	if (!fine)
		lost_because(l, "cannot watch the socket");
}

static void on_dialed(void *arg, PGconn *conn, const char *why)
{
	struct pg_link *l = arg;

	l->dial = NULL;
	if (conn == NULL) {
		lost_because(l, why);
		return;
	}
	l->conn = conn;
	l->state = LINK_CONNECTING;
	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(conn, on_notice, l);
	if (PQstatus(conn) == CONNECTION_BAD)
		lost_conn(l);
	else if (!watch_socket(l, false, true)) /* as if PQconnectPoll() had said: writing */
		lost_because(l, "cannot watch the socket");
}

static void connect_now(void *arg)
{
	struct pg_link *l = arg;

	if (l->state != LINK_WAITING) {
		lost_because(l, "no answer while connecting");
		return;
	}
	l->parting[0] = '\0';
	l->dial = pg_dial_new(l->loop, &l->url, on_dialed, l);
	l->state = LINK_DIALING;
	if (l->dial == NULL)
		lost_because(l, "out of memory");
	else
		loop_timer_start(l->timer, PG_CONNECT_MS);
}

/* ------------------------------------------------------------ running */

/* Send what libpq holds back. While it cannot, answers must be read too, or both sides wait for each other. */
static bool flush(struct pg_link *l)
{
	int rc = PQflush(l->conn);

	return rc >= 0 && watch_socket(l, true, rc == 1);
}

/* Rows that nobody wants are not piled up either: one at a time. To be said before a statement's first result is read. */
static void begin_answer(struct pg_link *l)
{
	const struct answer *a = answer_now(l);

	if (!l->rolling_back && a->to == ANSWER_STEP && a->keep == 0)
		PQsetSingleRowMode(l->conn);
}

static bool send_rollback(struct pg_link *l)
{
	l->rolling_back = true;
	loop_timer_start(l->patience, ROLLBACK_MS);
	return PQsendQueryParams(l->conn, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 0) == 1 && PQpipelineSync(l->conn) == 1 && flush(l);
}

static bool is_fatal(const PGresult *res)
{
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

static void failed(struct pg_link *l, const PGresult *res)
{
	const struct answer *a = answer_now(l);

	pg_prepared_failed(&l->prepared, a->statement, res);
	/* What comes behind the steps is ours: the operation is over by then. */
	if (!l->rolling_back && a->to < ANSWER_PROCESS)
		note_failure(l, res);
}

/* Takes one result. Returns false if the connection is of no use any more. */
static bool take(struct pg_link *l, PGresult *res)
{
	ExecStatusType s = PQresultStatus(res);
	const struct answer *a = answer_now(l);
	bool good = true;

	if (s == PGRES_FATAL_ERROR) {
		if (PQresultErrorField(res, PG_DIAG_SQLSTATE) == NULL)
			good = false; /* libpq's own error: the link is broken */
		else if (is_fatal(res))
			snprintf(l->parting, sizeof(l->parting), "%.5s", PQresultErrorField(res, PG_DIAG_SQLSTATE)), good = false;
		else
			failed(l, res);
	} else if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH) {
		note_failure(l, res);
		snprintf(l->op->failure.sqlstate, sizeof(l->op->failure.sqlstate), "25001");
		free(l->op->failure.message);
		l->op->failure.message = copy("COPY cannot be used in a migration");
		good = false;
	} else if (l->rolling_back) {
		/* nothing of it is wanted */
	} else if (s == PGRES_COMMAND_OK && a->to == ANSWER_PREPARED) {
		a->statement->known = true;
	} else if (s == PGRES_TUPLES_OK && a->to == ANSWER_PROCESS) {
		pg_prepared_answer(&l->prepared, l->conn, res);
	} else if (s == PGRES_COMMAND_OK && a->to == ANSWER_DROPPED) {
		pg_prepared_dropped(&l->prepared, a->statement);
	} else if (s == PGRES_TUPLES_OK && a->keep > 0) {
		PQclear(l->op->kept[a->keep - 1]);
		l->op->kept[a->keep - 1] = res;
		return true;
	}
	PQclear(res);
	return good;
}

static bool send_part(struct pg_link *l);

/* All answers to what was sent are there. */
static void synced(struct pg_link *l)
{
	PGTransactionStatusType t = PQtransactionStatus(l->conn);

	if (l->op->status == 0 && !l->rolling_back && l->nsent < l->nsteps) {
		if (!l->op->cancelled && !l->op->timed_out) {
			if (!send_part(l))
				lost_conn(l);
			return;
		}
		/* The server takes no notice of a request that comes while it waits for us. */
		l->op->status = ST_SQL;
		l->op->failure.step = l->nsent;
		snprintf(l->op->failure.sqlstate, sizeof(l->op->failure.sqlstate), "57014");
		l->op->failure.message = copy("canceling statement due to user request");
	}
	if (t == PQTRANS_IDLE)
		op_finish(l);
	else if (l->rolling_back || !send_rollback(l))
		lost_because(l, "cannot roll back");
}

static void read_results(struct pg_link *l)
{
	while (l->op != NULL && PQisBusy(l->conn) == 0) {
		PGresult *res = PQgetResult(l->conn);

		if (res == NULL) {
			if (++l->at > l->expected + 1) {
				lost_because(l, "more answers than questions");
				return;
			}
			begin_answer(l);
		} else if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
			PQclear(res);
			synced(l);
			return; /* what comes now belongs to another operation */
		} else if (!take(l, res)) {
			lost_conn(l);
			return;
		}
	}
}

static void on_socket(void *arg, bool readable, bool writable)
{
	struct pg_link *l = arg;

	if (l->state == LINK_CONNECTING) {
		poll_connect(l);
		return;
	}
	if ((writable && !flush(l)) || (readable && PQconsumeInput(l->conn) != 1)) {
		/* What the server said last may still lie in libpq's buffer: it tells a shutdown from a crash. */
		read_results(l);
		if (l->state == LINK_UP && PQstatus(l->conn) == CONNECTION_BAD)
			lost_conn(l);
		return;
	}
	if (l->op != NULL)
		read_results(l);
	else if (PQstatus(l->conn) == CONNECTION_BAD)
		lost_conn(l);
}

/* All that was sent so far is on the wire when @p is passed. */
static bool pass_sent(struct pg_link *l, enum failpoint p)
{
	struct pollfd fd = { .fd = PQsocket(l->conn), .events = POLLOUT };

	while (FAILPOINT_SET_AT(p) && PQflush(l->conn) == 1)
		if (poll(&fd, 1, -1) < 0 && errno != EINTR)
			return false;
	FAILPOINT_AT(p);
	return true;
}

static void expect(struct pg_link *l, struct answer a)
{
	l->answers[l->expected++] = a;
}

static bool send_step(struct pg_link *l, unsigned number, const struct pg_step *s)
{
	bool unknown;
	struct pg_statement *known = pg_prepared_get(&l->prepared, s->sql, l->op->scope, &unknown);

	if (unknown) {
		expect(l, (struct answer){ .to = ANSWER_PREPARED, .step = number, .statement = known });
		if (PQsendPrepare(l->conn, known->name, s->sql, 0, NULL) != 1)
			return false;
	}
	expect(l, (struct answer){ .to = ANSWER_STEP, .step = number, .keep = s->keep, .statement = known });
	if (known != NULL)
		return PQsendQueryPrepared(l->conn, known->name, s->n, s->params, NULL, NULL, 0) == 1;
	return PQsendQueryParams(l->conn, s->sql, s->n, NULL, s->params, NULL, NULL, 0) == 1;
}

static bool send_ours(struct pg_link *l, struct answer a, const char *sql)
{
	expect(l, a);
	return PQsendQueryParams(l->conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

/* The last things of an operation: nothing of it depends on the answers. */
static bool send_upkeep(struct pg_link *l, unsigned n)
{
	bool sent = true;
	char sql[100];

	if (!l->prepared.asked)
		return send_ours(l, (struct answer){ .to = ANSWER_PROCESS, .step = n }, PG_PREPARED_ASK);
	if (!pg_prepared_due(&l->prepared))
		return true;
	for (struct pg_statement *s = NULL; sent && (s = pg_prepared_drop(&l->prepared, s, sql, sizeof(sql))) != NULL;)
		sent = send_ours(l, (struct answer){ .to = ANSWER_DROPPED, .step = n, .statement = s }, sql);
	return sent;
}

/* All steps up to the next one that is to be sent apart, and behind the last one what is ours. */
static bool send_part(struct pg_link *l)
{
	bool sent = true, late = clock_now_ms(clock_system()) - l->started_ms >= l->op->apart_ms;

	l->expected = l->at = 0;
	do {
		unsigned i = l->nsent++;

		sent = (l->nsent < l->nsteps || pass_sent(l, l->op->before_last)) && send_step(l, i, &l->steps[i]);
	} while (sent && l->nsent < l->nsteps && (late || !l->steps[l->nsent].apart));
	if (l->nsent == l->nsteps)
		sent = sent && send_upkeep(l, l->nsteps);
	l->answers[l->expected] = (struct answer){ .to = ANSWER_END, .step = l->nsent };
	sent = sent && PQpipelineSync(l->conn) == 1 && (l->nsent < l->nsteps || pass_sent(l, l->op->sent)) && flush(l);
	l->op->sent_ms = clock_now_ms(clock_system());
	begin_answer(l);
	return sent;
}

int pg_link_run(struct pg_link *l, struct pg_op *op, const struct pg_step *steps, unsigned n, uint64_t deadline_ms)
{
	bool sent;

	assert(n >= 1 && n <= PG_STEPS_MAX);
	if (l->state != LINK_UP)
		return ST_DISCONNECTED;
	if (l->op != NULL)
		return ST_BUSY;
	op->status = 0;
	memset(&op->failure, 0, sizeof(op->failure));
	memset(op->kept, 0, sizeof(op->kept));
	op->timed_out = op->cancelled = false;
	l->op = op;
	l->steps = steps;
	l->nsteps = n;
	l->nsent = 0;
	l->rolling_back = false;
	l->started_ms = clock_now_ms(clock_system());
	pg_prepared_begin(&l->prepared, l->started_ms);
	sent = send_part(l);
	/* A link that breaks here is noticed as any other: by its socket, or by the deadline, which comes at once then. */
	loop_timer_start(l->patience, sent ? deadline_ms : 0);
	l->deadline_ms = sent ? deadline_ms : 0;
	return 0;
}

/* ------------------------------------------------------------ cancelling */

struct cancel {
	uv_work_t uv;
	PGcancel *handle;
};

static void cancel_work(uv_work_t *uv)
{
	struct cancel *c = container_of(uv, struct cancel, uv);
	char why[256];

	PQcancel(c->handle, why, sizeof(why));
}

static void cancel_done(uv_work_t *uv, int status)
{
	struct cancel *c = container_of(uv, struct cancel, uv);

	(void)status;
	PQfreeCancel(c->handle);
	free(c);
}

static void send_cancel(struct pg_link *l)
{
	struct cancel *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return;
	c->handle = PQgetCancel(l->conn);
	if (c->handle == NULL || uv_queue_work(l->loop, &c->uv, cancel_work, cancel_done) != 0) {
		PQfreeCancel(c->handle);
		free(c);
	}
}

void pg_link_cancel(struct pg_link *l)
{
	if (l->op == NULL || l->op->cancelled || l->op->timed_out || l->rolling_back)
		return;
	l->op->cancelled = true;
	send_cancel(l);
	loop_timer_start(l->patience, PG_CANCEL_GRACE_MS);
}

static void on_patience(void *arg)
{
	struct pg_link *l = arg;

	if (l->op == NULL)
		return;
	if (l->deadline_ms == 0 || l->rolling_back || l->op->timed_out || l->op->cancelled) {
		lost_because(l, "no answer in time");
		return;
	}
	l->op->timed_out = true;
	send_cancel(l);
	loop_timer_start(l->patience, PG_CANCEL_GRACE_MS);
}

/* ------------------------------------------------------------ life */

static void say_nothing(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

int pg_link_new(struct pg_link **ret, uv_loop_t *loop, const char *url, const char *name, pg_link_state_fn fn, void *arg, struct err *err)
{
	struct pg_link *l = calloc(1, sizeof(*l));
	int rc;

	if (l == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	rc = pg_url_parse(&l->url, url, name, err);
	if (rc != 0) {
		free(l);
		return rc;
	}
	l->loop = loop;
	l->fn = fn;
	l->arg = arg;
	pg_prepared_init(&l->prepared);
	outage_init(&l->outage, "PostgreSQL", say_nothing, NULL);
	l->timer = loop_timer_new(loop, connect_now, l);
	l->patience = loop_timer_new(loop, on_patience, l);
	if (l->timer == NULL || l->patience == NULL) {
		pg_link_free(l);
		return err_set(err, ST_NOMEM, "out of memory");
	}
	loop_timer_start(l->timer, 0);
	*ret = l;
	return 0;
}

void pg_link_free(struct pg_link *l)
{
	if (l == NULL)
		return;
	hang_up(l);
	if (l->op != NULL) {
		failure_clear(&l->op->failure);
		l->op->status = ST_CLOSING;
		op_finish(l);
	}
	loop_timer_free(l->timer);
	loop_timer_free(l->patience);
	pg_url_free(&l->url);
	free(l);
}

bool pg_link_up(const struct pg_link *l)
{
	return l->state == LINK_UP;
}

uint64_t pg_link_up_since(const struct pg_link *l)
{
	return l->up_since_ms;
}

bool pg_link_busy(const struct pg_link *l)
{
	return l->op != NULL;
}

const char *pg_link_masked_url(const struct pg_link *l)
{
	return l->url.masked;
}

void pg_link_give_up(struct pg_link *l)
{
	if (l->op != NULL && l->state == LINK_UP)
		lost_because(l, "the answer was lost");
}

void pg_link_renew(struct pg_link *l, const char *why)
{
	assert(l->op == NULL);
	if (l->state == LINK_UP)
		lost_because(l, why);
}
