#include "redis/redis_sentinel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <hiredis/hiredis.h>

#include "core/secret.h"
#include "core/text.h"
#include "redis/redis_tls.h"

/* How much each kind of answer says: the best of them is what is reported when no Sentinel helps. */
enum news { NEWS_NONE, NEWS_SILENT, NEWS_REFUSED, NEWS_UNKNOWN };

/* ------------------------------------------------------------ asking one */

static redisContext *connect_to(const struct redis_url *u, const struct redis_node *node, struct redis_tls_note *note, struct err *err)
{
	const struct timeval timeout = { .tv_sec = REDIS_SENTINEL_MS / 1000, .tv_usec = REDIS_SENTINEL_MS % 1000 * 1000 };
	redisContext *c = redisConnectWithTimeout(node->host, node->port, timeout);

	if (c == NULL) {
		err_set(err, ST_NOMEM, "out of memory");
		return NULL;
	}
	if (c->err != 0)
		err_set(err, ST_DISCONNECTED, "%s", c->errstr);
	else if (redisSetTimeout(c, timeout) != REDIS_OK)
		err_set(err, ST_DISCONNECTED, "cannot set its deadline");
	else if (!u->tls || redis_tls_start(c, u, node->host, note, err) == 0)
		return c;
	redisFree(c);
	return NULL;
}

/* The answer as it is, or why there is none. */
static redisReply *command(redisContext *c, const struct redis_tls_note *note, struct err *err, int argc, const char **argv)
{
	redisReply *reply = redisCommandArgv(c, argc, argv, NULL);

	if (reply == NULL)
		err_set(err, ST_DISCONNECTED, "%s", redis_tls_reason(note, c->errstr));
	else if (reply->type == REDIS_REPLY_ERROR)
		err_set(err, ST_REDIS, "%s", reply->str);
	else
		return reply;
	freeReplyObject(reply);
	return NULL;
}

static bool log_in(redisContext *c, const struct redis_url *u, const struct redis_tls_note *note, struct err *err)
{
	const char *auth[] = { "AUTH", u->sentinel_user != NULL ? u->sentinel_user : u->sentinel_password, u->sentinel_password };
	redisReply *reply;

	if (u->sentinel_password == NULL)
		return true;
	reply = command(c, note, err, u->sentinel_user != NULL ? 3 : 2, auth);
	freeReplyObject(reply);
	return reply != NULL;
}

static enum news read_answer(const redisReply *reply, const struct redis_url *u, struct redis_master *ret, struct err *err)
{
	uint64_t port;

	if (reply->type == REDIS_REPLY_NIL) {
		err_set(err, ST_DISCONNECTED, "it knows no master '%s'", u->master);
		return NEWS_UNKNOWN;
	}
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[1]->type != REDIS_REPLY_STRING || reply->element[0]->len >= sizeof(ret->host) || reply->element[0]->len == 0 ||
	    text_parse_u64(reply->element[1]->str, 1, 65535, &port, NULL) != 0) {
		err_set(err, ST_DISCONNECTED, "its answer is no address");
		return NEWS_REFUSED;
	}
	memcpy(ret->host, reply->element[0]->str, reply->element[0]->len + 1);
	ret->port = (int)port;
	return NEWS_NONE;
}

static enum news ask(const struct redis_url *u, const struct redis_node *node, struct redis_master *ret, struct err *err)
{
	const char *question[] = { "SENTINEL", "GET-MASTER-ADDR-BY-NAME", u->master };
	struct redis_tls_note note = { "" };
	redisContext *c = connect_to(u, node, &note, err);
	enum news news = NEWS_SILENT;
	redisReply *reply = NULL;

	if (c == NULL)
		return news;
	if (log_in(c, u, &note, err))
		reply = command(c, &note, err, ARRAY_SIZE(question), question);
	if (reply != NULL)
		news = read_answer(reply, u, ret, err);
	else if (err->code == ST_REDIS)
		news = NEWS_REFUSED;
	freeReplyObject(reply);
	redisFree(c);
	return news;
}

/* ------------------------------------------------------------ asking all */

int redis_sentinel_find(const struct redis_url *u, unsigned *at, const volatile sig_atomic_t *stop, struct redis_master *ret,
			struct err *err)
{
	enum news best = NEWS_NONE;

	for (unsigned i = 0; i < u->nsentinels; i++) {
		unsigned which = (*at + i) % u->nsentinels;
		const struct redis_node *node = &u->sentinels[which];
		struct err why = ERR_INIT;
		enum news news;

		if (stop != NULL && *stop)
			return err_set(err, ST_INTERRUPTED, "interrupted");
		news = ask(u, node, ret, &why);
		if (news == NEWS_NONE) {
			*at = which;
			return 0;
		}
		if (why.code == ST_CONFIG || why.code == ST_NOMEM)
			return err_set(err, why.code, "%s", why.msg);
		if (news > best)
			err_set(err, ST_DISCONNECTED, "no Sentinel says who the master is; %s:%d: %s", node->host, node->port, why.msg);
		best = news > best ? news : best;
	}
	return ST_DISCONNECTED;
}

/* ------------------------------------------------------------ asking in a thread */

struct redis_sentinel_ask {
	uv_work_t uv;
	char *url; /* parsed again by the thread: it may outlive whose it was */
	unsigned at;
	volatile sig_atomic_t stop;
	redis_sentinel_fn fn; /* NULL: nobody waits for the answer any more */
	void *arg;
	int rc;
	struct redis_master master;
	struct err why;
};

static void on_work(uv_work_t *uv)
{
	struct redis_sentinel_ask *a = container_of(uv, struct redis_sentinel_ask, uv);
	struct redis_url u;

	a->rc = redis_url_parse(&u, a->url, &a->why);
	if (a->rc != 0)
		return;
	a->rc = redis_sentinel_find(&u, &a->at, &a->stop, &a->master, &a->why);
	redis_url_free(&u);
}

static void free_ask(struct redis_sentinel_ask *a)
{
	secret_free(a->url);
	free(a);
}

static void on_done(uv_work_t *uv, int status)
{
	struct redis_sentinel_ask *a = container_of(uv, struct redis_sentinel_ask, uv);

	if (a->fn != NULL && status == 0)
		a->fn(a->arg, a->rc == 0 ? &a->master : NULL, a->at, &a->why);
	free_ask(a);
}

struct redis_sentinel_ask *redis_sentinel_ask_new(uv_loop_t *loop, const struct redis_url *u, unsigned at, redis_sentinel_fn fn, void *arg)
{
	struct redis_sentinel_ask *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->url = strdup(u->text);
	a->at = at;
	a->fn = fn;
	a->arg = arg;
	if (a->url == NULL || uv_queue_work(loop, &a->uv, on_work, on_done) != 0) {
		free_ask(a);
		return NULL;
	}
	return a;
}

void redis_sentinel_ask_free(struct redis_sentinel_ask *a)
{
	if (a == NULL)
		return;
	a->fn = NULL;
	a->stop = 1;
	uv_cancel((uv_req_t *)&a->uv); /* on_done() runs in any case and frees it */
}
