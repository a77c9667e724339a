/*
 * cli_private.h - what the parts of cli share: walking the tables, with what every program has by itself.
 */
#ifndef DROVER_CLI_CLI_PRIVATE_H
#define DROVER_CLI_CLI_PRIVATE_H

#include "cli/cli.h"

/* The i-th option of a command (its own, the program's, --help and --version), NULL after the last. @command may be NULL. */
const struct cli_option *cli_option_at(const struct cli_program *program, const struct cli_command *command, size_t i);

/* The i-th command with `help` and `completion`, NULL after the last; NULL always for programs without commands. */
const struct cli_command *cli_command_at(const struct cli_program *program, size_t i);
const struct cli_command *cli_find_command(const struct cli_program *program, const char *name);

static inline bool cli_is_empty(const char *s)
{
	return s == NULL || s[0] == '\0';
}

/* Check and convert one value of an option into @v. Errors say what is wrong with the text, not which option it was. */
MUST_CHECK int cli_value_set(struct cli_value *v, const char *text, struct err *err);
void cli_value_close(struct cli_value *v);

/* The built-in commands, told apart in cli_main(). */
enum cli_builtin { CLI_NOT_BUILTIN, CLI_HELP, CLI_COMPLETION, CLI_COMPLETE, CLI_MARKDOWN };
enum cli_builtin cli_builtin(const struct cli_command *command);

/* "1 to 100,000", "at least 5s", "" */
struct text_short cli_bounds(const struct cli_option *option);

/* Exit statuses in order: 0, 1, 2, the command's own, 130. The i-th, NULL after the last. */
const struct cli_text *cli_exit_at(const struct cli_program *program, const struct cli_command *command, size_t i);

#endif
