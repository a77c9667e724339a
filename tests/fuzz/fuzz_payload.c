/* Any bytes as a job's payload: never a crash, and what is taken for a job is one that can be written again and reads the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "job/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b = BUF_INIT(JOB_PAYLOAD_MAX);
	struct job job, back;

	if (job_decode(data, size, &job, NULL) == 0) {
		if (job_encode(&job, &b) == 0) {
			if (job_decode(b.data, b.len, &back, NULL) != 0 || back.kind != job.kind || back.number != job.number ||
			    back.columns != job.columns)
				abort();
			for (unsigned c = 0; c < job.columns; c++)
				if (back.key[c].n != job.key[c].n || memcmp(back.key[c].s, job.key[c].s, job.key[c].n) != 0)
					abort();
		} else if (size <= JOB_PAYLOAD_MAX - 64) {
			abort();
		}
	}
	buf_free(&b);
	return 0;
}
