#include "redis/redis_pool.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)64 * 1024) /* bytes of a block; what is larger has one of its own */

struct block {
	struct block *next;
	alignas(max_align_t) char bytes[];
};

struct redis_pool {
	struct block *blocks; /* the newest first */
	size_t used, size;    /* bytes of the newest */
};

/* The outermost part of an answer: all that hiredis knows when it frees one. */
struct root {
	redisReply reply; /* first */
	struct redis_pool *pool;
};

#if HIREDIS_MAJOR >= 1
typedef size_t elements_t;
#else
typedef int elements_t;
#endif

struct redis_pool *redis_pool_new(void)
{
	return calloc(1, sizeof(struct redis_pool));
}

static void clear(struct redis_pool *p)
{
	while (p->blocks != NULL) {
		struct block *b = p->blocks;

		p->blocks = b->next;
		free(b);
	}
	p->used = p->size = 0;
}

void redis_pool_free(struct redis_pool *p)
{
	if (p != NULL)
		clear(p);
	free(p);
}

static void *take(struct redis_pool *p, size_t n)
{
	void *v;

	if (n > SIZE_MAX / 2)
		return NULL;
	n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (n > p->size - p->used) {
		size_t size = n > BLOCK ? n : BLOCK;
		struct block *b = malloc(sizeof(*b) + size);

		if (b == NULL)
			return NULL;
		b->next = p->blocks;
		p->blocks = b;
		p->size = size;
		p->used = 0;
	}
	v = p->blocks->bytes + p->used;
	p->used += n;
	return v;
}

/* ------------------------------------------------------------ what hiredis calls */

/* A part of an answer, with @extra bytes behind it; NULL: out of memory. The task says where it belongs. */
static redisReply *part(const redisReadTask *task, size_t extra, void **ret_extra)
{
	struct redis_pool *p = task->privdata;
	bool root = task->parent == NULL;
	size_t own = root ? sizeof(struct root) : sizeof(redisReply);
	redisReply *r = extra > SIZE_MAX / 4 ? NULL : take(p, own + extra);

	if (r == NULL)
		return NULL;
	memset(r, 0, own);
	r->type = task->type;
	if (ret_extra != NULL)
		*ret_extra = (char *)r + own;
	if (root)
		((struct root *)(void *)r)->pool = p;
	else
		((redisReply *)task->parent->obj)->element[task->idx] = r;
	return r;
}

static void *make_string(const redisReadTask *task, char *s, size_t n)
{
	void *bytes;
	redisReply *r = part(task, n + 1, &bytes);

	if (r == NULL)
		return NULL;
	r->str = bytes;
	r->len = n;
	memcpy(r->str, s, n);
	r->str[n] = '\0';
	return r;
}

static void *make_array(const redisReadTask *task, elements_t n)
{
	void *elements;
	redisReply *r = (size_t)n > SIZE_MAX / 8 / sizeof(redisReply *) ? NULL : part(task, (size_t)n * sizeof(redisReply *), &elements);

	if (r == NULL)
		return NULL;
	r->elements = (size_t)n;
	r->element = n > 0 ? elements : NULL; /* all are there before anybody sees it */
	return r;
}

static void *make_integer(const redisReadTask *task, long long value)
{
	redisReply *r = part(task, 0, NULL);

	if (r != NULL)
		r->integer = value;
	return r;
}

static void *make_nil(const redisReadTask *task)
{
	redisReply *r = part(task, 0, NULL);

	if (r != NULL)
		r->type = REDIS_REPLY_NIL; /* the task's is what was announced */
	return r;
}

#if HIREDIS_MAJOR >= 1
static void *make_double(const redisReadTask *task, double value, char *s, size_t n)
{
	redisReply *r = make_string(task, s, n);

	if (r != NULL)
		r->dval = value;
	return r;
}

static void *make_bool(const redisReadTask *task, int value)
{
	return make_integer(task, value);
}
#endif

static void drop(void *reply)
{
	if (reply != NULL)
		clear(((struct root *)reply)->pool);
}

static redisReplyObjectFunctions functions = {
	.createString = make_string,
	.createArray = make_array,
	.createInteger = make_integer,
	.createNil = make_nil,
#if HIREDIS_MAJOR >= 1
	.createDouble = make_double,
	.createBool = make_bool,
#endif
	.freeObject = drop,
};

void redis_pool_use(struct redis_pool *p, redisReader *reader)
{
	reader->fn = &functions;
	reader->privdata = p;
}
