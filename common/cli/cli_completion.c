/* A completion script for bash, from the tables. */
#include <stdio.h>
#include <string.h>

#include "cli/cli_private.h"
#include "core/text.h"

#define NAMES_MAX 512

/* Each distinct option of the whole program once: `f` is called with those that are shown. */
static void each_option(struct buf *out, const struct cli_program *program, void f(struct buf *, const struct cli_option *))
{
	const char *seen[NAMES_MAX];
	const struct cli_command *c = cli_command_at(program, 0);
	size_t nseen = 0;

	for (size_t i = 0; i == 0 || (c = cli_command_at(program, i)) != NULL; i++) {
		const struct cli_option *o;

		for (size_t j = 0; (o = cli_option_at(program, c, j)) != NULL; j++) {
			bool known = false;

			for (size_t k = 0; k < nseen; k++)
				known = known || strcmp(seen[k], o->name) == 0;
			if (known || o->hidden || nseen == NAMES_MAX)
				continue;
			seen[nseen++] = o->name;
			f(out, o);
		}
	}
}

static void add_valued(struct buf *out, const struct cli_option *o)
{
	if (o->arg == NULL)
		return;
	buf_printf(out, "|%s", o->name);
	if (o->short_name != 0)
		buf_printf(out, "|-%c", o->short_name);
}

/* What completes a value of this kind, as a command of the script. */
static void add_source(struct buf *out, const char *kind)
{
	static const char *const asked[] = { "migrations", "workers", "config", NULL }; /* of the program, and it of its server */

	if (strcmp(kind, "files") == 0)
		buf_puts(out, "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))");
	else if (text_one_of(kind, asked))
		buf_printf(out,
			   "COMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" __complete %s \"$cur\" 2>/dev/null)\" -- \"$cur\")); "
			   "[[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace",
			   kind);
	else if (strcmp(kind, "commands") == 0)
		buf_puts(out, "COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))");
	else
		buf_printf(out, "COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))", kind);
}

static void add_value_case(struct buf *out, const struct cli_option *o)
{
	if (o->arg == NULL)
		return;
	buf_printf(out, "\t%s) ", o->name);
	if (o->type == CLI_CHOICE) {
		buf_puts(out, "COMPREPLY=($(compgen -W \"");
		for (const char *const *c = o->choices; *c != NULL; c++)
			buf_printf(out, "%s%s", c == o->choices ? "" : " ", *c);
		buf_puts(out, "\" -- \"$cur\")); ");
	} else if (o->complete != NULL) {
		add_source(out, o->complete);
		buf_puts(out, "; ");
	}
	buf_puts(out, "return ;;\n");
}

static void add_options(struct buf *out, const struct cli_program *program, const struct cli_command *c)
{
	const struct cli_option *o;

	buf_printf(out, "\t\t\"%s\") COMPREPLY=($(compgen -W \"", c != NULL ? c->name : "");
	for (size_t i = 0; (o = cli_option_at(program, c, i)) != NULL; i++)
		if (!o->hidden)
			buf_printf(out, "%s%s", i == 0 ? "" : " ", o->name);
	buf_puts(out, "\" -- \"$cur\")) ;;\n");
}

/* "migrations,files": the first argument and all others. */
static void add_sources(struct buf *out, const char *kinds)
{
	const char *comma = strchr(kinds, ',');
	char first[32];

	if (comma == NULL) {
		add_source(out, kinds);
		return;
	}
	snprintf(first, sizeof(first), "%.*s", (int)(comma - kinds), kinds);
	buf_puts(out, "if ((n == 0)); then ");
	add_source(out, first);
	buf_puts(out, "; else ");
	add_source(out, comma + 1);
	buf_puts(out, "; fi");
}

/* "failed" is completed by what belongs to it and by the second words of "failed show". */
static void add_arguments(struct buf *out, const struct cli_program *program, const struct cli_command *c)
{
	const char *separator = c->complete != NULL ? "; " : "";
	size_t n = strlen(c->name);
	const struct cli_command *other;

	buf_printf(out, "\t\"%s\") ", c->name);
	if (c->complete != NULL)
		add_sources(out, c->complete);
	for (size_t i = 0; (other = cli_command_at(program, i)) != NULL; i++) {
		if (strncmp(other->name, c->name, n) != 0 || other->name[n] != ' ')
			continue;
		buf_printf(out, "%sCOMPREPLY+=($(compgen -W \"%s\" -- \"$cur\"))", separator, other->name + n + 1);
		separator = "; ";
	}
	buf_puts(out, " ;;\n");
}

/* The words of the line so far: which command, and which words are values of options. */
static void add_scan(struct buf *out, const struct cli_program *program)
{
	const struct cli_command *c;

	buf_puts(out, "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		      "\t\tword=${COMP_WORDS[i]}\n"
		      "\t\tif [[ $word == '=' ]]; then skip=1; continue; fi\n"
		      "\t\tif [[ $skip ]]; then skip=; continue; fi\n"
		      "\t\tcase $word in\n"
		      "\t\t=");
	each_option(out, program, add_valued);
	buf_puts(out, ") skip=1 ;;\n"
		      "\t\t-*) ;;\n"
		      "\t\t*)\n"
		      "\t\t\tcase \"$command $word\" in\n");
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++)
		if (strchr(c->name, ' ') != NULL)
			buf_printf(out, "\t\t\t\"%s\") command=\"%s\" ;;\n", c->name, c->name);
	buf_puts(out, "\t\t\t\" $word\") command=$word ;;\n"
		      "\t\t\t*) ((n++)) ;;\n"
		      "\t\t\tesac ;;\n"
		      "\t\tesac\n"
		      "\tdone\n");
}

static void add_function_name(struct buf *out, const struct cli_program *program)
{
	buf_putc(out, '_');
	for (const char *p = program->name; *p != '\0'; p++)
		buf_putc(out, *p == '-' ? '_' : *p);
}

int cli_completion_bash(struct buf *out, const struct cli_program *program)
{
	const struct cli_command *c;
	const char *separator = "";

	buf_printf(out, "# bash completion for %s: source <(%s %s bash)\n", program->name, program->name,
		   program->commands != NULL ? "completion" : "--completion");
	add_function_name(out, program);
	buf_puts(out, "()\n{\n"
		      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		      "\tlocal command= word skip= i n=0 commands=\"");
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++) {
		if (c->hidden || strchr(c->name, ' ') != NULL)
			continue;
		buf_printf(out, "%s%s", separator, c->name);
		separator = " ";
	}
	buf_puts(out, "\"\n"
		      "\tCOMPREPLY=()\n"
		      "\tif [[ $cur == '=' ]]; then cur=; elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n");
	add_scan(out, program);
	buf_puts(out, "\tcase $prev in\n");
	each_option(out, program, add_value_case);
	buf_puts(out, "\tesac\n"
		      "\tif [[ $cur == -* ]]; then\n"
		      "\t\tcase $command in\n");
	add_options(out, program, NULL);
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++)
		if (!c->hidden)
			add_options(out, program, c);
	buf_puts(out, "\t\tesac\n"
		      "\t\treturn\n"
		      "\tfi\n"
		      "\tcase $command in\n"
		      "\t\"\") COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\")) ;;\n");
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++)
		if (!c->hidden)
			add_arguments(out, program, c);
	buf_puts(out, "\tesac\n"
		      "}\n"
		      "complete -F ");
	add_function_name(out, program);
	buf_printf(out, " %s\n", program->name);
	return buf_ok(out) ? 0 : ST_LIMIT;
}
