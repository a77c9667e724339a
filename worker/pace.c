#include "worker/pace.h"

#define KEEP 0.6         /* of what is known, per transaction: half of a change is seen after two */
#define FLOOR_DRIFT 1.01 /* per transaction: half as much again after forty */

static unsigned class_of(uint64_t rows)
{
	unsigned c = 0;

	while (rows > 1 && c < PACE_CLASSES - 1) {
		rows >>= 1;
		c++;
	}
	return c;
}

void pace_note(struct pace *p, uint64_t rows, uint64_t us)
{
	double n = (double)rows, took = (double)(us > 0 ? us : 1), per_row, *floor;

	if (rows == 0)
		return;
	p->us = KEEP * p->us + took;
	p->rows = KEEP * p->rows + n;
	p->largest_rows = n > p->largest_rows ? n : KEEP * p->largest_rows + (1 - KEEP) * n;
	if (rows < PACE_LEAST_ROWS)
		return; /* the end of a batch: mostly the way there and back */
	per_row = took / n;
	floor = &p->floor_us[class_of(rows)];
	*floor = *floor > 0 && *floor * FLOOR_DRIFT < per_row ? *floor * FLOOR_DRIFT : per_row;
	p->slow = p->slow > 0 ? KEEP * p->slow + (1 - KEEP) * per_row / *floor : 1;
}

uint64_t pace_rows(const struct pace *p, double target_ms)
{
	double rows, most = 2 * p->largest_rows;

	if (p->rows <= 0)
		return PACE_FIRST_ROWS;
	rows = target_ms * 1000 * p->rows / p->us;
	rows = rows < most ? rows : most;
	if (rows < PACE_LEAST_ROWS)
		return PACE_LEAST_ROWS;
	return rows < PACE_MOST_ROWS ? (uint64_t)rows : PACE_MOST_ROWS;
}

double pace_slowdown(const struct pace *p)
{
	return p->slow > 1 ? p->slow : 1;
}
