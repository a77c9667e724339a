/*
 * http.h - a small HTTP server on the loop, for /metrics and the like: GET and HEAD, short answers, a connection each.
 *
 * libmicrohttpd reads and writes; its epoll descriptor is watched by the loop, so that everything happens on the loop's thread and an answer proves
 * that the loop turns. Whoever connects may be anybody: at most HTTP_CONNECTIONS_MAX connections, each with HTTP_MEMORY_BYTES for its request and
 * HTTP_DEADLINE_MS for everything; when there are more, the oldest go.
 */
#ifndef DROVER_HTTP_HTTP_H
#define DROVER_HTTP_HTTP_H

#include <stdint.h>

#include <uv.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

#define HTTP_CONNECTIONS_MAX 32
#define HTTP_MEMORY_BYTES 8192
#define HTTP_DEADLINE_MS 10000
#define HTTP_HOST_MAX 256

/* ------------------------------------------------------------ where to listen */

struct http_address {
	char host[HTTP_HOST_MAX]; /* without brackets; "": all addresses */
	uint16_t port;            /* 0: any that is free */
};

/* "PORT" (loopback), "HOST:PORT", "[IPV6]:PORT", "*:PORT" (all addresses). ST_USAGE with what was expected. */
MUST_CHECK int http_address_parse(struct http_address *ret, const char *text, struct err *err);

/**
 * A socket that listens there. Blocks while a host name is looked up. ST_CONFIG with the reason and what to do: nothing that waiting mends.
 * @ret_text: "127.0.0.1:9464", with the port that it got.
 */
MUST_CHECK int http_listen(int *ret_fd, char ret_text[HTTP_HOST_MAX + 16], const struct http_address *address, struct err *err);

/* ------------------------------------------------------------ the server */

struct http_answer {
	unsigned status;  /* 404 unless set */
	const char *type; /* "text/plain" unless set */
	struct buf body;
};

/* Answer a request for @path ("/metrics", unescaped, without what comes after '?'). HEAD asks for the same; its body is not sent. */
typedef void (*http_fn)(void *arg, const char *path, struct http_answer *answer);

struct http;

/* Serve on @address from now on. As http_listen(), ST_NOMEM. @ret_text as there; may be NULL. */
MUST_CHECK int http_new(struct http **ret, uv_loop_t *loop, const struct http_address *address, http_fn fn, void *arg,
			char ret_text[HTTP_HOST_MAX + 16], struct err *err);

/* Connections are closed at once. NULL is fine. Not from within its callback. */
void http_free(struct http *h);

#endif
