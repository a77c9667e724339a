/*
 * scripts.h - the Lua scripts by which workers move jobs in Redis: what several commands must do as one.
 *
 * What each does, its keys and arguments, stand at the head of lua/NAME.lua. All keys of a call belong to one migration, so they share a slot.
 */
#ifndef DROVER_QUEUE_SCRIPTS_H
#define DROVER_QUEUE_SCRIPTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/util.h"
#include "redis/redis_link.h"

struct queue_script {
	const char *name;
	const char *text;
	const char *sha1; /* of the text, hex */
};

extern const struct queue_script queue_settle;
extern const struct queue_script queue_give_back;
extern const struct queue_script queue_renew;
extern const struct queue_script queue_promote;
extern const struct queue_script queue_take_over;
extern const struct queue_script queue_unseen;
extern const struct queue_script queue_forget_consumer;

/**
 * Call a script by its SHA1; where the server does not know it yet (NOSCRIPT), once more by its text.
 *
 * @argv  the keys, then the arguments; borrowed until the call returns. @lens as for redis_link_send().
 *
 * Returned 0: @cb runs exactly once, as with redis_link_send(). Otherwise ST_DISCONNECTED, ST_NOMEM, and it never runs.
 */
MUST_CHECK int queue_call(struct redis_link *link, const struct queue_script *script, unsigned nkeys, size_t argc, const char *const *argv,
			  const size_t *lens, uint64_t deadline_ms, redis_reply_fn cb, void *arg);

#endif
