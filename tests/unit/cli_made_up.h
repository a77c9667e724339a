/*
 * cli_made_up.h - programs that there are not, as tables: with every kind of option, argument and command.
 */
#ifndef DROVER_TESTS_CLI_MADE_UP_H
#define DROVER_TESTS_CLI_MADE_UP_H

#include "cli/cli.h"

extern const struct cli_program cli_made_up; /* with commands */
extern const struct cli_program cli_lone;    /* without */

/* What most of their commands do. */
int cli_run_nothing(const struct cli_call *call, void *ctx, struct err *err);

/* Of each test: an environment that says nothing. */
int cli_set_up(void **state);

#endif
