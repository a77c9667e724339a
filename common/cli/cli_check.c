/* Mistakes in the tables, found by a unit test instead of by a user. */
#include <string.h>

#include "cli/cli_private.h"

static int check_option(const struct cli_option *o, struct err *err)
{
	struct cli_value v = { .option = o };
	int rc;

	if (strncmp(o->name, "--", 2) != 0)
		return err_set(err, ST_CONFIG, "option '%s' does not begin with '--'", o->name);
	if (cli_is_empty(o->help))
		return err_set(err, ST_CONFIG, "option '%s' has no help", o->name);
	if (o->arg == NULL && (o->type != CLI_STR || o->repeatable))
		return err_set(err, ST_CONFIG, "option '%s' is a flag (no `arg`), but has a type", o->name);
	if (o->type == CLI_CHOICE && o->choices == NULL)
		return err_set(err, ST_CONFIG, "option '%s' has no choices", o->name);
	if (o->max != 0 && o->min > o->max)
		return err_set(err, ST_CONFIG, "option '%s' has its bounds the wrong way round", o->name);
	if (o->secret && (o->def != NULL || o->type != CLI_STR))
		return err_set(err, ST_CONFIG, "option '%s' is secret: it has no default and any text will do", o->name);
	if (o->def == NULL)
		return 0;
	strvec_init(&v.given, 16);
	strvec_init(&v.list, 4096);
	rc = cli_value_set(&v, o->def, err);
	cli_value_close(&v);
	if (rc == 0)
		return 0;
	err_wrap(err, "default of option '%s'", o->name);
	return err_set(err, ST_CONFIG, "%s", err != NULL ? err->msg : "");
}

/* Options of one command among themselves. */
static int check_options(const struct cli_program *program, const struct cli_command *c, struct err *err)
{
	const struct cli_option *a, *b;

	for (size_t i = 0; (a = cli_option_at(program, c, i)) != NULL; i++) {
		int rc = check_option(a, err);

		if (rc != 0)
			return rc;
		for (size_t j = 0; j < i; j++) {
			b = cli_option_at(program, c, j);
			if (strcmp(a->name, b->name) == 0 || (a->short_name != 0 && a->short_name == b->short_name))
				return err_set(err, ST_CONFIG, "option '%s' collides with '%s'", a->name, b->name);
		}
	}
	return 0;
}

/* One name has to take a value in all commands or in none: `--name X COMMAND` is read before the command is known. */
static int check_against_others(const struct cli_program *program, const struct cli_command *c, struct err *err)
{
	const struct cli_option *a, *b;
	const struct cli_command *other;

	for (size_t i = 0; (a = cli_option_at(program, c, i)) != NULL; i++)
		for (size_t k = 0; (other = cli_command_at(program, k)) != NULL; k++)
			for (size_t j = 0; (b = cli_option_at(program, other, j)) != NULL; j++)
				if (strcmp(a->name, b->name) == 0 && (a->arg == NULL) != (b->arg == NULL))
					return err_set(err, ST_CONFIG, "option '%s' takes a value in '%s' and none in '%s'", a->name,
						       b->arg != NULL ? other->name : c->name, b->arg != NULL ? c->name : other->name);
	return 0;
}

static int check_command(const struct cli_program *program, const struct cli_command *c, struct err *err)
{
	if (cli_is_empty(c->summary))
		return err_set(err, ST_CONFIG, "command '%s' has no summary", c->name);
	if (c->run == NULL && cli_builtin(c) == CLI_NOT_BUILTIN)
		return err_set(err, ST_CONFIG, "command '%s' does nothing", c->name);
	if (c->min_args > c->max_args)
		return err_set(err, ST_CONFIG, "command '%s' needs more arguments than it takes", c->name);
	if (c->max_args > 0 && cli_is_empty(c->args))
		return err_set(err, ST_CONFIG, "command '%s' has arguments without a name", c->name);
	if (cli_find_command(program, c->name) != c)
		return err_set(err, ST_CONFIG, "command '%s' is there twice", c->name);
	return 0;
}

int cli_check(const struct cli_program *program, struct err *err)
{
	const struct cli_command *c;
	int rc;

	if (cli_is_empty(program->summary) || cli_is_empty(program->version))
		return err_set(err, ST_CONFIG, "'%s' has no summary or no version", program->name);
	if (program->commands == NULL && program->run == NULL)
		return err_set(err, ST_CONFIG, "'%s' has neither commands nor `run`", program->name);
	rc = check_options(program, NULL, err);
	for (size_t i = 0; rc == 0 && (c = cli_command_at(program, i)) != NULL; i++) {
		rc = check_command(program, c, err);
		if (rc == 0)
			rc = check_options(program, c, err);
		if (rc == 0)
			rc = check_against_others(program, c, err);
	}
	return rc;
}
