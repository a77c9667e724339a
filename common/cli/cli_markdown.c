/* The reference for docs/, from the tables. */
#include <string.h>

#include "cli/cli_private.h"
#include "core/text.h"

/* A cell of a table: what Markdown would take as markup is escaped, a line end is a blank. */
static void cell(struct buf *out, const char *text)
{
	for (; text != NULL && *text != '\0'; text++) {
		if (strchr("|<>*_\\", *text) != NULL)
			buf_putc(out, '\\');
		buf_putc(out, *text == '\n' ? ' ' : *text);
	}
}

static void code(struct buf *out, const char *text)
{
	if (cli_is_empty(text))
		return;
	buf_putc(out, '`');
	for (; *text != '\0'; text++) {
		if (*text == '|')
			buf_putc(out, '\\'); /* parts cells even inside of code */
		buf_putc(out, *text);
	}
	buf_putc(out, '`');
}

static void option_row(struct buf *out, const struct cli_option *o)
{
	buf_puts(out, "| ");
	if (o->short_name != 0)
		buf_printf(out, "`-%c`, ", o->short_name);
	buf_printf(out, "`%s%s%s` | ", o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
	cell(out, o->help);
	if (o->type == CLI_CHOICE && o->arg != NULL) {
		for (const char *const *c = o->choices; *c != NULL; c++) {
			buf_puts(out, c == o->choices ? ": " : c[1] == NULL ? " or " : ", ");
			code(out, *c);
		}
	}
	if (cli_bounds(o).s[0] != '\0')
		buf_printf(out, " (%s)", cli_bounds(o).s);
	if (o->repeatable || (o->type == CLI_LIST && o->arg != NULL))
		buf_puts(out, "; may be repeated");
	buf_puts(out, " | ");
	code(out, o->def);
	buf_puts(out, " | ");
	code(out, o->env);
	if (o->secret && o->env != NULL)
		buf_printf(out, ", or `%s_FILE` names a file", o->env);
	buf_puts(out, " |\n");
}

static void options(struct buf *out, const struct cli_option *table, const char *title)
{
	bool titled = false;

	for (const struct cli_option *o = table; o != NULL && o->name != NULL; o++) {
		if (o->hidden)
			continue;
		if (!titled || o->group != NULL) {
			buf_printf(out, "\n%s%s%s", o->group != NULL ? "**" : "", o->group != NULL ? o->group : title,
				   o->group != NULL ? "**" : "");
			buf_puts(out, *title == '\0' && o->group == NULL ? "" : "\n\n");
			buf_puts(out, "| option | meaning | default | environment |\n| --- | --- | --- | --- |\n");
		}
		titled = true;
		option_row(out, o);
	}
}

static void examples(struct buf *out, const struct cli_example *e)
{
	if (e == NULL || e->command == NULL)
		return;
	buf_puts(out, "\nExamples:\n\n```sh\n");
	for (; e->command != NULL; e++)
		buf_printf(out, "%s%s%s\n", e->command, cli_is_empty(e->what) ? "" : "   # ", e->what != NULL ? e->what : "");
	buf_puts(out, "```\n");
}

static void texts(struct buf *out, const struct cli_text *list, const char *title, const char *name, const char *text)
{
	if (list == NULL || list->name == NULL)
		return;
	buf_printf(out, "\n## %s\n\n| %s | %s |\n| --- | --- |\n", title, name, text);
	for (; list->name != NULL; list++) {
		buf_printf(out, "| `%s` | ", list->name);
		cell(out, list->text);
		buf_puts(out, " |\n");
	}
}

static void exits(struct buf *out, const struct cli_program *program)
{
	const struct cli_text *e;

	buf_puts(out, "\n## Exit statuses\n\n| status | meaning |\n| --- | --- |\n");
	for (size_t i = 0; (e = cli_exit_at(program, NULL, i)) != NULL; i++) {
		buf_printf(out, "| %s | ", e->name);
		cell(out, e->text);
		buf_puts(out, " |\n");
	}
}

static void command_section(struct buf *out, const struct cli_program *program, const struct cli_command *c)
{
	bool has_args = !cli_is_empty(c->args);

	buf_printf(out, "\n## %s %s\n\n", program->name, c->name);
	buf_printf(out, "`%s %s [OPTION...]%s%s`: %s.\n", program->name, c->name, has_args ? " " : "", has_args ? c->args : "", c->summary);
	if (!cli_is_empty(c->help))
		buf_printf(out, "\n%s\n", c->help);
	options(out, c->options, "");
	examples(out, c->examples);
	for (const struct cli_text *e = c->exits; e != NULL && e->name != NULL; e++) {
		buf_printf(out, "%sExit status %s: ", e == c->exits ? "\n" : "", e->name);
		cell(out, e->text);
		buf_puts(out, ".\n");
	}
}

static void command_list(struct buf *out, const struct cli_program *program)
{
	const struct cli_command *c;

	buf_puts(out, "\n| command | does |\n| --- | --- |\n");
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++) {
		if (c->hidden)
			continue;
		buf_printf(out, "| [`%s %s`](#%s-", program->name, c->name, program->name);
		for (const char *p = c->name; *p != '\0'; p++)
			buf_putc(out, *p == ' ' ? '-' : *p);
		buf_puts(out, ") | ");
		cell(out, c->summary);
		buf_puts(out, " |\n");
	}
}

int cli_markdown(struct buf *out, const struct cli_program *program)
{
	const struct cli_command *c;

	buf_printf(out, "# %s\n\n<!-- Made from the option and command tables in the source; change those, not this page. -->\n\n",
		   program->name);
	cell(out, program->summary);
	buf_puts(out, ".\n");
	if (!cli_is_empty(program->help))
		buf_printf(out, "\n%s\n", program->help);
	if (program->commands != NULL) {
		command_list(out, program);
		buf_puts(out, "\n## Options of every command\n");
	} else {
		buf_puts(out, "\n## Options\n");
	}
	options(out, program->options, "");
	texts(out, program->env, "Environment", "variable", "meaning");
	exits(out, program);
	examples(out, program->examples);
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++)
		if (!c->hidden)
			command_section(out, program, c);
	return buf_ok(out) ? 0 : ST_LIMIT;
}
