/*
 * fuzz_redis.c - what comes from Redis, where anyone may have written it, told apart by the first byte as a person would:
 *
 *   an answer to XREADGROUP or to a take-over ("*1\r\n..."): hiredis parses, we read entries
 *   a job's payload (a msgpack array): what is taken for a job can be written again and reads the same
 *   the text of INFO (all else)
 */
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "job/codec.h"
#include "redis/redis_sync.h"
#include "worker/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ------------------------------------------------------------ answers */

static void take(void *arg, struct entry *e, struct entry_id id, const char *why)
{
	char text[ENTRY_ID_MAX];
	struct entry_id back;

	(void)arg;
	must((e == NULL || e->newer) == (why != NULL));
	entry_id_print(id, text);
	must(entry_id_parse(text, strlen(text), &back) && entry_id_compare(id, back) == 0);
	free(e);
}

/* hiredis itself allocates what a length claims: such an answer is the server's, not a stream's, and no concern of this test. */
static bool has_large_number(const uint8_t *data, size_t size)
{
	size_t digits = 0;

	for (size_t i = 0; i < size; i++) {
		digits = isdigit(data[i]) ? digits + 1 : 0;
		if (digits > 4)
			return true;
	}
	return false;
}

static void read_answer(const uint8_t *data, size_t size)
{
	redisReader *reader = has_large_number(data, size) ? NULL : redisReaderCreate();
	const redisReply *list;
	const char *name;
	void *reply = NULL;
	size_t len;

	if (reader == NULL)
		return;
	redisReaderFeed(reader, (const char *)data, size);
	while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
		must(entry_read_list(reply, take, NULL) == 0);
		for (size_t i = 0; entry_stream_at(reply, i, &name, &len, &list); i++)
			must(entry_read_list(list, take, NULL) == 0);
		freeReplyObject(reply);
		reply = NULL;
	}
	redisReaderFree(reader);
}

/* ------------------------------------------------------------ payloads */

static void read_payload(const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(JOB_PAYLOAD_MAX);
	struct job job, back;

	if (job_decode(data, size, &job, NULL) != 0)
		return;
	must(job.number >= 1 && job.columns <= JOB_KEY_COLUMNS_MAX && (job.columns > 0) == (job.kind == JOB_ROW));
	if (job_encode(&job, &b) != 0) {
		must(size > JOB_PAYLOAD_MAX - 64);
		return;
	}
	must(job_decode(b.data, b.len, &back, NULL) == 0);
	must(back.kind == job.kind && back.number == job.number && back.columns == job.columns);
	for (unsigned c = 0; c < job.columns; c++)
		must(back.key[c].n == job.key[c].n && memcmp(back.key[c].s, job.key[c].s, job.key[c].n) == 0);
}

/* ------------------------------------------------------------ INFO */

static void read_info(const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf warning = BUF_INIT(4096);
	struct err err = ERR_INIT;
	struct redis_server s;
	char *text = malloc(size + 1);

	if (text == NULL)
		return;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	redis_server_parse(&s, text);
	if (redis_server_check(&s, &err) == 0)
		must(s.version >= REDIS_VERSION_NEEDED && !s.cluster);
	else
		must(err.code == ST_REFUSED && err.msg[0] != '\0');
	must(redis_server_warning(&s, &warning) == (warning.len > 0));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] != '\0' && strchr("*$:+-_%~,#", data[0]) != NULL)
		read_answer(data, size);
	if (size > 0 && data[0] >= 0x80)
		read_payload(data, size);
	else
		read_info(data, size);
	return 0;
}
