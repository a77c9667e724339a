#include "queue/scripts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua.h"

const struct queue_script queue_settle = { "settle", LUA_SETTLE, LUA_SETTLE_SHA1 };
const struct queue_script queue_give_back = { "give_back", LUA_GIVE_BACK, LUA_GIVE_BACK_SHA1 };
const struct queue_script queue_renew = { "renew", LUA_RENEW, LUA_RENEW_SHA1 };
const struct queue_script queue_promote = { "promote", LUA_PROMOTE, LUA_PROMOTE_SHA1 };
const struct queue_script queue_take_over = { "take_over", LUA_TAKE_OVER, LUA_TAKE_OVER_SHA1 };
const struct queue_script queue_unseen = { "unseen", LUA_UNSEEN, LUA_UNSEEN_SHA1 };
const struct queue_script queue_forget_consumer = { "forget_consumer", LUA_FORGET_CONSUMER, LUA_FORGET_CONSUMER_SHA1 };

/*
 * Which scripts a server knows is not remembered: it may be another one after the next reconnect. Instead the text is sent behind a failed
 * EVALSHA, for which the arguments are kept until the answer.
 */
struct call {
	struct redis_link *link;
	const struct queue_script *script;
	uint64_t deadline_ms;
	redis_reply_fn cb;
	void *arg;
	size_t argc;       /* of the whole command */
	const char **argv; /* into `bytes`, but the first two */
	size_t *lens;
	char *bytes;
	char nkeys[12];
};

static void call_free(struct call *c)
{
	free(c->argv);
	free(c->lens);
	free(c->bytes);
	free(c);
}

static void on_answer(void *arg, int status, const redisReply *reply)
{
	struct call *c = arg;

	if (status == ST_REDIS && strncmp(reply->str, "NOSCRIPT", 8) == 0 && strcmp(c->argv[0], "EVALSHA") == 0) {
		c->argv[0] = "EVAL";
		c->lens[0] = 4;
		c->argv[1] = c->script->text;
		c->lens[1] = strlen(c->script->text);
		status = redis_link_send(c->link, c->argc, c->argv, c->lens, c->deadline_ms, on_answer, c);
		if (status == 0)
			return;
		reply = NULL;
	}
	c->cb(c->arg, status, reply);
	call_free(c);
}

static struct call *call_new(size_t argc, const char *const *argv, const size_t *lens)
{
	struct call *c = calloc(1, sizeof(*c));
	size_t bytes = 1, at = 0;

	if (c == NULL)
		return NULL;
	c->argc = argc + 3;
	c->argv = calloc(c->argc, sizeof(*c->argv));
	c->lens = calloc(c->argc, sizeof(*c->lens));
	for (size_t i = 0; i < argc; i++)
		bytes += lens != NULL ? lens[i] : strlen(argv[i]);
	c->bytes = malloc(bytes);
	if (c->argv == NULL || c->lens == NULL || c->bytes == NULL) {
		call_free(c);
		return NULL;
	}
	for (size_t i = 0; i < argc; i++) {
		size_t n = lens != NULL ? lens[i] : strlen(argv[i]);

		memcpy(c->bytes + at, argv[i], n);
		c->argv[i + 3] = c->bytes + at;
		c->lens[i + 3] = n;
		at += n;
	}
	return c;
}

int queue_call(struct redis_link *link, const struct queue_script *script, unsigned nkeys, size_t argc, const char *const *argv,
	       const size_t *lens, uint64_t deadline_ms, redis_reply_fn cb, void *arg)
{
	struct call *c = call_new(argc, argv, lens);
	int rc;

	if (c == NULL)
		return ST_NOMEM;
	c->link = link;
	c->script = script;
	c->deadline_ms = deadline_ms;
	c->cb = cb;
	c->arg = arg;
	c->argv[0] = "EVALSHA";
	c->lens[0] = 7;
	c->argv[1] = script->sha1;
	c->lens[1] = strlen(script->sha1);
	snprintf(c->nkeys, sizeof(c->nkeys), "%u", nkeys);
	c->argv[2] = c->nkeys;
	c->lens[2] = strlen(c->nkeys);
	rc = redis_link_send(link, c->argc, c->argv, c->lens, deadline_ms, on_answer, c);
	if (rc != 0)
		call_free(c);
	return rc;
}
