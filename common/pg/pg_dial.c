#include "pg/pg_dial.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/strvec.h"
#include "core/text.h"
#include "loop/loop.h"

#define HOSTS_MAX 64 /* of the list, after names have become addresses */
#define LIST_BYTES_MAX 16384

struct pg_dial {
	uv_loop_t *loop;
	const struct pg_url *url; /* borrowed */
	pg_dial_fn fn;
	void *arg;
	struct loop_lookup *lookup; /* of hosts.v[at] */
	struct loop_timer *soon;    /* keeps the promise not to answer at once */
	struct strvec hosts, ports; /* as the URL has them; ports: none, one for all, or one each */
	size_t at;
	struct buf host, hostaddr, port; /* the lists for libpq */
	unsigned found;
	char why[256]; /* the last name that was not found */
};

static const char *url_value(const struct pg_url *u, const char *keyword, const char *env)
{
	for (unsigned i = 0; u->keywords[i] != NULL; i++)
		if (strcmp(u->keywords[i], keyword) == 0)
			return u->values[i];
	return getenv(env);
}

void pg_dial_free(struct pg_dial *d)
{
	if (d == NULL)
		return;
	loop_lookup_free(d->lookup);
	loop_timer_free(d->soon);
	strvec_free(&d->hosts);
	strvec_free(&d->ports);
	buf_free(&d->host);
	buf_free(&d->hostaddr);
	buf_free(&d->port);
	free(d);
}

static void add_entry(struct pg_dial *d, const char *address)
{
	const char *comma = d->found > 0 ? "," : "";

	if (d->found == HOSTS_MAX)
		return;
	d->found++;
	buf_printf(&d->host, "%s%s", comma, d->hosts.v[d->at]);
	buf_printf(&d->hostaddr, "%s%s", comma, address);
	if (d->ports.n > 0)
		buf_printf(&d->port, "%s%s", comma, d->ports.v[d->ports.n == 1 ? 0 : d->at]);
}

static void connect_start(struct pg_dial *d)
{
	const char *keywords[PG_URL_MAX + 4], *values[PG_URL_MAX + 4];
	pg_dial_fn fn = d->fn;
	void *arg = d->arg;
	char why[sizeof(d->why)];
	PGconn *conn = NULL;
	unsigned n = 0;

	/* Of a keyword that comes twice, libpq takes the last one. */
	for (unsigned i = 0; d->url->keywords[i] != NULL; i++, n++) {
		keywords[n] = d->url->keywords[i];
		values[n] = d->url->values[i];
	}
	if (d->found > 0) {
		keywords[n] = "host";
		values[n++] = d->host.data;
		keywords[n] = "hostaddr";
		values[n++] = d->hostaddr.data;
		if (d->ports.n > 0) {
			keywords[n] = "port";
			values[n++] = d->port.data;
		}
	}
	keywords[n] = NULL;
	values[n] = NULL;
	snprintf(why, sizeof(why), "%s", d->why);
	if (d->found > 0 || d->hosts.n == 0) {
		conn = PQconnectStartParams(keywords, values, 0);
		snprintf(why, sizeof(why), "out of memory");
	}
	pg_dial_free(d);
	fn(arg, conn, why);
}

static void look_up_next(struct pg_dial *d);

static void on_found(void *arg, const char (*addresses)[LOOP_ADDRESS_MAX], unsigned n, const char *why)
{
	struct pg_dial *d = arg;

	d->lookup = NULL;
	for (unsigned i = 0; i < n; i++)
		add_entry(d, addresses[i]);
	if (n == 0)
		snprintf(d->why, sizeof(d->why), "cannot find the host '%s': %s", d->hosts.v[d->at], why);
	d->at++;
	look_up_next(d);
}

/* Addresses and socket folders need no look-up; they stand in the list as they are. */
static void look_up_next(struct pg_dial *d)
{
	for (; d->at < d->hosts.n; d->at++) {
		const char *host = d->hosts.v[d->at];

		if (host[0] == '\0' || host[0] == '/' || host[0] == '@') {
			add_entry(d, "");
		} else if (loop_is_address(host)) {
			add_entry(d, host);
		} else {
			d->lookup = loop_lookup_new(d->loop, host, on_found, d);
			if (d->lookup != NULL)
				return;
			snprintf(d->why, sizeof(d->why), "out of memory");
		}
	}
	connect_start(d);
}

static void begin(void *arg)
{
	look_up_next(arg);
}

/* Lists that we cannot read as libpq does (an empty entry, counts that differ) are left to libpq. */
static void read_hosts(struct pg_dial *d)
{
	const char *hostaddr = url_value(d->url, "hostaddr", "PGHOSTADDR");
	const char *host = url_value(d->url, "host", "PGHOST");
	const char *port = url_value(d->url, "port", "PGPORT");

	if (host == NULL || host[0] == '\0' || (hostaddr != NULL && hostaddr[0] != '\0'))
		return;
	if (text_split(host, ',', &d->hosts, NULL) != 0 || (port != NULL && text_split(port, ',', &d->ports, NULL) != 0) ||
	    (d->ports.n > 1 && d->ports.n != d->hosts.n)) {
		strvec_free(&d->hosts);
		strvec_init(&d->hosts, HOSTS_MAX);
	}
}

struct pg_dial *pg_dial_new(uv_loop_t *loop, const struct pg_url *url, pg_dial_fn fn, void *arg)
{
	struct pg_dial *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	*d = (struct pg_dial){ .loop = loop, .url = url, .fn = fn, .arg = arg };
	strvec_init(&d->hosts, HOSTS_MAX);
	strvec_init(&d->ports, HOSTS_MAX);
	buf_init(&d->host, LIST_BYTES_MAX);
	buf_init(&d->hostaddr, LIST_BYTES_MAX);
	buf_init(&d->port, LIST_BYTES_MAX);
	d->soon = loop_timer_new(loop, begin, d);
	if (d->soon == NULL) {
		pg_dial_free(d);
		return NULL;
	}
	read_hosts(d);
	loop_timer_start(d->soon, 0);
	return d;
}
