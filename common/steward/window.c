#include "steward/window.h"

void window_init(struct window *w, uint64_t least_rows)
{
	w->rows = WINDOW_FIRST_ROWS;
	w->least = least_rows;
	w->row_bytes = 0;
}

void window_went(struct window *w, uint64_t scanned, uint64_t found, uint64_t want, uint64_t elapsed_ms)
{
	uint64_t ceiling = found * 2 >= scanned || found >= want * 4 ? WINDOW_DENSE_ROWS : WINDOW_SPARSE_ROWS;

	if (elapsed_ms > WINDOW_SLOW_MS) {
		window_halve(w, w->least);
		return;
	}
	if (elapsed_ms < WINDOW_FAST_MS)
		w->rows *= 2;
	if (w->rows > ceiling)
		w->rows = ceiling;
	if (w->rows < 1)
		w->rows = 1;
}

bool window_halve(struct window *w, uint64_t floor)
{
	if (w->rows <= floor)
		return false;
	w->rows /= 2;
	if (w->rows < floor)
		w->rows = floor;
	if (w->rows < 1)
		w->rows = 1;
	return true;
}

uint64_t window_found_max(const struct window *w)
{
	uint64_t n;

	/* Keys of unknown width may be of kilobytes: begin with few. */
	if (w->row_bytes == 0)
		return WINDOW_FIRST_ROWS;
	n = WINDOW_FOUND_BYTES / w->row_bytes;
	return n < 100 ? 100 : n > WINDOW_DENSE_ROWS ? WINDOW_DENSE_ROWS : n;
}

uint64_t water_room(struct water *w, uint64_t jobs, uint64_t bytes, uint64_t max_jobs, uint64_t max_bytes)
{
	if (jobs >= max_jobs || bytes >= max_bytes)
		w->ebbing = true;
	else if (jobs <= max_jobs / 2 && bytes <= max_bytes / 2)
		w->ebbing = false;
	return w->ebbing ? 0 : max_jobs - jobs;
}
