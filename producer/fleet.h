/*
 * fleet.h - a Redis and workers of one's own, as child processes: what `drover run` needs beside a database. Blocking.
 *
 * Everything lives in a temporary directory that is ours alone, and dies with this process however it ends: children get SIGKILL from the
 * kernel when their parent is gone, and a watchdog, which notices by a pipe, removes the directory.
 */
#ifndef DROVER_PRODUCER_FLEET_H
#define DROVER_PRODUCER_FLEET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"
#include "core/util.h"

#define FLEET_WORKERS_MAX 64
#define FLEET_DRAIN_MS 10000 /* longest that workers get to finish what they have begun */

struct fleet_child {
	pid_t pid; /* 0: not running */
	uint64_t started_ms;
	uint64_t again_ms; /* not to be started before */
	unsigned fast;     /* ends in a row within seconds of their start */
};

struct fleet_options {
	unsigned workers;
	unsigned concurrency;
	const char *database_url; /* "": as libpq finds it */
	const char *redis_url;    /* NULL: a private one */
	const char *migration;    /* the only one that they work on */
	bool keep;                /* the directory, with the logs */
	bool verbose;             /* the workers' log to stderr instead of a file */
	void (*say)(void *arg, const char *line);
	void *arg;
};

struct fleet {
	struct fleet_options o;
	char dir[100];
	char redis_url[160]; /* of the private one, or as given */
	char worker_path[4096];
	char redis_path[4096];
	struct fleet_child redis;
	struct fleet_child workers[FLEET_WORKERS_MAX];
	pid_t watchdog;
	int watchdog_pipe; /* our end; -1: none */
};

/**
 * Find the programs, make the directory, start Redis and wait until it listens. Workers are started by fleet_start_workers(), once
 * there is something to do. ST_NOT_FOUND: redis-server or drover-worker is missing; ST_IO.
 */
MUST_CHECK int fleet_open(struct fleet *f, const struct fleet_options *o, struct err *err);

MUST_CHECK int fleet_start_workers(struct fleet *f, struct err *err);

/* Look after the children: what has died is started anew. ST_IO when one dies again and again, with its last words. */
MUST_CHECK int fleet_tick(struct fleet *f, struct err *err);

/* End the workers (they finish what they have begun), then Redis, then remove the directory. Fine on a fleet that did not open. */
void fleet_close(struct fleet *f);

#endif
