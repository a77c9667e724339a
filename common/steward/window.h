/*
 * window.h - how many rows the next statement of a walk looks at, and when the producer may push. Pure.
 */
#ifndef DROVER_STEWARD_WINDOW_H
#define DROVER_STEWARD_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_FIRST_ROWS 2000
#define WINDOW_DENSE_ROWS 20000              /* largest while most rows are pending: what it finds has to fit in memory */
#define WINDOW_SPARSE_ROWS 200000            /* largest while few are */
#define WINDOW_SLOW_MS 400                   /* a statement that took longer is halved ... */
#define WINDOW_FAST_MS 100                   /* ... one that took less may grow */
#define WINDOW_FOUND_BYTES (2 * 1024 * 1024) /* of keys that one statement may bring */

/* The size of windows, which follows what the last ones took and found. */
struct window {
	uint64_t rows;      /* to look at next */
	uint64_t least;     /* not below this, unless the predicate raises */
	uint64_t row_bytes; /* a key brought by the last window, on average; 0: not known */
};

void window_init(struct window *w, uint64_t least_rows);

/* It went well: @scanned rows looked at, @found pending, in @elapsed_ms. @want: rows of one batch, so that a sparse table grows full ones. */
void window_went(struct window *w, uint64_t scanned, uint64_t found, uint64_t want, uint64_t elapsed_ms);

/* It took too long, or raised: half of it. @floor: not below; returns false if it was there already. */
bool window_halve(struct window *w, uint64_t floor);

/* What one statement may find at most: bounded in bytes by what keys took so far. */
uint64_t window_found_max(const struct window *w);

/* High and low water: above the high mark nothing is pushed until the low one is reached. */
struct water {
	bool ebbing; /* over the high mark, waiting for the low one */
};

/**
 * How many jobs may be pushed now, 0 for none. Marks: @max_jobs and @max_bytes are the high ones, half of each the low ones.
 * @bytes 0: not known.
 */
uint64_t water_room(struct water *w, uint64_t jobs, uint64_t bytes, uint64_t max_jobs, uint64_t max_bytes);

#endif
