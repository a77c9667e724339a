#include "redis/redis_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "redis/redis_sentinel.h"
#include "redis/redis_tls.h"
#include "redis/redis_url.h"

#define SLICE_MS 100 /* longest sleep between two looks at the stop flag */

struct redis_sync {
	redisContext *ctx; /* NULL: lost */
	struct redis_url url;
	struct redis_server server;
	const volatile sig_atomic_t *stop;
	unsigned waiting;  /* replies appended for and not taken */
	unsigned sentinel; /* which Sentinel is asked first */
	uint64_t connect_ms, deadline_ms;
	struct redis_tls_note tls;
};

static uint64_t now_ms(void)
{
	return clock_now_ms(clock_system());
}

static void drop(struct redis_sync *r)
{
	if (r->ctx != NULL)
		redisFree(r->ctx);
	r->ctx = NULL;
	r->waiting = 0;
}

static int lost(struct redis_sync *r, struct err *err)
{
	char why[160];

	snprintf(why, sizeof(why), "%s", redis_tls_reason(&r->tls, r->ctx->errstr));
	drop(r);
	return err_set(err, ST_DISCONNECTED, "Redis: %s", why);
}

/* ------------------------------------------------------------ replies */

static int wait_socket(const struct redis_sync *r, short events, uint64_t until_ms, struct err *err)
{
	for (;;) {
		struct pollfd p = { .fd = r->ctx->fd, .events = events };
		uint64_t now = now_ms();
		int n;

		if (r->stop != NULL && *r->stop)
			return err_set(err, ST_INTERRUPTED, "interrupted");
		if (now >= until_ms)
			return err_set(err, ST_TIMEOUT, "Redis did not answer in time");
		n = poll(&p, 1, (int)(until_ms - now < SLICE_MS ? until_ms - now : SLICE_MS));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_set(err, ST_IO, "cannot wait for Redis: %s", strerror(errno));
	}
}

/*
 * hiredis's own blocking calls know no stop flag, and a time-out of theirs leaves the context unusable without saying why. So the socket does
 * not block, and this is the loop around it: write, read while something comes (TLS may hold bytes that poll() cannot see), wait.
 */
static int next_reply(struct redis_sync *r, redisReply **ret, struct err *err)
{
	uint64_t until = 0;

	for (;;) {
		void *reply = NULL;
		int written = 0, rc;
		size_t before;

		redis_tls_forget();
		if (redisGetReplyFromReader(r->ctx, &reply) != REDIS_OK)
			return lost(r, err);
		if (reply != NULL) {
			*ret = reply;
			return 0;
		}
		if (redisBufferWrite(r->ctx, &written) != REDIS_OK)
			return lost(r, err);
		before = r->ctx->reader->len;
		if (redisBufferRead(r->ctx) != REDIS_OK)
			return lost(r, err);
		if (r->ctx->reader->len > before)
			continue;
		if (until == 0)
			until = now_ms() + r->deadline_ms;
		rc = wait_socket(r, (short)(POLLIN | (written ? 0 : POLLOUT)), until, err);
		if (rc != 0) {
			drop(r); /* a late answer must not be taken for the next one */
			return rc;
		}
	}
}

/* An error reply becomes a status; "LOADING", "READONLY" and the like mean that the server is away. */
static int judge(redisReply *reply, redisReply **ret, struct err *err)
{
	static const char *const away[] = { "LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "BUSY " };
	int code = ST_REDIS;

	if (reply->type != REDIS_REPLY_ERROR) {
		if (ret != NULL)
			*ret = reply;
		else
			freeReplyObject(reply);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(away); i++)
		if (strncmp(reply->str, away[i], strlen(away[i])) == 0)
			code = ST_DISCONNECTED;
	err_set(err, code, "Redis: %s", reply->str);
	freeReplyObject(reply);
	return code;
}

static int gone(struct err *err)
{
	return err_set(err, ST_DISCONNECTED, "the connection to Redis is lost");
}

int redis_take(struct redis_sync *r, redisReply **ret, struct err *err)
{
	redisReply *reply = NULL;
	int rc;

	if (r->ctx == NULL)
		return gone(err);
	rc = next_reply(r, &reply, err);
	if (rc != 0)
		return rc;
	r->waiting--;
	rc = judge(reply, ret, err);
	if (rc == ST_DISCONNECTED)
		drop(r); /* and with it the answers to what was sent behind this */
	return rc;
}

void redis_discard(struct redis_sync *r)
{
	while (r->ctx != NULL && r->waiting > 0) {
		int rc = redis_take(r, NULL, NULL);

		(void)rc; /* an error is an answer, too */
	}
}

int redis_append_argv(struct redis_sync *r, struct err *err, int argc, const char **argv, const size_t *lens)
{
	if (r->ctx == NULL)
		return gone(err);
	if (redisAppendCommandArgv(r->ctx, argc, argv, lens) != REDIS_OK)
		return lost(r, err);
	r->waiting++;
	return 0;
}

int redis_append_text(struct redis_sync *r, struct err *err, const char *text, size_t len, unsigned commands)
{
	if (r->ctx == NULL)
		return gone(err);
	if (redisAppendFormattedCommand(r->ctx, text, len) != REDIS_OK)
		return lost(r, err);
	r->waiting += commands;
	return 0;
}

int redis_cmd(struct redis_sync *r, redisReply **ret, struct err *err, const char *fmt, ...)
{
	va_list ap;
	int rc;

	if (r->ctx == NULL)
		return gone(err);
	va_start(ap, fmt);
	rc = redisvAppendCommand(r->ctx, fmt, ap);
	va_end(ap);
	if (rc != REDIS_OK)
		return lost(r, err);
	r->waiting++;
	return redis_take(r, ret, err);
}

/* ------------------------------------------------------------ connecting */

/* hiredis connects in one go, within its own time-out; from then on the socket does not block. */
static int connect_socket(struct redis_sync *r, struct err *err)
{
	struct timeval timeout = { .tv_sec = (time_t)(r->connect_ms / 1000), .tv_usec = (suseconds_t)(r->connect_ms % 1000) * 1000 };
	struct redis_master master;
	const char *host = r->url.host;
	int port = r->url.port, rc = 0, flags;

	if (r->url.master != NULL) {
		rc = redis_sentinel_find(&r->url, &r->sentinel, r->stop, &master, err);
		if (rc != 0)
			return rc;
		host = master.host;
		port = master.port;
	}
	r->ctx = r->url.path != NULL ? redisConnectUnixWithTimeout(r->url.path, timeout) : redisConnectWithTimeout(host, port, timeout);
	if (r->ctx == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	if (r->ctx->err != 0)
		return lost(r, err);
	if (r->url.path == NULL)
		redisEnableKeepAlive(r->ctx); /* a help, not a need: every call has a deadline */
	redisSetTimeout(r->ctx, timeout);     /* for the TLS handshake */
	if (r->url.tls)
		rc = redis_tls_start(r->ctx, &r->url, host, &r->tls, err);
	if (rc != 0) {
		drop(r);
		return rc;
	}
	flags = fcntl(r->ctx->fd, F_GETFL);
	if (flags < 0 || fcntl(r->ctx->fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(r->ctx->fd, F_SETFD, FD_CLOEXEC) < 0) {
		drop(r);
		return err_set(err, ST_IO, "cannot set up the connection to Redis: %s", strerror(errno));
	}
	r->ctx->flags &= ~REDIS_BLOCK;
	return 0;
}

static int authenticate(struct redis_sync *r, struct err *err)
{
	int rc = 0;

	if (r->url.password != NULL && r->url.user != NULL)
		rc = redis_cmd(r, NULL, err, "AUTH %s %s", r->url.user, r->url.password);
	else if (r->url.password != NULL)
		rc = redis_cmd(r, NULL, err, "AUTH %s", r->url.password);
	if (rc == 0 && r->url.db != 0)
		rc = redis_cmd(r, NULL, err, "SELECT %d", r->url.db);
	return rc;
}

int redis_sync_ask_server(struct redis_sync *r, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_cmd(r, &reply, err, "INFO");

	if (rc != 0)
		return rc;
	if (reply->type != REDIS_REPLY_STRING) {
		freeReplyObject(reply);
		return err_set(err, ST_REDIS, "Redis: unexpected answer to INFO");
	}
	redis_server_parse(&r->server, reply->str);
	freeReplyObject(reply);
	return 0;
}

static int connect_once(struct redis_sync *r, struct err *err)
{
	int rc = connect_socket(r, err);

	if (rc == 0)
		rc = authenticate(r, err);
	if (rc == 0)
		rc = redis_sync_ask_server(r, err);
	if (rc == 0)
		rc = redis_server_check(&r->server, err);
	if (rc == 0 && r->server.loading)
		rc = err_set(err, ST_DISCONNECTED, "Redis is loading its data set");
	if (rc == 0 && r->server.replica)
		rc = err_set(err, ST_DISCONNECTED, "this Redis is a replica and takes no writes");
	if (rc == 0)
		return 0;
	drop(r);
	r->sentinel++; /* the one that was asked may be behind the times */
	return err_wrap(err, "cannot connect to %s", r->url.masked);
}

static int make(struct redis_sync **ret, const char *url, const volatile sig_atomic_t *stop, struct err *err)
{
	struct redis_sync *r = calloc(1, sizeof(*r));
	int rc;

	if (r == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	r->stop = stop;
	r->connect_ms = REDIS_SYNC_CONNECT_MS;
	r->deadline_ms = REDIS_SYNC_DEADLINE_MS;
	rc = redis_url_parse(&r->url, url, err);
	if (rc == 0 && r->url.tls)
		rc = redis_tls_check(&r->url, err);
	if (rc != 0) {
		redis_url_free(&r->url);
		free(r);
		return rc;
	}
	*ret = r;
	return 0;
}

int redis_sync_try_open(struct redis_sync **ret, const char *url, const volatile sig_atomic_t *stop, struct err *err)
{
	return redis_sync_try_open_within(ret, url, 0, stop, err);
}

int redis_sync_try_open_within(struct redis_sync **ret, const char *url, uint64_t ms, const volatile sig_atomic_t *stop, struct err *err)
{
	struct redis_sync *r = NULL;
	int rc = make(&r, url, stop, err);

	if (rc != 0)
		return rc;
	if (ms > 0)
		r->connect_ms = r->deadline_ms = ms;
	rc = connect_once(r, err);
	if (rc != 0) {
		redis_sync_free(r);
		return rc;
	}
	*ret = r;
	return 0;
}

int redis_sync_try_reopen(struct redis_sync *r, struct err *err)
{
	drop(r);
	return connect_once(r, err);
}

void redis_sync_free(struct redis_sync *r)
{
	if (r == NULL)
		return;
	drop(r);
	redis_url_free(&r->url);
	free(r);
}

bool redis_sync_lost(const struct redis_sync *r)
{
	return r->ctx == NULL;
}

const struct redis_server *redis_sync_server(const struct redis_sync *r)
{
	return &r->server;
}
