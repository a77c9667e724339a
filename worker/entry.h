/*
 * entry.h - a job that this worker holds the lease of: a stream entry, read and checked.
 *
 * Entries are owned by the migration they came with (on its `held` list) until they are settled.
 */
#ifndef DROVER_WORKER_ENTRY_H
#define DROVER_WORKER_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "core/err.h"
#include "core/util.h"
#include "job/codec.h"

#define ENTRY_ID_MAX 44 /* bytes of "milliseconds-sequence", with the final NUL */

struct entry_id {
	uint64_t ms, seq;
};

struct entry {
	struct entry_id id;
	struct job job;                      /* its key points into `payload` */
	uint64_t read_ms;                    /* when its lease began, if it was just read; 0: not known */
	unsigned deliveries;                 /* a hint of Redis's: how often it was handed out; 0: just read */
	bool taken_over;                     /* from a consumer that went quiet */
	bool newer;                          /* of a later version, nothing of `job` is known: only to be left to others */
	bool lost;                           /* another consumer has taken it over: said once */
	bool settling;                       /* Redis was told that it is done, later or back: a renewal behind that does not find it */
	struct entry *held_prev, *held_next; /* all that is held of the migration */
	struct entry *prev, *next;           /* the queue it waits in, until it is part of a run */
	size_t payload_bytes;
	char payload[];
};

size_t entry_id_print(struct entry_id id, char out[ENTRY_ID_MAX]); /* its length */
bool entry_id_parse(const char *s, size_t n, struct entry_id *ret);
int entry_id_compare(struct entry_id a, struct entry_id b); /* as strcmp() */

/* NULL: out of memory. Free with free(). */
struct entry *entry_new(struct entry_id id, const char *payload, size_t bytes, const struct job *job);

/* What an answer of Redis holds, one by one. @entry NULL: a foreign entry that should be dropped, @id says which. @why: what
 * is wrong with it, or with one that is newer; otherwise NULL. */
typedef void (*entry_fn)(void *arg, struct entry *entry, struct entry_id id, const char *why);

/**
 * Entries as XREADGROUP lists them under a stream: [[id, [field, value ..]], ..]. Anything else in @list is passed over; never crashes, whatever the
 * answer looks like. Entries given to @fn are the callee's. ST_NOMEM ends it early.
 */
MUST_CHECK int entry_read_list(const redisReply *list, entry_fn fn, void *arg);

/* A stream's part of XREADGROUP's answer [[name, entries], ..]: its name and its entries; false if there is none at @i. */
bool entry_stream_at(const redisReply *reply, size_t i, const char **ret_name, size_t *ret_len, const redisReply **ret_list);

#endif
