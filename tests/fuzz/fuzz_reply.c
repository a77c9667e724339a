/* Any bytes as Redis's answer to XREADGROUP or to a take-over: hiredis parses, we read entries; never a crash or a leak. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "worker/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(void *arg, struct entry *e, struct entry_id id, const char *why)
{
	char text[ENTRY_ID_MAX];

	(void)arg;
	if ((e == NULL) != (why != NULL))
		abort();
	entry_id_print(id, text);
	free(e);
}

/* hiredis itself allocates what a length claims: such an answer is the server's, not a stream's, and no concern of this test. */
static int has_large_number(const uint8_t *data, size_t size)
{
	size_t digits = 0;

	for (size_t i = 0; i < size; i++) {
		digits = data[i] >= '0' && data[i] <= '9' ? digits + 1 : 0;
		if (digits > 4)
			return 1;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	redisReader *reader;
	const redisReply *list;
	const char *name;
	void *reply = NULL;
	size_t len;

	if (has_large_number(data, size))
		return 0;
	reader = redisReaderCreate();
	if (reader == NULL)
		return 0;
	redisReaderFeed(reader, (const char *)data, size);
	while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
		if (entry_read_list(reply, take, NULL) != 0)
			abort();
		for (size_t i = 0; entry_stream_at(reply, i, &name, &len, &list); i++)
			if (entry_read_list(list, take, NULL) != 0)
				abort();
		freeReplyObject(reply);
		reply = NULL;
	}
	redisReaderFree(reader);
	return 0;
}
