/*
 * fuzz_command.c - any words as the command line of drover or drover-worker, each ended by a line end; the first byte says whose.
 *
 * What is taken is within its bounds; what is not is a mistake of usage, said in words; a secret is gone from argv and in no error.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/console.h"
#include "producer/filter.h"
#include "worker/program.h"

#define WORDS_MAX 64
#define SECRET "Xq7Zk9wV"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static int words_with(int argc, char *const *argv, const char *text)
{
	int n = 0;

	for (int i = 1; i < argc; i++)
		n += strstr(argv[i], text) != NULL;
	return n;
}

/* @typed: the words as they were. A secret may stand in others as well; where the option had it, it is gone. */
static void check_value(const struct cli_value *v, int argc, char *const *argv, char *const *typed)
{
	const struct cli_option *o = v->option;
	char before[64];
	const char *text;

	if (v->source == CLI_FROM_NOWHERE || o->arg == NULL)
		return;
	must(v->given.n > 0);
	text = v->given.v[v->given.n - 1];
	if (o->type == CLI_U64 || o->type == CLI_DURATION || o->type == CLI_BYTES)
		must(v->u64 >= o->min && (o->max == 0 || v->u64 <= o->max));
	if (o->type == CLI_RATE)
		must(v->number > 0);
	if (o->type == CLI_PERCENT)
		must(v->number >= 0 && v->number <= 100);
	snprintf(before, sizeof(before), "%s=", o->name);
	if (o->secret && v->source == CLI_FROM_LINE && strchr(text, '*') == NULL && strstr(before, text) == NULL)
		must(words_with(argc, argv, text) < words_with(argc, typed, text));
}

static void read_line(const struct cli_program *program, int argc, char **argv, char *const *typed)
{
	struct err err = ERR_INIT;
	struct cli_call call;
	int rc = cli_parse(&call, program, argc, argv, &err);

	if (rc == 0)
		for (size_t i = 0; i < call.nvalues; i++)
			check_value(&call.values[i], argc, argv, typed);
	else
		must(rc == ST_USAGE && err.code == ST_USAGE && err.msg[0] != '\0');
	cli_call_close(&call);
}

/* A URL with a password that was typed where none belongs. */
static void check_misplaced(const struct cli_program *program, const char *before)
{
	char name[] = "drover", first[64], url[] = "redis://app:" SECRET "@cache.example:6379";
	char *argv[] = { name, first, url, NULL };
	struct err err = ERR_INIT;
	struct cli_call call;

	strncpy(first, before, sizeof(first) - 1);
	first[sizeof(first) - 1] = '\0';
	if (cli_parse(&call, program, 3, argv, &err) != 0)
		must(strstr(err.msg, SECRET) == NULL);
	cli_call_close(&call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[WORDS_MAX + 1] = { NULL }, *typed[WORDS_MAX] = { NULL }, *text, *save = NULL;
	const struct cli_program *program;
	struct failed_range range;
	struct err err = ERR_INIT;
	int argc = 0;

	if (size < 2 || size > 8192)
		return 0;
	text = calloc(1, size);
	if (text == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	program = data[0] % 2 == 0 ? console_program() : worker_program();
	for (char *word = strtok_r(text, "\n", &save); word != NULL && argc < WORDS_MAX; word = strtok_r(NULL, "\n", &save)) {
		if (filter_parse_range(word, &range, &err) == 0)
			must(range.first >= 1 && range.first <= range.last);
		else
			must(err.code == ST_USAGE && err.msg[0] != '\0');
		typed[argc] = strdup(word);
		must(typed[argc] != NULL);
		argv[argc++] = word;
	}
	if (argc > 1 && strstr(argv[1], SECRET) == NULL)
		check_misplaced(program, argv[1]);
	if (argc > 0)
		read_line(program, argc, argv, typed);
	for (int i = 0; i < argc; i++)
		free(typed[i]);
	free(text);
	return 0;
}
