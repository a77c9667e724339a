#include "http/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>
#include <utlist.h>

#include "core/log.h"
#include "loop/loop.h"

#define BODY_MAX (8u << 20)

struct connection {
	int fd;            /* libmicrohttpd's */
	uint64_t until_ms; /* then it is cut off, whatever it does */
	bool cut;
	struct connection *prev, *next;
};

struct http {
	uv_loop_t *loop;
	struct MHD_Daemon *daemon;
	struct loop_watch *watch; /* of the daemon's epoll descriptor */
	struct loop_timer *timer;
	struct connection *connections; /* the oldest first */
	unsigned n;
	http_fn fn;
	void *arg;
};

/* ------------------------------------------------------------ connections */

/* It sees the end of the connection, and closes it in its next turn. */
static void cut(struct connection *c)
{
	c->cut = true;
	shutdown(c->fd, SHUT_RDWR);
}

static void connected(struct http *h, struct MHD_Connection *mhd, void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct connection *c = info != NULL ? calloc(1, sizeof(*c)) : NULL, *old;

	*context = c;
	if (c == NULL)
		return; /* libmicrohttpd's own limit and its time-out still hold */
	c->fd = info->connect_fd;
	c->until_ms = uv_now(h->loop) + HTTP_DEADLINE_MS;
	DL_APPEND(h->connections, c);
	/* The newest may be Prometheus; the oldest has had its time. */
	DL_FOREACH(h->connections, old)
		if (!old->cut && h->n >= HTTP_CONNECTIONS_MAX) {
			cut(old);
			break;
		}
	h->n++;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
	struct http *h = arg;
	struct connection *c = *context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		connected(h, mhd, context);
	} else if (c != NULL) {
		DL_DELETE(h->connections, c);
		free(c);
		h->n--;
		*context = NULL;
	}
}

/* ------------------------------------------------------------ turns */

static void arm(struct http *h)
{
	uint64_t now = uv_now(h->loop), wait = UINT64_MAX;
	const struct connection *c;
	MHD_UNSIGNED_LONG_LONG theirs;

	if (MHD_get_timeout(h->daemon, &theirs) == MHD_YES)
		wait = theirs;
	DL_FOREACH(h->connections, c) {
		if (c->cut)
			continue;
		wait = c->until_ms <= now ? 0 : c->until_ms - now < wait ? c->until_ms - now : wait;
		break;
	}
	if (wait == UINT64_MAX)
		loop_timer_stop(h->timer);
	else
		loop_timer_start(h->timer, wait);
}

static void turn(struct http *h)
{
	struct connection *c;

	DL_FOREACH(h->connections, c)
		if (!c->cut && c->until_ms <= uv_now(h->loop))
			cut(c);
	if (MHD_run(h->daemon) != MHD_YES)
		log_debug("http.run", "cause=%s", strerror(errno));
	arm(h);
}

static void on_readable(void *arg, bool readable, bool writable)
{
	(void)readable;
	(void)writable;
	turn(arg);
}

static void on_timer(void *arg)
{
	turn(arg);
}

/* ------------------------------------------------------------ requests */

static enum MHD_Result send_answer(struct MHD_Connection *mhd, const struct http_answer *a, const char *allow)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(a->body.len, a->body.data, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result rc;

	if (r == NULL)
		return MHD_NO;
	/* One request, one connection: whoever keeps it open afterwards only waits for the deadline. */
	if (MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close") != MHD_YES ||
	    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, a->type) != MHD_YES ||
	    (allow != NULL && MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow) != MHD_YES))
		rc = MHD_NO;
	else
		rc = MHD_queue_response(mhd, a->status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *path, const char *method, const char *version,
				  const char *upload, size_t *upload_bytes, void **context)
{
	struct http *h = arg;
	struct http_answer a = { .status = 404, .type = "text/plain; charset=utf-8", .body = BUF_INIT(BODY_MAX) };
	const char *allow = NULL;
	enum MHD_Result rc;

	(void)version;
	(void)upload;
	(void)upload_bytes;
	(void)context;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		a.status = 405;
		allow = "GET, HEAD";
		buf_puts(&a.body, "only GET and HEAD\n");
	} else {
		h->fn(h->arg, path, &a);
		if (a.status == 404 && a.body.len == 0)
			buf_puts(&a.body, "there are /metrics, /healthz and /readyz\n");
		if (!buf_ok(&a.body)) {
			a.status = 500;
			buf_reset(&a.body);
			buf_puts(&a.body, "the answer is too large\n");
		}
	}
	rc = send_answer(mhd, &a, allow);
	buf_free(&a.body);
	return rc;
}

/* ------------------------------------------------------------ life */

static int start(struct http *h, int fd)
{
	const union MHD_DaemonInfo *info;

	/* clang-format off */
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, h,
		MHD_OPTION_LISTEN_SOCKET, fd,
		/* more than we keep, so that those that are being closed keep nobody out */
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)(4 * HTTP_CONNECTIONS_MAX),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(HTTP_DEADLINE_MS / 1000),
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_END);
	/* clang-format on */
	if (h->daemon == NULL) {
		close(fd);
		return ST_IO;
	}
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	h->timer = loop_timer_new(h->loop, on_timer, h);
	h->watch = info != NULL ? loop_watch_new(h->loop, info->epoll_fd, on_readable, h) : NULL;
	return h->timer != NULL && h->watch != NULL ? loop_watch_set(h->watch, true, false) : ST_NOMEM;
}

int http_new(struct http **ret, uv_loop_t *loop, const struct http_address *address, http_fn fn, void *arg,
	     char ret_text[HTTP_HOST_MAX + 16], struct err *err)
{
	struct http *h = calloc(1, sizeof(*h));
	char text[HTTP_HOST_MAX + 16];
	int rc, fd = -1;

	if (h == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	*h = (struct http){ .loop = loop, .fn = fn, .arg = arg };
	rc = http_listen(&fd, text, address, err);
	if (rc == 0 && start(h, fd) != 0)
		rc = err_set(err, ST_IO, "cannot serve HTTP on %s: %s", text, strerror(errno));
	if (rc != 0) {
		http_free(h);
		return rc;
	}
	if (ret_text != NULL)
		memcpy(ret_text, text, sizeof(text));
	*ret = h;
	return 0;
}

void http_free(struct http *h)
{
	if (h == NULL)
		return;
	loop_watch_free(h->watch);
	loop_timer_free(h->timer);
	if (h->daemon != NULL)
		MHD_stop_daemon(h->daemon);
	free(h);
}
