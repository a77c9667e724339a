/*
 * keys.h - the names of everything that Drover keeps in Redis.
 *
 * All keys of one migration share a hash tag. @installation is drover.meta's: letters, digits and hyphens.
 */
#ifndef DROVER_JOB_KEYS_H
#define DROVER_JOB_KEYS_H

#include <stdint.h>

#define JOB_KEY_NAME_MAX 160 /* bytes, with the final NUL */
#define JOB_GROUP "workers"  /* the streams' consumer group */
#define JOB_FIELD "j"        /* an entry's only field */

struct job_keys {
	char jobs[JOB_KEY_NAME_MAX];    /* stream: jobs that are ready or leased */
	char delayed[JOB_KEY_NAME_MAX]; /* sorted set: payloads by the time they are due, in ms of the server's clock */
	char marker[JOB_KEY_NAME_MAX];  /* string: migrations.push_seq of the last push, decimal */
};

/* Installations longer than 64 bytes are cut. */
void job_keys_make(struct job_keys *ret, const char *installation, int32_t migration);

/* A worker's liveness key: a string with a TTL. @out has JOB_KEY_NAME_MAX bytes; names longer than 64 bytes are cut. */
void job_worker_key(char *out, const char *installation, const char *worker);

/* What wakes an installation's workers (queue/bell.h): a stream with a TTL. @out has JOB_KEY_NAME_MAX bytes. */
void job_bell_key(char *out, const char *installation);

#endif
