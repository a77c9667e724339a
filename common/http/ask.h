/*
 * ask.h - one GET, blocking and with a deadline: for a container's health check, which has no shell and no curl.
 */
#ifndef DROVER_HTTP_ASK_H
#define DROVER_HTTP_ASK_H

#include "core/err.h"
#include "core/util.h"
#include "http/http.h"

#define HTTP_ASK_MS 3000 /* longest for all of it */

/**
 * Ask the server that listens on @address, which is one of this machine's: where it listens on all addresses, the loopback one is asked.
 * 0: it answered with status 200. ST_DISCONNECTED nobody answers; ST_REFUSED another status, which @err says; ST_TIMEOUT; ST_INPUT no such host.
 */
MUST_CHECK int http_ask(const struct http_address *address, const char *path, struct err *err);

#endif
