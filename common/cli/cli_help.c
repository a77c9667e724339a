/* Help for people, from the tables. */
#include <stdio.h>
#include <string.h>

#include "cli/cli_private.h"
#include "cli/output.h"
#include "core/text.h"

#define LEFT_MAX 30 /* columns of the left side of a list; longer names get a line of their own */
#define WIDTH_MIN 40
#define WIDTH_MAX 100 /* longer lines are hard to read */

struct page {
	struct buf *out;
	unsigned width;
	bool color;
};

static void heading(const struct page *p, const char *text)
{
	buf_printf(p->out, "\n%s%s:%s\n", out_style_on(OUT_BOLD, p->color), text, out_style_off(OUT_BOLD, p->color));
}

/* "  left      right, wrapped". */
static void row(const struct page *p, const char *left, const char *right, size_t left_width)
{
	CLEANUP(buf_free) struct buf wrapped = BUF_INIT(65536);
	size_t used = text_display_width(left);
	size_t column = left_width + 4;

	buf_printf(p->out, "  %s", left);
	if (cli_is_empty(right)) {
		buf_putc(p->out, '\n');
		return;
	}
	text_add_wrapped(&wrapped, right, column, p->width);
	if (used > left_width)
		buf_printf(p->out, "\n%s\n", wrapped.data);
	else
		buf_printf(p->out, "%*s%s\n", (int)(column - 2 - used), "", wrapped.data + column);
}

/* Paragraphs; lines that begin with a blank stand as they are. */
static void paragraphs(const struct page *p, const char *text)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(65536);

	buf_putc(p->out, '\n');
	while (*text != '\0') {
		size_t n = strcspn(text, "\n");

		buf_reset(&line);
		buf_add(&line, text, n);
		if (line.len > 0 && line.data[0] == ' ')
			buf_puts(p->out, line.data);
		else
			text_add_wrapped(p->out, line.data, 0, p->width);
		buf_putc(p->out, '\n');
		text += n + (text[n] == '\n');
	}
}

/* "  -q, --quiet", "      --limit N". */
static void option_left(struct buf *out, const struct cli_option *o)
{
	if (o->short_name != 0)
		buf_printf(out, "-%c, ", o->short_name);
	else
		buf_puts(out, "    ");
	buf_puts(out, o->name);
	if (o->arg != NULL)
		buf_printf(out, " %s", o->arg);
}

/* What there is to know beside the help text: bounds, choices, default, variable. */
static void option_facts(struct buf *out, const struct cli_option *o)
{
	const char *separator = " (";

	if (o->type == CLI_CHOICE && o->arg != NULL) {
		for (const char *const *c = o->choices; *c != NULL; c++) {
			buf_printf(out, "%s%s", separator, *c);
			separator = " | ";
		}
		separator = "; ";
	}
	if (cli_bounds(o).s[0] != '\0') {
		buf_printf(out, "%s%s", separator, cli_bounds(o).s);
		separator = "; ";
	}
	if (o->repeatable || (o->type == CLI_LIST && o->arg != NULL)) {
		buf_printf(out, "%smay be repeated", separator);
		separator = "; ";
	}
	if (o->def != NULL) {
		buf_printf(out, "%sdefault %s", separator, o->def);
		separator = "; ";
	}
	if (o->env != NULL) {
		buf_printf(out, "%s%s", separator, o->env);
		if (o->secret)
			buf_printf(out, ", or %s_FILE names a file", o->env);
		separator = "; ";
	}
	if (separator[0] == ';')
		buf_putc(out, ')');
}

static void option_rows(const struct page *p, const struct cli_program *program, const struct cli_command *command, const char *title)
{
	CLEANUP(buf_free) struct buf left = BUF_INIT(4096);
	CLEANUP(buf_free) struct buf right = BUF_INIT(65536);
	const struct cli_option *o;
	size_t own = 0;
	bool titled = false;

	for (o = command != NULL ? command->options : NULL; o != NULL && o->name != NULL; o++)
		own++;
	for (size_t i = 0; (o = cli_option_at(program, command, i)) != NULL; i++) {
		if (o->hidden)
			continue;
		if (o->group != NULL || !titled || (i == own && own > 0))
			heading(p, o->group != NULL ? o->group : i == own && own > 0 ? "Options of every command" : title);
		titled = true;
		buf_reset(&left);
		buf_reset(&right);
		option_left(&left, o);
		buf_puts(&right, o->help);
		option_facts(&right, o);
		row(p, left.data, right.data, LEFT_MAX);
	}
}

static void text_rows(const struct page *p, const char *title, const struct cli_text *list)
{
	size_t width = 0;

	if (list == NULL || list->name == NULL)
		return;
	heading(p, title);
	for (const struct cli_text *t = list; t->name != NULL; t++)
		if (strlen(t->name) > width)
			width = strlen(t->name);
	for (const struct cli_text *t = list; t->name != NULL; t++)
		row(p, t->name, t->text, width);
}

static void exit_rows(const struct page *p, const struct cli_program *program, const struct cli_command *command)
{
	const struct cli_text *e;

	heading(p, "Exit status");
	for (size_t i = 0; (e = cli_exit_at(program, command, i)) != NULL; i++)
		row(p, e->name, e->text, 3);
}

static void example_rows(const struct page *p, const struct cli_example *examples)
{
	if (examples == NULL || examples->command == NULL)
		return;
	heading(p, "Examples");
	for (; examples->command != NULL; examples++) {
		buf_printf(p->out, "  %s%s%s\n", out_style_on(OUT_GREEN, p->color), examples->command, out_style_off(OUT_GREEN, p->color));
		if (!cli_is_empty(examples->what)) {
			text_add_wrapped(p->out, examples->what, 6, p->width);
			buf_putc(p->out, '\n');
		}
	}
}

static void command_rows(const struct page *p, const struct cli_program *program)
{
	const struct cli_command *c;
	size_t width = 0;

	heading(p, "Commands");
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++)
		if (!c->hidden && strlen(c->name) > width)
			width = strlen(c->name);
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++)
		if (!c->hidden)
			row(p, c->name, c->summary, width);
}

static void synopsis(const struct page *p, const struct cli_program *program, const struct cli_command *command)
{
	const char *args = command != NULL ? command->args : program->args;

	heading(p, "Usage");
	buf_printf(p->out, "  %s", program->name);
	if (command != NULL)
		buf_printf(p->out, " %s", command->name);
	else if (program->commands != NULL)
		buf_puts(p->out, " COMMAND");
	buf_puts(p->out, " [OPTION...]");
	if (!cli_is_empty(args))
		buf_printf(p->out, " %s", args);
	buf_putc(p->out, '\n');
}

static void title(const struct page *p, const struct cli_program *program, const struct cli_command *command)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(4096);

	buf_puts(&line, program->name);
	if (command != NULL)
		buf_printf(&line, " %s", command->name);
	buf_printf(&line, ": %s", command != NULL ? command->summary : program->summary);
	text_add_wrapped(p->out, line.data, 0, p->width);
	buf_putc(p->out, '\n');
}

int cli_help(struct buf *out, const struct cli_program *program, const struct cli_command *command, unsigned width, bool color)
{
	const struct page p = {
		.out = out,
		.width = width < WIDTH_MIN ? WIDTH_MIN :
			 width > WIDTH_MAX ? WIDTH_MAX :
					     width,
		.color = color,
	};
	const char *help = command != NULL ? command->help : program->help;

	title(&p, program, command);
	synopsis(&p, program, command);
	if (!cli_is_empty(help))
		paragraphs(&p, help);
	if (command == NULL && program->commands != NULL)
		command_rows(&p, program);
	option_rows(&p, program, command, command == NULL && program->commands != NULL ? "Options of every command" : "Options");
	if (command == NULL)
		text_rows(&p, "Environment", program->env);
	example_rows(&p, command != NULL ? command->examples : program->examples);
	exit_rows(&p, program, command);
	if (command == NULL && program->commands != NULL)
		buf_printf(out, "\n'%s help COMMAND' explains a command.\n", program->name);
	return buf_ok(out) ? 0 : ST_LIMIT;
}
