#include "core/strvec.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"

static char *no_strings[1];

void strvec_init(struct strvec *l, size_t max)
{
	*l = (struct strvec){ .v = no_strings, .max = max };
}

void strvec_free(struct strvec *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	if (l->cap > 0)
		free(l->v);
	l->v = no_strings;
	l->n = 0;
	l->cap = 0;
	l->failed = false;
}

static int fail(struct strvec *l, int code)
{
	strvec_free(l);
	l->failed = true;
	return code;
}

int strvec_push_n(struct strvec *l, const char *bytes, size_t n)
{
	char *copy;

	if (l->failed || l->n >= l->max)
		return fail(l, ST_LIMIT);
	if (l->n + 2 > l->cap) {
		size_t cap = l->cap > 0 ? l->cap * 2 : 8;
		char **v = realloc(l->cap > 0 ? l->v : NULL, cap * sizeof(*v));

		if (v == NULL)
			return fail(l, ST_NOMEM);
		l->v = v;
		l->cap = cap;
		l->v[l->n] = NULL;
	}
	copy = strndup(bytes, n);
	if (copy == NULL)
		return fail(l, ST_NOMEM);
	l->v[l->n++] = copy;
	l->v[l->n] = NULL;
	return 0;
}

int strvec_push(struct strvec *l, const char *s)
{
	return strvec_push_n(l, s, strlen(s));
}

bool strvec_has(const struct strvec *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i], s) == 0)
			return true;
	return false;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strvec_sort(struct strvec *l)
{
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), by_bytes);
}
