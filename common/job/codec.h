/*
 * codec.h - the payload of a job: what a stream entry's field "j" and a member of the delayed set hold.
 *
 * A msgpack array, first its version, then a letter:
 *
 *   [1, "B", number]            a batch that is a range of keys
 *   [1, "L", number]            a batch that is a list of keys (the ledger has them)
 *   [1, "R", window, [k1, ..]]  one row: the window it was found in, and its key as text, an element per column
 *   [1, "R", window, [k1, ..], position]   the same, with its place among the rows of the window, in key order, from 1
 *   [1, "F", id]                a dead letter that is replayed, or a row's next attempt
 *
 * Payloads come from Redis, where anyone may have written them: reading is strict and bounded, and nothing of it is ever
 * executed. msgpack-c writes them; reading is done here, since its unpacker allocates what a header claims before it has seen it.
 */
#ifndef DROVER_JOB_CODEC_H
#define DROVER_JOB_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

#define JOB_VERSION 1
#define JOB_PAYLOAD_MAX 65536 /* bytes; a row whose key does not fit is found by a batch of its own instead */
#define JOB_KEY_COLUMNS_MAX 4

enum job_kind {
	JOB_BATCH = 'B',
	JOB_LIST = 'L',
	JOB_ROW = 'R',
	JOB_FAILED = 'F',
};

struct job_text {
	const char *s; /* not NUL-terminated */
	size_t n;      /* bytes */
};

struct job {
	enum job_kind kind;
	int64_t number;   /* of the batch, the window, or the dead letter; at least 1 */
	int64_t position; /* JOB_ROW: its place in the window, from 1; 0: not known */
	unsigned columns; /* JOB_ROW: 1..JOB_KEY_COLUMNS_MAX, otherwise 0 */
	struct job_text key[JOB_KEY_COLUMNS_MAX];
};

/* Append the payload. ST_LIMIT if it is over JOB_PAYLOAD_MAX or the buffer's ceiling, ST_INPUT if a key is not UTF-8 or has a NUL. */
MUST_CHECK int job_encode(const struct job *job, struct buf *out);

/**
 * Read a payload. The key's elements point into @bytes. ST_INPUT with what is wrong, for anything that job_encode() would not have written
 * (other encodings of the same integers and strings are accepted). ST_NEWER for one of a later version, of which nothing but its beginning
 * is read: a version and a kind of one byte, as every version has them. Never reads beyond @n.
 */
MUST_CHECK int job_decode(const void *bytes, size_t n, struct job *ret, struct err *err);

#endif
