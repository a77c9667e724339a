#include "http/ask.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"

/* "0.0.0.0" is where to listen, not whom to ask. */
static const char *host_to_ask(const struct http_address *address)
{
	if (address->host[0] == '\0' || strcmp(address->host, "0.0.0.0") == 0)
		return "127.0.0.1";
	return strcmp(address->host, "::") == 0 ? "::1" : address->host;
}

static int wait_for(int fd, short events, uint64_t until_ms, struct err *err)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now_ms = clock_now_ms(clock_system());
		int n = now_ms < until_ms ? poll(&p, 1, (int)(until_ms - now_ms)) : 0;

		if (n > 0)
			return 0;
		if (n == 0)
			return err_set(err, ST_TIMEOUT, "no answer within %d s", HTTP_ASK_MS / 1000);
		if (errno != EINTR)
			return err_set(err, ST_IO, "%s", strerror(errno));
	}
}

static int dial(int fd, const struct addrinfo *at, uint64_t until_ms, struct err *err)
{
	int why = 0, rc;
	socklen_t size = sizeof(why);

	if (connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
		if (errno != EINPROGRESS)
			return err_set(err, ST_DISCONNECTED, "%s", strerror(errno));
		rc = wait_for(fd, POLLOUT, until_ms, err);
		if (rc != 0)
			return rc;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &size) != 0 || why != 0)
			return err_set(err, ST_DISCONNECTED, "%s", strerror(why));
	}
	return 0;
}

/* A name may have several addresses ("localhost": ::1 and 127.0.0.1), and who is asked may listen at one of them. */
static int dial_any(const struct addrinfo *found, uint64_t until_ms, int *ret_fd, struct err *err)
{
	int fd, rc = 0;

	for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
		fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		rc = fd >= 0 ? dial(fd, at, until_ms, err) : err_set(err, ST_IO, "%s", strerror(errno));
		if (rc == 0) {
			*ret_fd = fd;
			return 0;
		}
		if (fd >= 0)
			close(fd);
	}
	return rc;
}

/* The request fits into the socket's buffer, and of the answer the first line is wanted. */
static int converse(int fd, const char *path, uint64_t until_ms, struct err *err)
{
	char text[1024];
	size_t len = 0;
	int n = snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path), rc;
	unsigned status = 0;
	ssize_t got;

	if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		return err_set(err, ST_DISCONNECTED, "%s", strerror(errno));
	do {
		rc = wait_for(fd, POLLIN, until_ms, err);
		if (rc != 0)
			return rc;
		got = read(fd, text + len, sizeof(text) - 1 - len);
		len += got > 0 ? (size_t)got : 0;
		text[len] = '\0';
	} while (got > 0 && strchr(text, '\n') == NULL && len < sizeof(text) - 1);
	if (sscanf(text, "HTTP/%*u.%*u %3u", &status) != 1) /* NOLINT(cert-err34-c): three digits cannot overflow */
		return err_set(err, ST_DISCONNECTED, "what answers does not speak HTTP");
	return status == 200 ? 0 : err_set(err, ST_REFUSED, "it answers with status %u", status);
}

int http_ask(const struct http_address *address, const char *path, struct err *err)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	uint64_t until_ms = clock_now_ms(clock_system()) + HTTP_ASK_MS;
	struct addrinfo *found = NULL;
	char port[8];
	int fd = -1, rc;

	snprintf(port, sizeof(port), "%u", address->port);
	rc = getaddrinfo(host_to_ask(address), port, &hints, &found);
	if (rc != 0)
		return err_set(err, ST_INPUT, "cannot find the host '%s': %s", address->host, gai_strerror(rc));
	rc = dial_any(found, until_ms, &fd, err);
	freeaddrinfo(found);
	if (rc == 0)
		rc = converse(fd, path, until_ms, err);
	if (fd >= 0)
		close(fd);
	return rc == 0 ? 0 : err_wrap(err, "nothing healthy at %s:%s%s", host_to_ask(address), port, path);
}
