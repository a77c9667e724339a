/*
 * strvec.h - a list of strings, owned, with a ceiling.
 *
 * `v` always ends with a NULL and is never NULL itself, so it can be handed to
 * whatever wants a `char **`. As with struct buf, a failed push (ceiling or memory) marks the
 * list `failed` and empties it; check once at the end with strvec_ok().
 */
#ifndef DROVER_CORE_STRVEC_H
#define DROVER_CORE_STRVEC_H

#include <stdbool.h>
#include <stddef.h>

#include "core/util.h"

struct strvec {
	char **v;    /* n strings, then NULL; each is the list's own copy */
	size_t n;    /* strings */
	size_t cap;  /* slots allocated, with the NULL's; 0: `v` is a constant */
	size_t max;  /* ceiling for n */
	bool failed; /* a push did not fit or memory ran out */
};

void strvec_init(struct strvec *l, size_t max);
void strvec_free(struct strvec *l); /* fine on an empty list; usable again afterwards */

int strvec_push(struct strvec *l, const char *s); /* copies @s; 0, ST_LIMIT, ST_NOMEM */
int strvec_push_n(struct strvec *l, const char *bytes, size_t n);

bool strvec_has(const struct strvec *l, const char *s);
void strvec_sort(struct strvec *l); /* by bytes */

static inline bool strvec_ok(const struct strvec *l)
{
	return !l->failed;
}

#endif
