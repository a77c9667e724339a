#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"

#define ADDRESSES_MAX 16

struct loop_lookup {
	uv_getaddrinfo_t uv;
	loop_lookup_fn fn; /* NULL: nobody waits for the answer any more */
	void *arg;
};

/* Numeric and new: appended to the list. */
static unsigned add_address(char (*list)[LOOP_ADDRESS_MAX], unsigned n, const struct addrinfo *ai)
{
	const void *bytes = ai->ai_family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)ai->ai_addr)->sin_addr :
						       (const void *)&((const struct sockaddr_in6 *)(const void *)ai->ai_addr)->sin6_addr;

	if (n == ADDRESSES_MAX || (ai->ai_family != AF_INET && ai->ai_family != AF_INET6) ||
	    inet_ntop(ai->ai_family, bytes, list[n], LOOP_ADDRESS_MAX) == NULL)
		return n;
	for (unsigned i = 0; i < n; i++)
		if (strcmp(list[i], list[n]) == 0)
			return n;
	return n + 1;
}

static void on_found(uv_getaddrinfo_t *uv, int status, struct addrinfo *found)
{
	struct loop_lookup *l = container_of(uv, struct loop_lookup, uv);
	char list[ADDRESSES_MAX][LOOP_ADDRESS_MAX];
	unsigned n = 0;

	for (struct addrinfo *ai = found; status == 0 && ai != NULL; ai = ai->ai_next)
		n = add_address(list, n, ai);
	uv_freeaddrinfo(found);
	if (l->fn != NULL)
		l->fn(l->arg, (const char(*)[LOOP_ADDRESS_MAX])list, n, status != 0 ? uv_strerror(status) : "no address");
	free(l);
}

struct loop_lookup *loop_lookup_new(uv_loop_t *loop, const char *host, loop_lookup_fn fn, void *arg)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct loop_lookup *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->fn = fn;
	l->arg = arg;
	if (uv_getaddrinfo(loop, &l->uv, on_found, host, NULL, &hints) != 0) {
		free(l);
		return NULL;
	}
	return l;
}

void loop_lookup_free(struct loop_lookup *l)
{
	if (l == NULL)
		return;
	l->fn = NULL;
	uv_cancel((uv_req_t *)&l->uv); /* on_found() runs in any case and frees it */
}
