#include "steward/seen.h"

#include <stdlib.h>
#include <string.h>

#define FIRST 256

void seen_init(struct seen *s, uint64_t seed, size_t max)
{
	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->max = max;
}

void seen_free(struct seen *s)
{
	free(s->v);
	s->v = NULL;
	s->n = s->cap = 0;
}

/* The finalizer of splitmix64 (Sebastiano Vigna, public domain): every bit of the input changes half of the output. */
static uint64_t stir(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t add_bytes(uint64_t h, const char *s, size_t n)
{
	h = stir(h ^ n); /* the length too: ("a","b") is not ("ab","") */
	while (n >= 8) {
		uint64_t word;

		memcpy(&word, s, 8);
		h = stir(h ^ word) + 0x9e3779b97f4a7c15u;
		s += 8;
		n -= 8;
	}
	if (n > 0) {
		uint64_t word = 0;

		memcpy(&word, s, n);
		h = stir(h ^ word) + 0x9e3779b97f4a7c15u;
	}
	return h;
}

static uint64_t hash(const struct seen *s, const struct job *job)
{
	uint64_t kind = job->kind == JOB_LIST ? JOB_BATCH : job->kind;
	uint64_t h = stir(s->seed ^ kind) ^ (uint64_t)job->number;

	h = stir(h + 0x9e3779b97f4a7c15u);
	for (unsigned i = 0; i < job->columns; i++)
		h = add_bytes(h, job->key[i].s, job->key[i].n);
	return stir(h);
}

int seen_add(struct seen *s, const struct job *job)
{
	if (s->n == s->cap) {
		size_t cap = s->cap > 0 ? s->cap * 2 : FIRST;
		uint64_t *v;

		if (s->n >= s->max)
			return ST_LIMIT;
		if (cap > s->max)
			cap = s->max;
		v = realloc(s->v, cap * sizeof(*v));
		if (v == NULL)
			return ST_NOMEM;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = hash(s, job);
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void seen_seal(struct seen *s)
{
	if (s->n > 0)
		qsort(s->v, s->n, sizeof(*s->v), compare);
}

bool seen_has(const struct seen *s, const struct job *job)
{
	uint64_t h = hash(s, job);

	return s->n > 0 && bsearch(&h, s->v, s->n, sizeof(h), compare) != NULL;
}
