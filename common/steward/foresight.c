#include "steward/foresight.h"

#include <math.h>

#define KEEP 0.5 /* of what is known, per change */

static uint64_t within(double ms, uint64_t most)
{
	return ms < FORESIGHT_SOON_MS ? FORESIGHT_SOON_MS : ms < (double)most ? (uint64_t)ms : most;
}

uint64_t foresight_look(struct foresight *f, int64_t left, uint64_t now_ms)
{
	double elapsed = (double)(now_ms - f->changed_ms), ahead;

	/* From more than were counted to few of them says nothing. */
	if (left < f->left && f->left <= FORESIGHT_MOST) {
		double each = elapsed / (double)(f->left - left);

		f->each_ms = f->each_ms > 0 ? KEEP * f->each_ms + (1 - KEEP) * each : each;
	}
	if (left != f->left) {
		f->changed_ms = now_ms;
		elapsed = 0;
	}
	f->left = left;
	if (left > FORESIGHT_MOST)
		return FORESIGHT_FAR_MS;
	ahead = f->each_ms * (double)left - elapsed;
	return within(fabs(ahead) / 2, ahead > 0 && left > FORESIGHT_NEAR ? FORESIGHT_FAR_MS : FORESIGHT_NEAR_MS);
}
