/*
 * screen.h - a screen on the terminal that is drawn again and again in place, and the terminal as it was before when it ends.
 *
 * It has the alternate buffer, so that what stood on the terminal is there again afterwards; a frame is one write, without clearing before it, so that it does
 * not flicker. Ctrl-Z gives the terminal back for as long as the program is stopped. One screen per process.
 */
#ifndef DROVER_PRODUCER_SCREEN_H
#define DROVER_PRODUCER_SCREEN_H

#include <stdbool.h>

struct screen {
	unsigned width, height; /* as of the last screen_size() */
	bool on;
};

void screen_enter(struct screen *s);

/* Ask the terminal how large it is; true if that is new, or if it was given back meanwhile. */
bool screen_size(struct screen *s);

/* Show @text, its lines no wider than the screen. What does not fit below is counted in the last line. */
void screen_draw(const struct screen *s, const char *text);

/* Give the terminal back; @last (may be NULL) stays on it. */
void screen_leave(struct screen *s, const char *last);

#endif
