/*
 * block.h - how one migration stands, in a few lines of a screen, or in one of a log.
 */
#ifndef DROVER_PRODUCER_BLOCK_H
#define DROVER_PRODUCER_BLOCK_H

#include "cli/output.h"
#include "core/strvec.h"
#include "producer/standing.h"
#include "producer/track.h"

enum out_style block_state_style(const char *state);

/* On a screen: bar, rate and time left; state and jobs; what holds it up, @most reasons. */
void block_put(const struct out *out, const struct standing *s, const struct track *t, const struct strvec *why, size_t most);

/* Where there is no terminal: one line for each look. @t NULL: there is no pace. */
void block_put_line(const struct out *out, const struct standing *s, const struct track *t, const struct strvec *why);

#endif
