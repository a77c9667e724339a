/*
 * cli.h - a program's commands and options as tables, and the parsed call.
 *
 * One description drives everything: parsing and its errors, `--help`, bash completion and the tables in docs/. Tables are
 * static, constant, and end with `{ 0 }`. Commands and options are looked up by name, so a table reads like the manual.
 *
 *   static const struct cli_option produce_options[] = {
 *	{ "--batch-size", .arg = "N", .env = "DROVER_BATCH_SIZE", .type = CLI_U64, .def = "1000", .min = 1, .max = 100000,
 *	  .help = "rows per job in batch mode" },
 *	{ "--wait", .help = "stay until every job is done" },
 *	{ 0 },
 *   };
 *   static const struct cli_command commands[] = {
 *	{ "produce", .args = "FILE", .min_args = 1, .max_args = 1, .summary = "push the jobs of a migration",
 *	  .options = produce_options, .run = cmd_produce },
 *	{ 0 },
 *   };
 *
 * The command line beats the environment, the environment beats the default. `--opt value`, `--opt=value`, `-o value`, `-ovalue`,
 * options anywhere, `--` ends them, `--flag=false` takes back a flag that the environment sets. Every value is checked while
 * parsing: the getters cannot fail.
 */
#ifndef DROVER_CLI_CLI_H
#define DROVER_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"

/* Exit statuses; docs and --help list them. */
enum cli_exit {
	CLI_EXIT_OK = 0,
	CLI_EXIT_ERROR = 1,
	CLI_EXIT_USAGE = 2,
	CLI_EXIT_NOT_CLEAN = 3,    /* verify found rows */
	CLI_EXIT_DEAD_LETTERS = 4, /* finished, with dead letters */
	CLI_EXIT_INTERRUPTED = 130,
};

enum cli_type {
	CLI_STR,           /* any text; a flag when `arg` is NULL */
	CLI_U64,           /* min..max */
	CLI_I64,           /* any */
	CLI_DURATION,      /* milliseconds; min..max in milliseconds */
	CLI_DURATION_LIST, /* "1,5,30" */
	CLI_BYTES,         /* min..max in bytes */
	CLI_RATE,          /* per second */
	CLI_PERCENT,       /* 0..100 */
	CLI_CHOICE,        /* one of `choices` */
	CLI_LIST,          /* "a,b,c"; a repeated option adds to it */
};

struct cli_option {
	const char *name;           /* "--batch-size" */
	const char *arg;            /* what the help calls its value ("N"); NULL: a flag */
	const char *env;            /* "DROVER_BATCH_SIZE"; NULL: none */
	const char *def;            /* default, as it would be typed; NULL: none */
	const char *help;           /* one sentence, no capital, no full stop; the default is added to it */
	enum cli_type type;         /* only with `arg` */
	uint64_t min, max;          /* bounds, included; max 0: none */
	const char *const *choices; /* CLI_CHOICE: ends with NULL */
	const char *group;          /* heading in the help from this option on; NULL: as before */
	const char *complete;       /* kind of value for completion: "migrations", "files", words ("dead queued"), or NULL */
	char short_name;            /* 'n' for -n; 0: none */
	bool repeatable;            /* may be given several times; otherwise that is an error */
	bool secret;                /* overwritten in argv once read, never printed in an error; `env`_FILE may name a file with it */
	bool hidden;                /* not in help, completion or docs */
};

struct cli_example {
	const char *command; /* "drover produce 0001_pages.sql --wait" */
	const char *what;    /* "push every job and stay until the last is done" */
};

struct cli_text { /* a row of a list of names and meanings: environment variables, exit statuses */
	const char *name;
	const char *text;
};

struct cli_call;

/**
 * Do the command. Returns 0, an exit status above 0 (enum cli_exit), or a negative enum status with @err set, which cli_main() prints.
 * @ctx is what was given to cli_main().
 */
typedef int (*cli_run_fn)(const struct cli_call *call, void *ctx, struct err *err);

struct cli_command {
	const char *name;            /* "failed", or two words: "failed show" */
	const char *args;            /* "FILE", "NAME [KEY=VALUE...]"; NULL or "": none */
	unsigned min_args, max_args; /* CLI_ARGS_ANY: no ceiling */
	const char *summary;         /* one line */
	const char *help;            /* paragraphs, parted by an empty line; `backticks` are kept in Markdown */
	const struct cli_example *examples;
	const struct cli_option *options;
	const struct cli_text *exits; /* its own meanings of exit statuses, beside 0, 1 and 2; NULL: none */
	const char *complete;         /* what its arguments are: "migrations", "workers", "config" (both are asked for),
					  "files", "commands", words ("all now"), one for the first and one for the others ("migrations,files"), or NULL */
	cli_run_fn run;
	bool hidden;
};

#define CLI_ARGS_ANY 1000000u

struct cli_program {
	const char *name; /* "drover" */
	const char *version;
	const char *summary;
	const char *help;
	const char *args;                   /* programs without commands: what the help calls their arguments; NULL: they take none */
	const struct cli_command *commands; /* NULL: options alone, and `run` below */
	const struct cli_option *options;   /* for every command; --help and --version are there by themselves */
	const struct cli_text *env;         /* variables that are not an option's: PGPASSFILE, NO_COLOR ... */
	const struct cli_text *exits;
	const struct cli_example *examples;
	cli_run_fn run;
	/* Names of a kind ("migrations", "workers", "config") for completion; @prefix is what was typed. Errors are not shown. NULL: none. */
	int (*complete)(void *ctx, const struct cli_call *call, const char *kind, struct strvec *ret);
};

/* Options that both programs have; put those that fit into `cli_program.options`. */
/* clang-format off */
#define CLI_OPTION_DATABASE_URL { "--database-url", .arg = "URL", .env = "DATABASE_URL", .secret = true, \
	.help = "PostgreSQL: a libpq URI or conninfo; PG* variables and .pgpass work as with psql" }
#define CLI_OPTION_REDIS_URL { "--redis-url", .arg = "URL", .env = "REDIS_URL", .secret = true, \
	.help = "redis://[user:password@]host:port[/db], rediss:// for TLS, unix:///path, redis+sentinel://host:port,host:port/MASTER[/db]" }
#define CLI_TEXT_PASSWORDS { "DATABASE_PASSWORD, REDIS_PASSWORD, REDIS_SENTINEL_PASSWORD", \
	"what the URLs leave out; with _FILE at the end of the name: the file with it" }
#define CLI_OPTION_JSON { "--json", .env = "DROVER_JSON", .help = "print JSON" }
#define CLI_OPTION_NO_COLOR { "--no-color", .env = "DROVER_NO_COLOR", .help = "no colours, as with NO_COLOR" }
#define CLI_OPTION_QUIET { "--quiet", .short_name = 'q', .env = "DROVER_QUIET", .help = "print results and errors alone" }
#define CLI_OPTION_VERBOSE { "--verbose", .short_name = 'v', .env = "DROVER_VERBOSE", .help = "say more of what happens" }
#define CLI_OPTION_YES { "--yes", .short_name = 'y', .env = "DROVER_YES", .help = "do not ask" }
/* clang-format on */

/* ------------------------------------------------------------ the parsed call */

enum cli_source { CLI_FROM_NOWHERE, CLI_FROM_DEFAULT, CLI_FROM_ENV, CLI_FROM_LINE };

struct cli_value {
	const struct cli_option *option;
	enum cli_source source;
	struct strvec given; /* as texts; more than one only if repeatable */
	union {
		uint64_t u64; /* CLI_U64, CLI_DURATION (ms), CLI_BYTES */
		int64_t i64;
		double number; /* CLI_RATE, CLI_PERCENT */
		bool flag;
	};
	struct strvec list;  /* CLI_LIST */
	uint64_t *durations; /* CLI_DURATION_LIST, ms */
	size_t ndurations;
};

struct cli_call {
	const struct cli_program *program;
	const struct cli_command *command; /* NULL: program without commands, or none was named */
	char **args;                       /* positional arguments, without the command's name; NULL at the end */
	unsigned nargs;
	/* private */
	struct cli_value *values;
	size_t nvalues;
	struct strvec words;
};

/**
 * Read a command line. Values given as secrets are copied, then overwritten in @argv.
 * ST_USAGE with one line that names the nearest option or command, ST_NOMEM. The call must be closed, on failure too.
 * With --help or --version given, missing arguments are no error.
 */
MUST_CHECK int cli_parse(struct cli_call *call, const struct cli_program *program, int argc, char **argv, struct err *err);
void cli_call_close(struct cli_call *call);

/* Getters. A name that is not in the tables is a bug of the caller and aborts. Strings are borrowed from the call. */
bool cli_flag(const struct cli_call *call, const char *name);
const char *cli_str(const struct cli_call *call, const char *name); /* the text as given, any type; NULL: not given, no default */
uint64_t cli_u64(const struct cli_call *call, const char *name);    /* 0 if not given and without default */
int64_t cli_i64(const struct cli_call *call, const char *name);
uint64_t cli_duration_ms(const struct cli_call *call, const char *name);
const uint64_t *cli_durations_ms(const struct cli_call *call, const char *name, size_t *ret_n);
uint64_t cli_bytes(const struct cli_call *call, const char *name);
double cli_rate(const struct cli_call *call, const char *name);               /* per second; 0 if not given */
double cli_percent(const struct cli_call *call, const char *name);            /* 0..100 */
const struct strvec *cli_list(const struct cli_call *call, const char *name); /* CLI_LIST; may be empty */
const struct strvec *cli_strs(const struct cli_call *call, const char *name); /* repeatable: each text as given */
bool cli_given(const struct cli_call *call, const char *name);                /* by command line or environment */
enum cli_source cli_source(const struct cli_call *call, const char *name);
bool cli_has(const struct cli_call *call, const char *name); /* does this command or program know the option? */

/* ------------------------------------------------------------ running */

/**
 * Everything from argv to the exit status: parses, answers `--help`, `--version`, `help [COMMAND]`, `completion bash` (programs
 * without commands: `--completion bash`) and the hidden `__complete KIND [PREFIX]` and `__markdown` (`--markdown`) itself, runs the command, prints an
 * error as one line on stderr ("drover: ..."; with --json as {"error": {...}}).
 */
int cli_main(const struct cli_program *program, int argc, char **argv, void *ctx);

/* 0 and above: itself; ST_USAGE 2; ST_INTERRUPTED 130; others 1. */
int cli_exit_status(int rc);

/* The error line for stderr, as cli_main() prints it. */
void cli_print_error(const struct cli_program *program, bool json, const struct err *err);

/* ------------------------------------------------------------ generated texts */

/* Help of the program (@command NULL) or of one command, in lines of @width columns. */
int cli_help(struct buf *out, const struct cli_program *program, const struct cli_command *command, unsigned width, bool color);

/* A script for bash: `source <(drover completion bash)`. */
int cli_completion_bash(struct buf *out, const struct cli_program *program);

/* Reference for docs/: the commands, their options, variables, examples, exit statuses. */
int cli_markdown(struct buf *out, const struct cli_program *program);

/**
 * Mistakes in the tables themselves, for a unit test of each program: an option twice, one name that takes a value in one command and none in
 * another, a default that does not parse, no help. Returns 0, or ST_CONFIG with the first mistake.
 */
MUST_CHECK int cli_check(const struct cli_program *program, struct err *err);

#endif
