/* Walking the tables: a command's options are its own, then the program's, then those that every program has. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli_private.h"
#include "core/text.h"

static const struct cli_option builtin_options[] = {
	{ "--help", .short_name = 'h', .help = "show this help" },
	{ "--version", .short_name = 'V', .help = "show the version" },
	{ 0 },
};

static const char *const shells[] = { "bash", NULL };

static const struct cli_option lone_options[] = {
	{ "--completion", .arg = "SHELL", .type = CLI_CHOICE, .choices = shells, .help = "print a completion script: bash" },
	{ "--markdown", .help = "print the reference in Markdown", .hidden = true },
	{ 0 },
};

static const struct cli_example completion_examples[] = {
	{ "source <(drover completion bash)", "in this shell; put the line into ~/.bashrc for all" },
	{ 0 },
};

static const struct cli_command builtin_commands[] = {
	{ "help", .args = "[COMMAND]", .max_args = 2, .summary = "explain a command, or list them all", .complete = "commands",
	  .help = "Says what a command does, its options with their defaults and environment variables, examples, and exit statuses." },
	{ "completion", .args = "bash", .min_args = 1, .max_args = 1, .summary = "print a completion script for bash", .complete = "bash",
	  .examples = completion_examples, .help = "Completes commands, options, files, and the names of migrations." },
	{ "__complete", .args = "KIND [PREFIX]", .min_args = 1, .max_args = 2, .summary = "names for the completion script",
	  .hidden = true },
	{ "__markdown", .summary = "the reference in Markdown", .hidden = true },
	{ 0 },
};

enum cli_builtin cli_builtin(const struct cli_command *command)
{
	static const enum cli_builtin kinds[] = { CLI_HELP, CLI_COMPLETION, CLI_COMPLETE, CLI_MARKDOWN };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (command == &builtin_commands[i])
			return kinds[i];
	return CLI_NOT_BUILTIN;
}

const struct cli_option *cli_option_at(const struct cli_program *program, const struct cli_command *command, size_t i)
{
	const struct cli_option *tables[] = {
		command != NULL ? command->options : NULL,
		program->options,
		program->commands == NULL ? lone_options : NULL,
		builtin_options,
	};

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct cli_option *o = tables[t]; o != NULL && o->name != NULL; o++)
			if (i-- == 0)
				return o;
	return NULL;
}

const struct cli_command *cli_command_at(const struct cli_program *program, size_t i)
{
	const struct cli_command *c;

	if (program->commands == NULL)
		return NULL;
	for (c = program->commands; c->name != NULL; c++)
		if (i-- == 0)
			return c;
	for (c = builtin_commands; c->name != NULL; c++)
		if (i-- == 0)
			return c;
	return NULL;
}

const struct cli_command *cli_find_command(const struct cli_program *program, const char *name)
{
	const struct cli_command *c;

	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static const struct cli_text *meaning_of(const struct cli_text *table, int status)
{
	for (; table != NULL && table->name != NULL; table++)
		if (strtol(table->name, NULL, 10) == status)
			return table;
	return NULL;
}

/* In the order of their numbers; what a command says itself of a status goes before what is said of all. */
const struct cli_text *cli_exit_at(const struct cli_program *program, const struct cli_command *command, size_t i)
{
	static const struct cli_text all[] = { { "0", "done" }, { "1", "error" }, { "2", "wrong usage" }, { "130", "interrupted" }, { 0 } };
	const struct cli_text *own = command != NULL ? command->exits : program->exits;

	for (int status = 0; status <= UINT8_MAX; status++) {
		const struct cli_text *e = meaning_of(own, status);

		if (e == NULL)
			e = meaning_of(all, status);
		if (e != NULL && i-- == 0)
			return e;
	}
	return NULL;
}
