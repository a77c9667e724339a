/*
 * foresight.h - when to look again whether the batches that are left are done. Pure.
 */
#ifndef DROVER_STEWARD_FORESIGHT_H
#define DROVER_STEWARD_FORESIGHT_H

#include <stdint.h>

#define FORESIGHT_MOST 100   /* batches: with more of them the end is not in sight */
#define FORESIGHT_SOON_MS 5  /* between two looks at least; ... */
#define FORESIGHT_FAR_MS 400 /* ... at most; ... */
#define FORESIGHT_NEAR_MS 50 /* ... once the end should have come, or might: ... */
#define FORESIGHT_NEAR 16    /* ... so many batches may be done all at once, by as many lanes */

/* Zeroed: nothing is known yet. */
struct foresight {
	int64_t left;        /* batches at the last look; FORESIGHT_MOST + 1: that many or more */
	uint64_t changed_ms; /* of the first look that found so many */
	double each_ms;      /* from one that was done to the next, lately; 0: not known */
};

/**
 * A look at @now_ms found @left batches, or FORESIGHT_MOST + 1: that many or more. Returns the ms until the next look: half of the time that these
 * will take if they go on as those before did, so that a long run is left alone and its end is seen within FORESIGHT_NEAR_MS. What should have been
 * over by now is asked for more and more seldom.
 */
uint64_t foresight_look(struct foresight *f, int64_t left, uint64_t now_ms);

#endif
