#include "queue/bell.h"

#include "core/util.h"
#include "redis/redis_sync.h"

void bell_ring(struct redis_sync *r, const char *installation)
{
	char key[JOB_KEY_NAME_MAX];
	const char *add[] = BELL_ADD(key);
	const char *expire[] = BELL_EXPIRE(key);

	job_bell_key(key, installation);
	if (redis_append_argv(r, NULL, ARRAY_SIZE(add), add, NULL) != 0)
		return;
	if (redis_append_argv(r, NULL, ARRAY_SIZE(expire), expire, NULL) != 0)
		return;
	redis_discard(r);
}
