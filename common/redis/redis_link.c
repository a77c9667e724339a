#include "redis/redis_link.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/async.h>
#include <utlist.h>

#include "core/clock.h"
#include "core/outage.h"
#include "loop/loop.h"
#include "redis/redis_pool.h"
#include "redis/redis_sentinel.h"
#include "redis/redis_tls.h"
#include "redis/redis_url.h"

#define STEADY_MS 5000 /* a connection that lasted so long is made anew at once; others wait with back-off */

enum link_state { LINK_WAITING, LINK_LOOKING_UP, LINK_GREETING, LINK_UP };

struct command {
	struct redis_link *link;
	redis_reply_fn cb;
	void *arg;
	uint64_t due_ms;
	struct command *prev, *next;
};

struct redis_link {
	uv_loop_t *loop;
	struct redis_url url;
	redis_link_state_fn fn;
	void *arg;
	enum link_state state;
	struct redis_sentinel_ask *ask; /* LINK_LOOKING_UP: who the master is */
	unsigned sentinel;              /* which Sentinel is asked first */
	struct redis_master server_at;  /* where the server is to be found; not with a socket */
	struct loop_lookup *lookup;     /* LINK_LOOKING_UP: where its host is */
	struct redis_pool *pool;        /* of its answers */
	redisAsyncContext *ac;          /* from LINK_GREETING on; hiredis frees it after an error */
	struct loop_watch *watch;       /* of its socket */
	bool want_read, want_write;     /* what hiredis asked for */
	struct loop_timer *timer;       /* back-off, or the deadline of connecting */
	struct loop_timer *patience;    /* the earliest deadline of the commands */
	struct command *commands;       /* sent, in the order of their answers */
	int ending;                     /* what commands get whose answer will not come */
	struct outage outage;           /* counts the back-off; says nothing */
	unsigned attempts;              /* since the start: picks among several addresses */
	uint64_t up_since_ms;
	struct redis_server server;
	struct redis_tls_note tls;
};

static uint64_t now(void)
{
	return clock_now_ms(clock_system());
}

/* ------------------------------------------------------------ the adapter between hiredis and libuv */

static void on_socket(void *arg, bool readable, bool writable)
{
	struct redis_link *l = arg;
	redisAsyncContext *ac = l->ac;

	redis_tls_forget();
	if (readable)
		redisAsyncHandleRead(ac);
	if (writable && l->ac == ac) /* reading may have ended it */
		redisAsyncHandleWrite(ac);
}

static void watch_set(struct redis_link *l)
{
	/* A socket that cannot be watched stays silent: a deadline ends it. */
	if (l->watch != NULL && loop_watch_set(l->watch, l->want_read, l->want_write) != 0)
		loop_timer_start(l->patience, 0);
}

static void ev_add_read(void *arg)
{
	struct redis_link *l = arg;

	l->want_read = true;
	watch_set(l);
}

static void ev_del_read(void *arg)
{
	struct redis_link *l = arg;

	l->want_read = false;
	watch_set(l);
}

static void ev_add_write(void *arg)
{
	struct redis_link *l = arg;

	l->want_write = true;
	watch_set(l);
}

static void ev_del_write(void *arg)
{
	struct redis_link *l = arg;

	l->want_write = false;
	watch_set(l);
}

static void ev_cleanup(void *arg)
{
	struct redis_link *l = arg;

	l->want_read = l->want_write = false;
	loop_watch_free(l->watch);
	l->watch = NULL;
}

/* hiredis is told of us only when the socket is watched: it would call hooks on nothing otherwise. */
static bool attach(struct redis_link *l)
{
	l->watch = loop_watch_new(l->loop, l->ac->c.fd, on_socket, l);
	if (l->watch == NULL)
		return false;
	l->ac->ev.data = l;
	l->ac->ev.addRead = ev_add_read;
	l->ac->ev.delRead = ev_del_read;
	l->ac->ev.addWrite = ev_add_write;
	l->ac->ev.delWrite = ev_del_write;
	l->ac->ev.cleanup = ev_cleanup;
	return true;
}

/* ------------------------------------------------------------ losing it */

/* The context is gone or going: never touched again from here. Reports, then tries again later. */
static void went_down(struct redis_link *l, const struct err *why)
{
	bool was_up = l->state == LINK_UP;

	l->ac = NULL;
	l->state = LINK_WAITING;
	redis_sentinel_ask_free(l->ask);
	l->ask = NULL;
	loop_lookup_free(l->lookup);
	l->lookup = NULL;
	if (!was_up)
		l->sentinel++; /* the one that was asked may be behind the times */
	if (was_up && now() - l->up_since_ms >= STEADY_MS)
		outage_over(&l->outage, now());
	loop_timer_start(l->timer, was_up && !l->outage.away ? 0 : outage_failed(&l->outage, now(), ""));
	l->outage.away = true;
	l->fn(l->arg, l, false, why);
}

/* End the connection from our side: all commands are answered before this returns, or when the callback that we are in has returned. */
static void give_up(struct redis_link *l, int ending, const struct err *why)
{
	redisAsyncContext *ac = l->ac;

	l->ending = ending;
	went_down(l, why);
	if (ac != NULL)
		redisAsyncFree(ac);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = ac->data;
	struct err why = ERR_INIT;

	(void)status;
	if (l == NULL || l->ac != ac)
		return;
	err_set(&why, ST_DISCONNECTED, "%s", redis_tls_reason(&l->tls, ac->errstr));
	went_down(l, &why);
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	if (status != REDIS_OK)
		on_disconnect(ac, status);
}

/* ------------------------------------------------------------ commands */

static void arm(struct redis_link *l)
{
	const struct command *c, *first = NULL;
	uint64_t now_ms = now();

	DL_FOREACH(l->commands, c)
		if (first == NULL || c->due_ms < first->due_ms)
			first = c;
	if (first == NULL)
		loop_timer_stop(l->patience);
	else
		loop_timer_start(l->patience, first->due_ms > now_ms ? first->due_ms - now_ms : 0);
}

static bool means_elsewhere(const redisReply *r)
{
	static const char *const signs[] = { "READONLY ", "LOADING ", "MASTERDOWN ", "BUSY " };

	for (size_t i = 0; r->type == REDIS_REPLY_ERROR && i < ARRAY_SIZE(signs); i++)
		if (strncmp(r->str, signs[i], strlen(signs[i])) == 0)
			return true;
	return false;
}

void redis_reply_ignore(void *arg, int status, const redisReply *reply)
{
	(void)arg;
	(void)status;
	(void)reply;
}

static void on_reply(redisAsyncContext *ac, void *r, void *privdata)
{
	struct command *c = privdata;
	struct redis_link *l = c->link;
	const redisReply *reply = r;
	struct err why = ERR_INIT;

	DL_DELETE(l->commands, c);
	if (reply == NULL) {
		/* hiredis answers everything before it says that the link is down: we say it first. */
		if (l->ac == ac && l->state == LINK_UP)
			on_disconnect(ac, REDIS_ERR);
		c->cb(c->arg, l->ending, NULL);
	} else if (l->ac == ac && means_elsewhere(reply)) {
		err_set(&why, ST_DISCONNECTED, "%s", reply->str);
		give_up(l, ST_DISCONNECTED, &why);
		c->cb(c->arg, ST_DISCONNECTED, NULL);
	} else {
		c->cb(c->arg, reply->type == REDIS_REPLY_ERROR ? ST_REDIS : 0, reply);
	}
	free(c);
}

static int send_command(struct redis_link *l, size_t argc, const char *const *argv, const size_t *lens, uint64_t deadline_ms,
			redis_reply_fn cb, void *arg)
{
	struct command *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return ST_NOMEM;
	*c = (struct command){ .link = l, .cb = cb, .arg = arg, .due_ms = now() + deadline_ms };
	/* hiredis' prototype forgets a const: it copies the arguments. */
	if (redisAsyncCommandArgv(l->ac, on_reply, c, (int)argc, (const char **)(uintptr_t)argv, lens) != REDIS_OK) {
		free(c);
		return ST_DISCONNECTED;
	}
	DL_APPEND(l->commands, c);
	if (c == l->commands || c->due_ms < l->commands->due_ms)
		arm(l);
	return 0;
}

int redis_link_send(struct redis_link *l, size_t argc, const char *const *argv, const size_t *lens, uint64_t deadline_ms, redis_reply_fn cb,
		    void *arg)
{
	if (l->state != LINK_UP)
		return ST_DISCONNECTED;
	return send_command(l, argc, argv, lens, deadline_ms, cb, arg);
}

static void on_patience(void *arg)
{
	struct redis_link *l = arg;
	struct err why = ERR_INIT;
	const struct command *c;

	DL_FOREACH(l->commands, c) {
		if (c->due_ms <= now()) {
			err_set(&why, ST_DISCONNECTED, "no answer in time");
			give_up(l, ST_TIMEOUT, &why);
			return;
		}
	}
	arm(l);
}

/* ------------------------------------------------------------ greeting: AUTH, SELECT, INFO */

static void refused(struct redis_link *l, int status, const redisReply *reply, const char *what)
{
	struct err why = ERR_INIT;

	if (l->state != LINK_GREETING)
		return;
	if (status == ST_REDIS)
		err_set(&why, ST_REDIS, "%s: %s", what, reply->str);
	else
		err_set(&why, ST_DISCONNECTED, "%s", redis_tls_reason(&l->tls, l->ac != NULL ? l->ac->errstr : NULL));
	give_up(l, ST_DISCONNECTED, &why);
}

static void on_auth(void *arg, int status, const redisReply *reply)
{
	if (status != 0)
		refused(arg, status, reply, "cannot log in");
}

static void on_select(void *arg, int status, const redisReply *reply)
{
	if (status != 0)
		refused(arg, status, reply, "cannot select the database");
}

static void on_info(void *arg, int status, const redisReply *reply)
{
	struct redis_link *l = arg;
	struct err why = ERR_INIT;

	if (l->state != LINK_GREETING)
		return;
	if (status != 0) {
		refused(l, status, reply, "cannot ask the server for INFO");
		return;
	}
	redis_server_parse(&l->server, reply->str != NULL ? reply->str : "");
	if (redis_server_check(&l->server, &why) != 0) {
		give_up(l, ST_DISCONNECTED, &why);
		return;
	}
	/* It would be up and down with every command. */
	if (l->server.loading || l->server.replica) {
		err_set(&why, ST_DISCONNECTED, "%s",
			l->server.loading ? "Redis is loading its data set" : "this Redis is a replica and takes no writes");
		give_up(l, ST_DISCONNECTED, &why);
		return;
	}
	loop_timer_stop(l->timer);
	l->state = LINK_UP;
	l->up_since_ms = now();
	l->fn(l->arg, l, true, NULL);
}

static bool greet(struct redis_link *l)
{
	const char *user = l->url.user, *password = l->url.password;
	const char *const auth[] = { "AUTH", user != NULL ? user : password, password };
	const char *const info[] = { "INFO" };
	char db[16];
	const char *const select[] = { "SELECT", db };

	snprintf(db, sizeof(db), "%d", l->url.db);
	return (password == NULL || send_command(l, user != NULL ? 3 : 2, auth, NULL, REDIS_LINK_CONNECT_MS, on_auth, l) == 0) &&
	       (l->url.db == 0 || send_command(l, 2, select, NULL, REDIS_LINK_CONNECT_MS, on_select, l) == 0) &&
	       send_command(l, 1, info, NULL, REDIS_LINK_CONNECT_MS, on_info, l) == 0;
}

/* ------------------------------------------------------------ connecting */

static void connect_to(struct redis_link *l, const char *address)
{
	struct err why = ERR_INIT;
	int rc = 0;

	l->state = LINK_GREETING;
	l->ending = ST_DISCONNECTED;
	l->ac = l->url.path != NULL ? redisAsyncConnectUnix(l->url.path) : redisAsyncConnect(address, l->server_at.port);
	if (l->ac == NULL || l->ac->err != 0) {
		err_set(&why, ST_DISCONNECTED, "%s", l->ac != NULL ? l->ac->errstr : "out of memory");
		give_up(l, ST_DISCONNECTED, &why);
		return;
	}
	l->ac->data = l;
	redis_pool_use(l->pool, l->ac->c.reader);
	if (!attach(l))
		rc = err_set(&why, ST_DISCONNECTED, "cannot watch the connection");
	else if (l->url.tls)
		rc = redis_tls_start(&l->ac->c, &l->url, l->server_at.host, &l->tls, &why);
	if (rc != 0) {
		give_up(l, ST_DISCONNECTED, &why);
		return;
	}
	redisAsyncSetConnectCallback(l->ac, on_connect);
	redisAsyncSetDisconnectCallback(l->ac, on_disconnect);
	if (!greet(l)) {
		err_set(&why, ST_DISCONNECTED, "cannot send");
		give_up(l, ST_DISCONNECTED, &why);
	}
}

static void on_found(void *arg, const char (*addresses)[LOOP_ADDRESS_MAX], unsigned n, const char *why)
{
	struct redis_link *l = arg;
	struct err err = ERR_INIT;

	l->lookup = NULL;
	if (n > 0) {
		connect_to(l, addresses[l->attempts % n]);
		return;
	}
	err_set(&err, ST_DISCONNECTED, "cannot find the host '%s': %s", l->server_at.host, why);
	went_down(l, &err);
}

static void cannot_begin(struct redis_link *l)
{
	struct err why = ERR_INIT;

	err_set(&why, ST_DISCONNECTED, "out of memory");
	went_down(l, &why);
}

/* It is known which host it is: find its address, if it is none itself. */
static void approach(struct redis_link *l)
{
	if (loop_is_address(l->server_at.host)) {
		connect_to(l, l->server_at.host);
		return;
	}
	l->lookup = loop_lookup_new(l->loop, l->server_at.host, on_found, l);
	if (l->lookup == NULL)
		cannot_begin(l);
}

static void on_master(void *arg, const struct redis_master *master, unsigned at, const struct err *why)
{
	struct redis_link *l = arg;

	l->ask = NULL;
	if (master == NULL) {
		went_down(l, why);
		return;
	}
	l->sentinel = at;
	l->server_at = *master;
	approach(l);
}

static void on_timer(void *arg)
{
	struct redis_link *l = arg;
	struct err why = ERR_INIT;

	if (l->state != LINK_WAITING) {
		err_set(&why, ST_DISCONNECTED, "no answer while connecting");
		give_up(l, ST_DISCONNECTED, &why);
		return;
	}
	l->attempts++;
	loop_timer_start(l->timer, REDIS_LINK_CONNECT_MS);
	if (l->url.path != NULL) {
		connect_to(l, NULL);
		return;
	}
	l->state = LINK_LOOKING_UP;
	if (l->url.master == NULL) {
		approach(l);
		return;
	}
	l->ask = redis_sentinel_ask_new(l->loop, &l->url, l->sentinel, on_master, l);
	if (l->ask == NULL)
		cannot_begin(l);
}

/* ------------------------------------------------------------ life */

static void say_nothing(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

int redis_link_new(struct redis_link **ret, uv_loop_t *loop, const char *url, redis_link_state_fn fn, void *arg, struct err *err)
{
	struct redis_link *l = calloc(1, sizeof(*l));
	int rc;

	if (l == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	rc = redis_url_parse(&l->url, url, err);
	if (rc == 0 && l->url.tls)
		rc = redis_tls_check(&l->url, err);
	if (rc != 0) {
		redis_url_free(&l->url);
		free(l);
		return rc;
	}
	l->loop = loop;
	l->fn = fn;
	l->arg = arg;
	if (l->url.host != NULL)
		snprintf(l->server_at.host, sizeof(l->server_at.host), "%s", l->url.host);
	l->server_at.port = l->url.port;
	outage_init(&l->outage, "Redis", say_nothing, NULL);
	l->pool = redis_pool_new();
	l->timer = loop_timer_new(loop, on_timer, l);
	l->patience = loop_timer_new(loop, on_patience, l);
	if (l->pool == NULL || l->timer == NULL || l->patience == NULL) {
		redis_link_free(l);
		return err_set(err, ST_NOMEM, "out of memory");
	}
	loop_timer_start(l->timer, 0);
	*ret = l;
	return 0;
}

void redis_link_free(struct redis_link *l)
{
	redisAsyncContext *ac;

	if (l == NULL)
		return;
	ac = l->ac;
	l->ac = NULL;
	l->state = LINK_WAITING;
	l->ending = ST_CLOSING;
	if (ac != NULL)
		redisAsyncFree(ac);
	redis_sentinel_ask_free(l->ask);
	loop_lookup_free(l->lookup);
	loop_timer_free(l->timer);
	loop_timer_free(l->patience);
	redis_pool_free(l->pool);
	redis_url_free(&l->url);
	free(l);
}

bool redis_link_up(const struct redis_link *l)
{
	return l->state == LINK_UP;
}

const char *redis_link_masked_url(const struct redis_link *l)
{
	return l->url.masked;
}

const struct redis_server *redis_link_server(const struct redis_link *l)
{
	return &l->server;
}

#ifdef DROVER_FAILPOINTS
void redis_link_pass(struct redis_link *l, enum failpoint p)
{
	struct pollfd fd = { .events = POLLOUT };

	while (FAILPOINT_SET_AT(p) && l->want_write && l->ac != NULL) {
		fd.fd = l->ac->c.fd;
		poll(&fd, 1, -1);
		redisAsyncHandleWrite(l->ac);
	}
	FAILPOINT_AT(p);
}
#endif
