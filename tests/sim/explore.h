/*
 * explore.h - every order in which things can happen in a world: each step that is possible in each state that can be reached, with
 * each answer to each choose(). States that are the same for all that follows are looked at once.
 *
 * In each state no promise may be broken; and from each state a run in which nothing more goes wrong must come to its end, where all
 * rows have met their fate. States are told apart by 128 bits of hash: that two of some millions meet has a chance of less than 1 in
 * 10^24.
 */
#ifndef DROVER_TESTS_SIM_EXPLORE_H
#define DROVER_TESTS_SIM_EXPLORE_H

#include <stddef.h>
#include <stdint.h>

#include "world.h"

struct report {
	uint64_t states, transitions;
	uint64_t ends; /* of the states: where all is over */
	unsigned depth;
	double seconds;
	bool cut;          /* there are more states than it was to look at */
	char wrong[192];   /* what was found; empty: nothing */
	char trace[16384]; /* the steps that lead there, a line each */
};

/* Called for each step made, with the world before and after it; may be NULL. */
struct observer {
	void (*step)(struct observer *o, const struct world *before, struct step s, const struct world *after);
};

/* @most: states at most. Ends at the first thing that is wrong. */
void explore(const struct setup *s, uint64_t most, struct observer *observer, struct report *ret);

#endif
