/* http_listen.c - from "HOST:PORT" to a socket that listens, with reasons that help where it cannot. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/text.h"
#include "http/http.h"

#define BACKLOG 64

static int bad(struct err *err, const char *text)
{
	return err_set(
		err, ST_USAGE,
		"'%.100s' is not an address to listen on; expected HOST:PORT, for example 9464 (this machine alone), 0.0.0.0:9464 or [::]:9464",
		text);
}

int http_address_parse(struct http_address *ret, const char *text, struct err *err)
{
	struct http_address a = { .host = "127.0.0.1" };
	const char *port = strrchr(text, ':'), *host = text;
	size_t n = port != NULL ? (size_t)(port - text) : 0;
	uint64_t number;

	if (text_parse_u64(port != NULL ? port + 1 : text, 0, 65535, &number, NULL) != 0)
		return bad(err, text);
	a.port = (uint16_t)number;
	if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
		host++;
		n -= 2;
		if (n == 0)
			return bad(err, text);
	} else if (memchr(host, ':', n) != NULL) {
		return bad(err, text); /* an IPv6 address without brackets: where would its port begin? */
	}
	if (n >= sizeof(a.host))
		return bad(err, text);
	if (n == 1 && host[0] == '*')
		a.host[0] = '\0';
	else if (n > 0)
		snprintf(a.host, sizeof(a.host), "%.*s", (int)n, host);
	*ret = a;
	return 0;
}

/* The address as it would be typed, with the port that the socket has. */
static void print_address(char ret_text[HTTP_HOST_MAX + 16], int fd, const struct http_address *a)
{
	struct sockaddr_storage at;
	socklen_t n = sizeof(at);
	char host[HTTP_HOST_MAX], port[12];

	if (getsockname(fd, (struct sockaddr *)&at, &n) != 0 ||
	    getnameinfo((struct sockaddr *)&at, n, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(host, sizeof(host), "%s", a->host);
		snprintf(port, sizeof(port), "%u", a->port);
	}
	snprintf(ret_text, HTTP_HOST_MAX + 16, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

static int try_one(const struct addrinfo *ai, int *ret_fd)
{
	const int on = 1, off = 0;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), why;

	if (fd < 0)
		return errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* a worker that starts anew takes the port of the one before */
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)); /* [::] means IPv4 as well */
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
		*ret_fd = fd;
		return 0;
	}
	why = errno;
	close(fd);
	return why;
}

static int explain(struct err *err, const struct http_address *a, int why)
{
	const char *host = a->host[0] != '\0' ? a->host : "*";

	switch (why) {
	case EADDRINUSE:
		return err_set(
			err, ST_CONFIG,
			"cannot listen on %s port %u: another program does; see who with: ss -ltnp 'sport = :%u', or choose another port",
			host, a->port, a->port);
	case EADDRNOTAVAIL:
		return err_set(err, ST_CONFIG,
			       "cannot listen on %s port %u: this machine has no such address; see: ip address, or use 0.0.0.0 for all",
			       host, a->port);
	case EACCES:
		return err_set(err, ST_CONFIG, "cannot listen on %s port %u: %s; choose a port above 1023", host, a->port, strerror(why));
	default:
		return err_set(err, ST_CONFIG, "cannot listen on %s port %u: %s", host, a->port, strerror(why));
	}
}

int http_listen(int *ret_fd, char ret_text[HTTP_HOST_MAX + 16], const struct http_address *a, struct err *err)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char port[12];
	int why, fd = -1;

	snprintf(port, sizeof(port), "%u", a->port);
	why = getaddrinfo(a->host[0] != '\0' ? a->host : NULL, port, &hints, &found);
	if (why != 0)
		return err_set(err, ST_CONFIG, "cannot listen on '%s': the name is not known here: %s", a->host, gai_strerror(why));
	why = EADDRNOTAVAIL;
	for (const struct addrinfo *ai = found; ai != NULL && why != 0; ai = ai->ai_next)
		why = try_one(ai, &fd);
	freeaddrinfo(found);
	if (why != 0)
		return explain(err, a, why);
	*ret_fd = fd;
	print_address(ret_text, fd, a);
	return 0;
}
