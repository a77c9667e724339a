/*
 * pace.h - how large a transaction should be, learnt from those just done: the time of a row, and from it the rows that fit into a target.
 *
 * Pure: no clock, no database. One per migration and worker.
 */
#ifndef DROVER_WORKER_PACE_H
#define DROVER_WORKER_PACE_H

#include <stdint.h>

#define PACE_FIRST_ROWS 200 /* of the first transaction, of which nothing is known */
#define PACE_LEAST_ROWS 50
#define PACE_MOST_ROWS 10000
#define PACE_CLASSES 16 /* of sizes, each twice the one before */

/* All zeros: nothing is known. */
struct pace {
	double us, rows;     /* of the last transactions, older ones counting less and less */
	double largest_rows; /* of one lately */
	double floor_us
		[PACE_CLASSES]; /* per row, at best, among transactions of like size; rises slowly, for tables are not alike all over */
	double slow;            /* what the last ones took, in times of their floor */
};

/* A transaction that had @rows rows to do took @us from its first byte to the answer to its commit. */
void pace_note(struct pace *p, uint64_t rows, uint64_t us);

/* Rows that take about @target_ms, at most twice as many as one transaction had lately. */
uint64_t pace_rows(const struct pace *p, double target_ms);

/* How many times longer than at best transactions take now; 1 while nothing is known. */
double pace_slowdown(const struct pace *p);

#endif
