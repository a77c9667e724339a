/* A command line becomes a call: first the command is found, then every word is read by its tables. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_private.h"
#include "core/secret.h"
#include "core/text.h"

#define WORDS_MAX 100000 /* positional arguments: `retry` takes many ids */
#define GIVEN_MAX 4096   /* repetitions of one option */
#define NAMES_MAX 256    /* commands, or options of one command */
#define OWNERS_MAX 4000  /* bytes */

/* ------------------------------------------------------------ looking up */

static bool is_option(const char *word)
{
	/* "-" is standard input, "-5" a number */
	return word[0] == '-' && word[1] != '\0' && !isdigit((unsigned char)word[1]);
}

/* Does `--name`, `--name=...` or `-n...` mean this option? */
static bool names_option(const char *word, const struct cli_option *o)
{
	size_t n = strlen(o->name);

	if (word[1] == '-')
		return strncmp(word, o->name, n) == 0 && (word[n] == '\0' || word[n] == '=');
	return o->short_name != 0 && word[1] == o->short_name;
}

static const struct cli_option *find_option(const struct cli_program *program, const struct cli_command *command, const char *word)
{
	const struct cli_option *o;

	for (size_t i = 0; (o = cli_option_at(program, command, i)) != NULL; i++)
		if (names_option(word, o))
			return o;
	return NULL;
}

/* A server's URL has a password in it, and errors show the words that they are about. */
static bool is_server(const char *word)
{
	return (strstr(word, "://") != NULL && strchr(word, '@') != NULL) || strstr(word, "password=") != NULL;
}

static int misplaced_server(struct err *err)
{
	return err_set(
		err, ST_USAGE,
		"a server's URL stands where none belongs: give it as --database-url or --redis-url, or in DATABASE_URL or REDIS_URL");
}

/* Any command's: before the command is known, to tell values from words. */
static const struct cli_option *find_anywhere(const struct cli_program *program, const char *word)
{
	const struct cli_option *o = find_option(program, NULL, word);
	const struct cli_command *c;

	for (size_t i = 0; o == NULL && (c = cli_command_at(program, i)) != NULL; i++)
		o = find_option(program, c, word);
	return o;
}

static bool takes_next_word(const struct cli_option *o, const char *word)
{
	if (o->arg == NULL)
		return false;
	return word[1] == '-' ? strchr(word, '=') == NULL : word[2] == '\0';
}

/* The first two words that are neither options nor their values. */
static size_t first_words(const struct cli_program *program, int argc, char **argv, const char *words[2])
{
	size_t n = 0;

	for (int i = 1; i < argc && n < 2; i++) {
		const struct cli_option *o;

		if (strcmp(argv[i], "--") == 0)
			break;
		if (!is_option(argv[i])) {
			words[n++] = argv[i];
			continue;
		}
		o = find_anywhere(program, argv[i]);
		if (o != NULL && takes_next_word(o, argv[i]))
			i++;
	}
	return n;
}

static int unknown_command(const struct cli_program *program, const char *word, struct err *err)
{
	const char *names[NAMES_MAX + 1];
	const struct cli_command *c;
	const char *nearest;
	size_t n = 0;

	if (is_server(word))
		return misplaced_server(err);
	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL && n < NAMES_MAX; i++)
		if (!c->hidden)
			names[n++] = c->name;
	names[n] = NULL;
	nearest = text_nearest(word, names);
	if (nearest != NULL)
		return err_set(err, ST_USAGE, "unknown command '%s': did you mean '%s'?", word, nearest);
	return err_set(err, ST_USAGE, "unknown command '%s': '%s help' lists them", word, program->name);
}

/* *ret_words: how many words the command's name has. */
static int find_command(struct cli_call *call, int argc, char **argv, unsigned *ret_words, struct err *err)
{
	const struct cli_program *program = call->program;
	const char *words[2];
	char name[128];
	size_t n;

	*ret_words = 0;
	if (program->commands == NULL)
		return 0;
	n = first_words(program, argc, argv, words);
	if (n == 0)
		return 0;
	if (n == 2) {
		snprintf(name, sizeof(name), "%s %s", words[0], words[1]);
		call->command = cli_find_command(program, name);
		*ret_words = 2;
	}
	if (call->command == NULL) {
		call->command = cli_find_command(program, words[0]);
		*ret_words = 1;
	}
	return call->command != NULL ? 0 : unknown_command(program, words[0], err);
}

/* ------------------------------------------------------------ reading */

static const char *command_name(const struct cli_call *call)
{
	return call->command != NULL ? call->command->name : call->program->name;
}

/* "'run', 'produce'": the commands that have it, "" where none has. */
static void add_owners(const struct cli_program *program, const char *word, struct buf *out)
{
	const struct cli_option *o;
	const struct cli_command *c;

	for (size_t i = 0; (c = cli_command_at(program, i)) != NULL; i++) {
		o = find_option(program, c, word);
		if (o != NULL && !o->hidden)
			buf_printf(out, "%s'%s'", out->len > 0 ? ", " : "", c->name);
	}
}

static int unknown_option(const struct cli_call *call, const char *word, struct err *err)
{
	CLEANUP(buf_free) struct buf owners = BUF_INIT(OWNERS_MAX);
	const char *names[NAMES_MAX + 1];
	const struct cli_option *o;
	char name[128];
	size_t n = 0;
	const char *nearest;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	for (size_t i = 0; (o = cli_option_at(call->program, call->command, i)) != NULL && n < NAMES_MAX; i++)
		if (!o->hidden)
			names[n++] = o->name;
	names[n] = NULL;
	add_owners(call->program, word, &owners);
	if (owners.len > 0)
		return err_set(err, ST_USAGE, "'%s' has no option '%s': it belongs to %s", command_name(call), name, owners.data);
	nearest = text_nearest(name, names);
	if (nearest != NULL)
		return err_set(err, ST_USAGE, "unknown option '%s': did you mean '%s'?", name, nearest);
	if (call->command == NULL)
		return err_set(err, ST_USAGE, "unknown option '%s': '%s --help' lists them", name, call->program->name);
	return err_set(err, ST_USAGE, "unknown option '%s': '%s help %s' lists them", name, call->program->name, call->command->name);
}

static struct cli_value *value_of(struct cli_call *call, const struct cli_option *o)
{
	for (size_t i = 0; i < call->nvalues; i++)
		if (call->values[i].option == o)
			return &call->values[i];
	return NULL;
}

static int set_from_line(struct cli_call *call, const struct cli_option *o, const char *text, struct err *err)
{
	struct cli_value *v = value_of(call, o);
	int rc;

	if (v->source == CLI_FROM_LINE && o->arg != NULL && !o->repeatable && o->type != CLI_LIST)
		return err_set(err, ST_USAGE, "option '%s' is given twice", o->name);
	if (!o->secret && is_server(text))
		return misplaced_server(err);
	rc = cli_value_set(v, text, err);
	v->source = CLI_FROM_LINE;
	if (rc != 0) {
		err_wrap(err, "option '%s'", o->name);
		if (err != NULL && rc != ST_NOMEM)
			err->code = ST_USAGE;
		return rc == ST_NOMEM ? rc : ST_USAGE;
	}
	return 0;
}

static int no_value(const struct cli_option *o, struct err *err)
{
	return err_set(err, ST_USAGE, "option '%s' needs a value: %s %s", o->name, o->name, o->arg);
}

/* `--name`, `--name=value`, `--name value`. *ret_used: words used. */
static int read_long(struct cli_call *call, char **argv, int left, int *ret_used, struct err *err)
{
	const struct cli_option *o = find_option(call->program, call->command, argv[0]);
	char *text;
	int rc;

	*ret_used = 1;
	if (o == NULL)
		return unknown_option(call, argv[0], err);
	text = strchr(argv[0], '=');
	if (text != NULL) {
		text++;
	} else if (o->arg == NULL) {
		return set_from_line(call, o, "true", err);
	} else {
		/* A forgotten value must not eat the next option; `--name=--x` says it is meant. */
		if (left < 2 || (strncmp(argv[1], "--", 2) == 0 && argv[1][2] != '\0'))
			return no_value(o, err);
		text = argv[1];
		*ret_used = 2;
	}
	rc = set_from_line(call, o, text, err);
	if (o->secret)
		memset(text, '*', strlen(text)); /* out of the process title */
	return rc;
}

/* `-n`, `-n5`, `-n 5`, `-qv`. */
static int read_short(struct cli_call *call, char **argv, int left, int *ret_used, struct err *err)
{
	*ret_used = 1;
	for (char *p = argv[0] + 1; *p != '\0'; p++) {
		const char one[3] = { '-', *p, '\0' };
		const struct cli_option *o = find_option(call->program, call->command, one);
		int rc;

		if (o == NULL)
			return unknown_option(call, one, err);
		if (o->arg != NULL) {
			char *text = p[1] != '\0' ? p + 1 : argv[1];

			if (p[1] == '\0' && left < 2)
				return no_value(o, err);
			*ret_used = p[1] != '\0' ? 1 : 2;
			rc = set_from_line(call, o, text, err);
			if (o->secret)
				memset(text, '*', strlen(text));
			return rc;
		}
		rc = set_from_line(call, o, "true", err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int read_words(struct cli_call *call, int argc, char **argv, unsigned skip, struct err *err)
{
	bool only_args = false;

	for (int i = 1; i < argc;) {
		int used = 1;
		int rc = 0;

		if (only_args || !is_option(argv[i])) {
			if (skip > 0 && !only_args)
				skip--;
			else if (is_server(argv[i]))
				return misplaced_server(err);
			else
				rc = strvec_push(&call->words, argv[i]);
			if (rc != 0)
				return err_set(err, rc, rc == ST_LIMIT ? "more than %d arguments" : "out of memory", WORDS_MAX);
		} else if (strcmp(argv[i], "--") == 0) {
			only_args = true;
		} else if (argv[i][1] == '-') {
			rc = read_long(call, argv + i, argc - i, &used, err);
		} else {
			rc = read_short(call, argv + i, argc - i, &used, err);
		}
		if (rc != 0)
			return rc;
		i += used;
	}
	return 0;
}

/* ------------------------------------------------------------ environment, defaults, arguments */

/* A secret's variable may name a file instead: NAME_FILE. */
static int from_env(const struct cli_option *o, char **ret, struct err *err)
{
	const char *text = o->env != NULL ? getenv(o->env) : NULL;

	if (o->env != NULL && o->secret)
		return secret_from_env(ret, o->env, err);
	*ret = cli_is_empty(text) ? NULL : strdup(text);
	return cli_is_empty(text) || *ret != NULL ? 0 : err_set(err, ST_NOMEM, "out of memory");
}

static int fill_in(struct cli_value *v, struct err *err)
{
	const struct cli_option *o = v->option;
	CLEANUP(secret_freep) char *text = NULL;
	int rc;

	if (v->source == CLI_FROM_LINE)
		return 0;
	rc = from_env(o, &text, err);
	if (rc == 0 && text != NULL) {
		v->source = CLI_FROM_ENV;
		rc = cli_value_set(v, text, err); /* NOLINT(clang-analyzer-unix.Malloc): does not know that CLEANUP frees the text */
		if (rc != 0)
			err_wrap(err, "environment variable %s", o->env);
	} else if (rc == 0 && o->def != NULL) {
		v->source = CLI_FROM_DEFAULT;
		rc = cli_value_set(v, o->def, err);
		if (rc != 0)
			err_wrap(err, "default of option '%s'", o->name);
	}
	if (rc != 0 && rc != ST_NOMEM) {
		rc = ST_USAGE;
		if (err != NULL)
			err->code = rc;
	}
	return rc;
}

static int check_args(const struct cli_call *call, struct err *err)
{
	const struct cli_command *c = call->command;
	const char *program = call->program->name;
	unsigned max = c != NULL ? c->max_args : call->program->commands == NULL && call->program->args != NULL ? CLI_ARGS_ANY : 0;

	if (c != NULL && call->nargs < c->min_args)
		return err_set(err, ST_USAGE, "'%s' needs %s: '%s help %s' explains it", c->name, c->args, program, c->name);
	if (call->nargs <= max)
		return 0;
	if (max == 0)
		return err_set(err, ST_USAGE, "'%s' takes no arguments: what is '%s'?", command_name(call), call->args[0]);
	return err_set(err, ST_USAGE, "'%s' takes at most %u argument%s: '%s' is too many", command_name(call), max, max == 1 ? "" : "s",
		       call->args[max]);
}

static int make_values(struct cli_call *call, struct err *err)
{
	const struct cli_option *o;
	size_t n = 0;

	while (cli_option_at(call->program, call->command, n) != NULL)
		n++;
	call->values = calloc(n, sizeof(*call->values));
	if (call->values == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; (o = cli_option_at(call->program, call->command, i)) != NULL; i++) {
		call->values[i].option = o;
		strvec_init(&call->values[i].given, GIVEN_MAX);
		strvec_init(&call->values[i].list, GIVEN_MAX);
	}
	call->nvalues = n;
	return 0;
}

int cli_parse(struct cli_call *call, const struct cli_program *program, int argc, char **argv, struct err *err)
{
	unsigned skip;
	int rc;

	*call = (struct cli_call){ .program = program };
	strvec_init(&call->words, WORDS_MAX);
	call->args = call->words.v;
	rc = find_command(call, argc, argv, &skip, err);
	if (rc == 0)
		rc = make_values(call, err);
	if (rc == 0)
		rc = read_words(call, argc, argv, skip, err);
	if (rc != 0)
		return rc;
	call->args = call->words.v;
	call->nargs = (unsigned)call->words.n;
	if (cli_flag(call, "--help") || cli_flag(call, "--version"))
		return 0; /* help must not fail over a wrong environment */
	for (size_t i = 0; i < call->nvalues; i++) {
		rc = fill_in(&call->values[i], err);
		if (rc != 0 && cli_builtin(call->command) == CLI_NOT_BUILTIN)
			return rc;
	}
	return check_args(call, err);
}

void cli_call_close(struct cli_call *call)
{
	for (size_t i = 0; i < call->nvalues; i++)
		cli_value_close(&call->values[i]);
	free(call->values);
	call->values = NULL;
	call->nvalues = 0;
	strvec_free(&call->words);
}
