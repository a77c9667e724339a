/*
 * redis_pool.h - memory for a connection's answers: what an answer consists of lies together, and goes at once.
 *
 * hiredis makes ten allocations of a stream's entry, and answers have thousands of entries. A connection has one answer at a time: the next is
 * not begun before the last was freed.
 */
#ifndef DROVER_REDIS_REDIS_POOL_H
#define DROVER_REDIS_REDIS_POOL_H

#include <hiredis/hiredis.h>

#include "core/util.h"

struct redis_pool;

MUST_CHECK struct redis_pool *redis_pool_new(void); /* NULL: out of memory */
void redis_pool_free(struct redis_pool *p);         /* after the readers that use it; NULL is fine */

/* Answers that this reader has not begun yet are made of the pool's memory. */
void redis_pool_use(struct redis_pool *p, redisReader *reader);

#endif
