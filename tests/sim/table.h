/*
 * table.h - the crash table of docs/delivery.md, drawn from the world: whoever dies, at each point where he can, and what becomes of it.
 */
#ifndef DROVER_TESTS_SIM_TABLE_H
#define DROVER_TESTS_SIM_TABLE_H

#include <stdbool.h>
#include <stdio.h>

/* In Markdown. */
void table_print(FILE *out);

/* Is it in this file, as it would be printed now? */
bool table_is_in(const char *path);

#endif
