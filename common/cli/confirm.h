/*
 * confirm.h - asks before something is lost.
 */
#ifndef DROVER_CLI_CONFIRM_H
#define DROVER_CLI_CONFIRM_H

#include <stdbool.h>

#include "core/err.h"
#include "core/util.h"

/**
 * Ask "@question [y/N] " on the terminal.
 *
 * @yes  the --yes flag: no question is asked.
 *
 * Returns 0 for yes. ST_REFUSED for anything else, and when stdin or stderr is no terminal: then the error says to give --yes.
 */
MUST_CHECK int cli_confirm(const char *question, bool yes, struct err *err);

#endif
