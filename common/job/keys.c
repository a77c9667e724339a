#include "job/keys.h"

#include <inttypes.h>
#include <stdio.h>

void job_keys_make(struct job_keys *ret, const char *installation, int32_t migration)
{
	snprintf(ret->jobs, sizeof(ret->jobs), "drover:{%.64s:%" PRId32 "}:jobs", installation, migration);
	snprintf(ret->delayed, sizeof(ret->delayed), "drover:{%.64s:%" PRId32 "}:delayed", installation, migration);
	snprintf(ret->marker, sizeof(ret->marker), "drover:{%.64s:%" PRId32 "}:marker", installation, migration);
}

void job_worker_key(char *out, const char *installation, const char *worker)
{
	snprintf(out, JOB_KEY_NAME_MAX, "drover:%.64s:worker:%.64s", installation, worker);
}

void job_bell_key(char *out, const char *installation)
{
	snprintf(out, JOB_KEY_NAME_MAX, "drover:%.64s:bell", installation);
}
