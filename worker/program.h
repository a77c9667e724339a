/*
 * program.h - drover-worker's command line, as a table: parsing, help, completion and docs/worker.md all read it.
 */
#ifndef DROVER_WORKER_PROGRAM_H
#define DROVER_WORKER_PROGRAM_H

#include "cli/cli.h"

const struct cli_program *worker_program(void);

#endif
