/*
 * test_cli.c - command lines, help, completion and Markdown from one set of tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/confirm.h"

/* ------------------------------------------------------------ a program to test with */

static int run_nothing(const struct cli_call *call, void *ctx, struct err *err)
{
	(void)call;
	(void)ctx;
	(void)err;
	return 0;
}

static int run_status(const struct cli_call *call, void *ctx, struct err *err)
{
	*(unsigned *)ctx += call->nargs + 1;
	if (cli_flag(call, "--watch"))
		return err_set(err, ST_REFUSED, "cannot watch '%s'", call->nargs > 0 ? call->args[0] : "");
	return cli_flag(call, "--quiet") ? CLI_EXIT_DEAD_LETTERS : 0;
}

static int complete(void *ctx, const struct cli_call *call, const char *kind, struct strvec *ret)
{
	(void)ctx;
	(void)call;
	if (strcmp(kind, "migrations") != 0)
		return ST_NOT_FOUND;
	strvec_push(ret, "0002_users");
	return strvec_push(ret, "0001_pages");
}

static const char *const modes[] = { "batch", "row", NULL };

static const struct cli_option produce_options[] = {
	{ "--batch-size", .arg = "N", .env = "T_BATCH_SIZE", .type = CLI_U64, .def = "1000", .min = 1, .max = 100000,
	  .help = "rows per job" },
	{ "--mode", .arg = "MODE", .type = CLI_CHOICE, .choices = modes, .def = "batch", .help = "one job per batch or per row" },
	{ "--wait", .env = "T_WAIT", .help = "stay until all is done" },
	{ "--timeout", .short_name = 't', .arg = "TIME", .type = CLI_DURATION, .min = 100, .max = 60000, .def = "5s",
	  .help = "longest statement" },
	{ "--max-memory", .arg = "SIZE", .type = CLI_BYTES, .min = 1024, .help = "ceiling" },
	{ "--backoff", .arg = "TIMES", .type = CLI_DURATION_LIST, .def = "1,5,30", .help = "waits between attempts" },
	{ "--rate", .arg = "N/s", .type = CLI_RATE, .help = "pace" },
	{ "--breaker", .arg = "PERCENT", .type = CLI_PERCENT, .def = "20%", .help = "pause at this share" },
	{ "--offset", .arg = "N", .type = CLI_I64, .help = "any number" },
	{ "--tag", .arg = "TEXT", .repeatable = true, .help = "a note" },
	{ "--migration", .arg = "NAMES", .type = CLI_LIST, .complete = "migrations", .help = "only these" },
	{ "--inner", .hidden = true, .help = "not for people" },
	{ 0 },
};

static const struct cli_option status_options[] = {
	{ "--watch", .short_name = 'w', .help = "again and again" },
	{ 0 },
};

static const struct cli_option common_options[] = {
	CLI_OPTION_DATABASE_URL, CLI_OPTION_JSON, CLI_OPTION_NO_COLOR, CLI_OPTION_QUIET, CLI_OPTION_VERBOSE, { 0 },
};

static const struct cli_example produce_examples[] = {
	{ "drover produce 0001_pages.sql --wait", "push every job and stay" },
	{ 0 },
};

static const struct cli_text verify_exits[] = { { "3", "rows are left" }, { 0 } };

static const struct cli_command commands[] = {
	{ "produce", .args = "FILE", .min_args = 1, .max_args = 1, .summary = "push the jobs of a migration", .options = produce_options,
	  .help = "Scans the table.\n\nRun again, it goes on where it was.", .examples = produce_examples, .complete = "files",
	  .run = run_nothing },
	{ "status", .args = "[NAME]", .max_args = 1, .summary = "show how far it is", .options = status_options, .complete = "migrations",
	  .run = run_status },
	{ "failed", .args = "[NAME]", .max_args = 1, .summary = "list dead letters", .complete = "migrations", .run = run_nothing },
	{ "failed show", .args = "ID", .min_args = 1, .max_args = 1, .summary = "show one", .run = run_nothing },
	{ "retry", .args = "ID...", .min_args = 1, .max_args = CLI_ARGS_ANY, .summary = "run them again", .run = run_nothing },
	{ "verify", .summary = "prove it", .exits = verify_exits, .run = run_nothing },
	{ "secret", .summary = "hidden", .hidden = true, .run = run_nothing },
	{ 0 },
};

static const struct cli_program program = {
	.name = "drover",
	.version = "1.2.3",
	.summary = "migrates rows",
	.commands = commands,
	.options = common_options,
	.complete = complete,
};

static const struct cli_program lone = {
	.name = "drover-worker",
	.version = "1.2.3",
	.summary = "does the jobs",
	.options = produce_options,
	.run = run_nothing,
};

/* ------------------------------------------------------------ helpers */

struct line {
	char words[32][128];
	char *argv[33];
	int argc;
};

/* "produce x --wait" as argc and argv, in memory that may be written to. */
static void split(struct line *l, const char *text)
{
	l->argc = 0;
	snprintf(l->words[l->argc], sizeof(l->words[0]), "drover");
	l->argv[l->argc] = l->words[l->argc];
	for (l->argc = 1; *text != '\0'; l->argc++) {
		size_t n = strcspn(text, " ");

		assert_true(l->argc < 32 && n < sizeof(l->words[0]));
		memcpy(l->words[l->argc], text, n);
		l->words[l->argc][n] = '\0';
		l->argv[l->argc] = l->words[l->argc];
		text += n + (text[n] == ' ');
	}
	l->argv[l->argc] = NULL;
}

static struct cli_call call;
static struct err err;

static void parse_program(const struct cli_program *p, const char *text)
{
	struct line l;

	split(&l, text);
	err_clear(&err);
	if (cli_parse(&call, p, l.argc, l.argv, &err) != 0)
		fail_msg("'%s': %s", text, err.msg);
}

static void parse(const char *text)
{
	parse_program(&program, text);
}

static void refused(const char *text, const char *message)
{
	struct line l;

	split(&l, text);
	err_clear(&err);
	assert_int_equal(cli_parse(&call, &program, l.argc, l.argv, &err), ST_USAGE);
	assert_int_equal(err.code, ST_USAGE);
	assert_string_equal(err.msg, message);
	cli_call_close(&call);
}

static int set_up(void **state)
{
	(void)state;
	unsetenv("T_BATCH_SIZE");
	unsetenv("T_WAIT");
	unsetenv("DATABASE_URL");
	unsetenv("DROVER_JSON");
	return 0;
}

/* Run the whole program with its output in @out (stdout) and @errors (stderr). */
static int run_main(const struct cli_program *p, const char *text, unsigned *ctx, char *out, char *errors, size_t cap)
{
	FILE *files[2] = { tmpfile(), tmpfile() };
	int saved[2] = { dup(1), dup(2) };
	char *texts[2] = { out, errors };
	struct line l;
	int rc;

	split(&l, text);
	fflush(NULL);
	dup2(fileno(files[0]), 1);
	dup2(fileno(files[1]), 2);
	rc = cli_main(p, l.argc, l.argv, ctx);
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
		assert_int_equal(fseek(files[i], 0, SEEK_SET), 0);
		texts[i][fread(texts[i], 1, cap - 1, files[i])] = '\0';
		fclose(files[i]);
	}
	return rc;
}

/* ------------------------------------------------------------ reading a command line */

static void a_command_with_its_arguments_and_defaults(void **state)
{
	(void)state;
	parse("produce pages.sql");
	assert_string_equal(call.command->name, "produce");
	assert_int_equal(call.nargs, 1);
	assert_string_equal(call.args[0], "pages.sql");
	assert_null(call.args[1]);
	assert_int_equal(cli_u64(&call, "--batch-size"), 1000);
	assert_int_equal(cli_source(&call, "--batch-size"), CLI_FROM_DEFAULT);
	assert_false(cli_given(&call, "--batch-size"));
	assert_string_equal(cli_str(&call, "--mode"), "batch");
	assert_false(cli_flag(&call, "--wait"));
	assert_int_equal(cli_duration_ms(&call, "--timeout"), 5000);
	assert_null(cli_str(&call, "--rate"));
	assert_true(cli_rate(&call, "--rate") == 0);
	assert_int_equal(cli_source(&call, "--rate"), CLI_FROM_NOWHERE);
	assert_true(cli_has(&call, "--json"));
	assert_false(cli_has(&call, "--watch"));
	cli_call_close(&call);
}

static void every_type_is_read(void **state)
{
	const uint64_t *ms;
	size_t n;

	(void)state;
	parse("produce x --batch-size 7 --mode=row --wait --timeout 200ms --max-memory 16MB --backoff 1s,2m --rate 90/m --breaker 5% --offset -5");
	assert_int_equal(cli_u64(&call, "--batch-size"), 7);
	assert_string_equal(cli_str(&call, "--mode"), "row");
	assert_true(cli_flag(&call, "--wait"));
	assert_int_equal(cli_duration_ms(&call, "--timeout"), 200);
	assert_int_equal(cli_bytes(&call, "--max-memory"), 16 << 20);
	ms = cli_durations_ms(&call, "--backoff", &n);
	assert_int_equal(n, 2);
	assert_true(ms[0] == 1000 && ms[1] == 120000);
	assert_true(cli_rate(&call, "--rate") == 1.5);
	assert_true(cli_percent(&call, "--breaker") == 5);
	assert_int_equal(cli_i64(&call, "--offset"), -5);
	cli_call_close(&call);
}

static void options_stand_anywhere_even_before_the_command(void **state)
{
	(void)state;
	parse("--batch-size 5 --json produce --timeout=1s x --wait");
	assert_string_equal(call.command->name, "produce");
	assert_string_equal(call.args[0], "x");
	assert_int_equal(cli_u64(&call, "--batch-size"), 5);
	assert_true(cli_flag(&call, "--json"));
	cli_call_close(&call);
}

static void two_dashes_end_the_options(void **state)
{
	(void)state;
	parse("retry -- --wait -5 failed");
	assert_int_equal(call.nargs, 3);
	assert_string_equal(call.args[0], "--wait");
	assert_string_equal(call.args[2], "failed");
	cli_call_close(&call);
	parse("retry -5 - 7");
	assert_int_equal(call.nargs, 3);
	cli_call_close(&call);
}

static void short_options_join(void **state)
{
	(void)state;
	parse("status -qwv pages");
	assert_true(cli_flag(&call, "--quiet") && cli_flag(&call, "--watch") && cli_flag(&call, "--verbose"));
	cli_call_close(&call);
	parse("produce -t2s x");
	assert_int_equal(cli_duration_ms(&call, "--timeout"), 2000);
	cli_call_close(&call);
	parse("produce -t 3s x");
	assert_int_equal(cli_duration_ms(&call, "--timeout"), 3000);
	assert_string_equal(call.args[0], "x");
	cli_call_close(&call);
}

static void a_command_may_be_two_words(void **state)
{
	(void)state;
	parse("failed show 7");
	assert_string_equal(call.command->name, "failed show");
	assert_string_equal(call.args[0], "7");
	cli_call_close(&call);
	parse("failed --json show 7");
	assert_string_equal(call.command->name, "failed show");
	cli_call_close(&call);
	parse("failed pages");
	assert_string_equal(call.command->name, "failed");
	assert_string_equal(call.args[0], "pages");
	cli_call_close(&call);
}

static void the_line_beats_the_environment_which_beats_the_default(void **state)
{
	(void)state;
	setenv("T_BATCH_SIZE", "77", 1);
	setenv("T_WAIT", "yes", 1);
	parse("produce x");
	assert_int_equal(cli_u64(&call, "--batch-size"), 77);
	assert_int_equal(cli_source(&call, "--batch-size"), CLI_FROM_ENV);
	assert_true(cli_given(&call, "--batch-size"));
	assert_true(cli_flag(&call, "--wait"));
	cli_call_close(&call);
	parse("produce x --batch-size=8 --wait=no");
	assert_int_equal(cli_u64(&call, "--batch-size"), 8);
	assert_false(cli_flag(&call, "--wait"));
	cli_call_close(&call);
	setenv("T_BATCH_SIZE", "", 1);
	parse("produce x");
	assert_int_equal(cli_u64(&call, "--batch-size"), 1000);
	cli_call_close(&call);
}

static void repeated_options_add_up(void **state)
{
	(void)state;
	parse("produce x --tag one --migration a,b --tag=two --migration c");
	assert_int_equal(cli_strs(&call, "--tag")->n, 2);
	assert_string_equal(cli_strs(&call, "--tag")->v[1], "two");
	assert_int_equal(cli_list(&call, "--migration")->n, 3);
	assert_string_equal(cli_list(&call, "--migration")->v[2], "c");
	cli_call_close(&call);
}

static void a_secret_is_wiped_from_the_process_title(void **state)
{
	struct line l;

	(void)state;
	split(&l, "status --database-url=postgres://me:secret@h/d");
	assert_int_equal(cli_parse(&call, &program, l.argc, l.argv, &err), 0);
	assert_string_equal(cli_str(&call, "--database-url"), "postgres://me:secret@h/d");
	assert_string_equal(l.argv[2], "--database-url=************************");
	cli_call_close(&call);
	split(&l, "status --database-url postgres://x");
	assert_int_equal(cli_parse(&call, &program, l.argc, l.argv, &err), 0);
	assert_string_equal(l.argv[3], "************");
	cli_call_close(&call);
}

static void a_url_in_the_wrong_place_is_not_shown(void **state)
{
	static const char *const lines[] = { "redis://:secret@h", "status redis://:secret@h", "produce x postgres://a:secret@h/d",
					     "produce x --batch-size postgres://a:secret@h/d", "status password=secret" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		refused(lines[i], "a server's URL stands where none belongs: give it as --database-url or --redis-url, or in DATABASE_URL "
				  "or REDIS_URL");
}

static void mistakes_get_one_clear_line(void **state)
{
	(void)state;
	refused("produse x", "unknown command 'produse': did you mean 'produce'?");
	refused("zzz", "unknown command 'zzz': 'drover help' lists them");
	refused("produce x --batchsize 5", "unknown option '--batchsize': did you mean '--batch-size'?");
	refused("produce x --zzz=1", "unknown option '--zzz': 'drover help produce' lists them");
	refused("--zzz", "unknown option '--zzz': 'drover --help' lists them");
	refused("produce x --watch", "'produce' has no option '--watch': it belongs to 'status'");
	refused("produce x -z", "unknown option '-z': 'drover help produce' lists them");
	refused("produce", "'produce' needs FILE: 'drover help produce' explains it");
	refused("status a b", "'status' takes at most 1 argument: 'b' is too many");
	refused("verify pages", "'verify' takes no arguments: what is 'pages'?");
	refused("produce x --batch-size", "option '--batch-size' needs a value: --batch-size N");
	refused("produce x --batch-size --wait", "option '--batch-size' needs a value: --batch-size N");
	refused("produce x --batch-size 5 --batch-size 6", "option '--batch-size' is given twice");
	refused("produce x --batch-size abc", "option '--batch-size': 'abc' is not a whole number");
	refused("produce x --batch-size 0", "option '--batch-size': '0' is out of range: 1 to 100,000");
	refused("produce x --timeout 5m", "option '--timeout': '5m' is out of range: 100ms to 1m");
	refused("produce x --max-memory 1", "option '--max-memory': '1' is out of range: at least 1 kB");
	refused("produce x --mode rows", "option '--mode': 'rows' is not possible: did you mean 'row'?");
	refused("produce x --mode zzzzz", "option '--mode': 'zzzzz' is not possible: give batch or row");
	refused("produce x --wait=perhaps", "option '--wait': 'perhaps' is neither yes nor no");
	setenv("T_BATCH_SIZE", "many", 1);
	refused("produce x", "environment variable T_BATCH_SIZE: 'many' is not a whole number");
}

static void help_is_given_whatever_else_is_wrong(void **state)
{
	(void)state;
	setenv("T_BATCH_SIZE", "many", 1);
	parse("produce --help");
	assert_true(cli_flag(&call, "--help"));
	cli_call_close(&call);
	parse("");
	assert_null(call.command);
	cli_call_close(&call);
}

static void a_program_without_commands_has_options_alone(void **state)
{
	struct line l;

	(void)state;
	parse_program(&lone, "--batch-size 5 --wait");
	assert_null(call.command);
	assert_int_equal(cli_u64(&call, "--batch-size"), 5);
	cli_call_close(&call);
	split(&l, "produce");
	assert_int_equal(cli_parse(&call, &lone, l.argc, l.argv, &err), ST_USAGE);
	assert_string_equal(err.msg, "'drover-worker' takes no arguments: what is 'produce'?");
	cli_call_close(&call);
}

/* ------------------------------------------------------------ running */

static char out[200000], errors[20000];

static void main_runs_the_command_and_maps_its_result(void **state)
{
	unsigned ran = 0;

	(void)state;
	assert_int_equal(run_main(&program, "status", &ran, out, errors, sizeof(errors)), 0);
	assert_int_equal(ran, 1);
	assert_int_equal(run_main(&program, "status pages -q", &ran, out, errors, sizeof(errors)), CLI_EXIT_DEAD_LETTERS);
	assert_int_equal(ran, 3);
	assert_string_equal(errors, "");
	assert_int_equal(run_main(&program, "status pages --watch", &ran, out, errors, sizeof(errors)), CLI_EXIT_ERROR);
	assert_string_equal(errors, "drover: cannot watch 'pages'\n");
	assert_int_equal(run_main(&program, "statsu", &ran, out, errors, sizeof(errors)), CLI_EXIT_USAGE);
	assert_string_equal(errors, "drover: unknown command 'statsu': did you mean 'status'?\n");
	assert_int_equal(cli_exit_status(ST_INTERRUPTED), CLI_EXIT_INTERRUPTED);
	assert_int_equal(cli_exit_status(ST_USAGE), CLI_EXIT_USAGE);
	assert_int_equal(cli_exit_status(ST_SQL), CLI_EXIT_ERROR);
	assert_int_equal(cli_exit_status(CLI_EXIT_NOT_CLEAN), CLI_EXIT_NOT_CLEAN);
}

static void errors_are_json_when_json_is_wanted(void **state)
{
	unsigned ran = 0;

	(void)state;
	assert_int_equal(run_main(&program, "status a\"b --watch --json", &ran, out, errors, sizeof(errors)), 1);
	assert_string_equal(
		errors, "{\"error\":{\"code\":\"REFUSED\",\"message\":\"cannot watch 'a\\\"b'\",\"sqlstate\":null,\"exit_status\":1}}\n");
	assert_int_equal(run_main(&program, "nonsense --json", &ran, out, errors, sizeof(errors)), 2);
	assert_memory_equal(errors, "{\"error\":{\"code\":\"USAGE\"", 24);
}

static void an_error_cannot_move_the_cursor(void **state)
{
	unsigned ran = 0;

	(void)state;
	run_main(&program, "status \x1b[2J --watch", &ran, out, errors, sizeof(errors));
	assert_string_equal(errors, "drover: cannot watch '\\x1b[2J'\n");
}

static void version_help_and_completion_answer_by_themselves(void **state)
{
	unsigned ran = 0;

	(void)state;
	assert_int_equal(run_main(&program, "--version", &ran, out, errors, sizeof(errors)), 0);
	assert_string_equal(out, "drover 1.2.3\n");
	assert_int_equal(run_main(&program, "help produce", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "drover produce [OPTION...] FILE"));
	assert_int_equal(run_main(&program, "help failed show", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "drover failed show [OPTION...] ID"));
	assert_int_equal(run_main(&program, "help nonsense", &ran, out, errors, sizeof(errors)), 2);
	assert_int_equal(run_main(&program, "", &ran, out, errors, sizeof(errors)), 2);
	assert_non_null(strstr(errors, "Commands:"));
	assert_string_equal(out, "");
	assert_int_equal(run_main(&program, "completion bash", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "complete -F _drover drover"));
	assert_int_equal(run_main(&program, "completion fish", &ran, out, errors, sizeof(errors)), 2);
	assert_int_equal(run_main(&lone, "--completion bash", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "complete -F _drover_worker drover-worker"));
	assert_int_equal(run_main(&lone, "--markdown", &ran, out, errors, sizeof(errors)), 0);
	assert_memory_equal(out, "# drover-worker\n", 16);
	assert_int_equal(ran, 0);
}

static void names_for_completion_come_sorted_and_errors_stay_silent(void **state)
{
	unsigned ran = 0;

	(void)state;
	assert_int_equal(run_main(&program, "__complete migrations", &ran, out, errors, sizeof(errors)), 0);
	assert_string_equal(out, "0001_pages\n0002_users\n");
	assert_int_equal(run_main(&program, "__complete migrations 0002", &ran, out, errors, sizeof(errors)), 0);
	assert_string_equal(out, "0002_users\n");
	assert_int_equal(run_main(&program, "__complete nonsense", &ran, out, errors, sizeof(errors)), 0);
	assert_string_equal(out, "");
	assert_string_equal(errors, "");
}

static void without_a_terminal_nothing_is_confirmed(void **state)
{
	struct err e = ERR_INIT;
	int saved = dup(0);
	int null = open("/dev/null", O_RDONLY);

	(void)state;
	dup2(null, 0);
	assert_int_equal(cli_confirm("drop 3 dead letters?", false, &e), ST_REFUSED);
	assert_string_equal(e.msg, "drop 3 dead letters? Nobody is here to be asked: give --yes if that is meant");
	assert_int_equal(cli_confirm("drop 3 dead letters?", true, &e), 0);
	dup2(saved, 0);
	close(saved);
	close(null);
}

/* What cli_confirm() makes of @typed on a terminal. */
static int answer(const char *typed)
{
	int saved[2] = { dup(0), dup(2) };
	struct err e = ERR_INIT;
	int master, slave, rc;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	dup2(slave, 0);
	dup2(slave, 2);
	assert_int_equal(write(master, typed, strlen(typed)), strlen(typed));
	clearerr(stdin);
	rc = cli_confirm("drop 3 dead letters?", false, &e);
	dup2(saved[0], 0);
	dup2(saved[1], 2);
	close(saved[0]);
	close(saved[1]);
	close(master);
	close(slave);
	return rc;
}

static void on_a_terminal_only_yes_is_yes(void **state)
{
	(void)state;
	assert_int_equal(answer("y\n"), 0);
	assert_int_equal(answer("YES\n"), 0);
	assert_int_equal(answer("\n"), ST_REFUSED);
	assert_int_equal(answer("n\n"), ST_REFUSED);
	assert_int_equal(answer("yesterday\n"), ST_REFUSED);
	assert_int_equal(answer("\x04"), ST_REFUSED); /* end of file */
}

/* ------------------------------------------------------------ generated texts */

static void contains(const struct buf *text, const char *part)
{
	if (strstr(text->data, part) == NULL)
		fail_msg("'%s' is not in:\n%s", part, text->data);
}

static void lacks(const struct buf *text, const char *part)
{
	if (strstr(text->data, part) != NULL)
		fail_msg("'%s' should not be in:\n%s", part, text->data);
}

static void help_teaches_a_command(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(100000);

	(void)state;
	assert_int_equal(cli_help(&b, &program, &commands[0], 80, false), 0);
	contains(&b, "drover produce: push the jobs of a migration\n");
	contains(&b, "\nUsage:\n  drover produce [OPTION...] FILE\n");
	contains(&b, "\nScans the table.\n\nRun again, it goes on where it was.\n");
	contains(&b, "      --batch-size N              rows per job (1 to 100,000; default 1000;\n"
		     "                                  T_BATCH_SIZE)\n");
	contains(&b, "  -t, --timeout TIME              longest statement (100ms to 1m; default 5s)\n");
	contains(&b, "one job per batch or per row (batch | row;\n");
	contains(&b, "a note (may be repeated)");
	contains(&b, "\nOptions of every command:\n");
	contains(&b, "  -h, --help  ");
	contains(&b, "\nExamples:\n  drover produce 0001_pages.sql --wait\n      push every job and stay\n");
	contains(&b, "\nExit status:\n  0    done\n  1    error\n  2    wrong usage\n  130  interrupted\n");
	lacks(&b, "--inner");
	lacks(&b, "\033");
}

static void help_lists_the_commands_of_a_program(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(100000);

	(void)state;
	assert_int_equal(cli_help(&b, &program, NULL, 80, true), 0);
	contains(&b, "  produce      push the jobs of a migration\n");
	contains(&b, "  failed show  show one\n");
	contains(&b, "  completion   print a completion script for bash\n");
	contains(&b, "drover COMMAND [OPTION...]");
	contains(&b, "\033[1m");
	lacks(&b, "secret  ");
	lacks(&b, "__complete");
	buf_reset(&b);
	assert_int_equal(cli_help(&b, &program, &commands[5], 80, false), 0);
	contains(&b, "  2    wrong usage\n  3    rows are left\n  130  interrupted\n");
	buf_reset(&b);
	assert_int_equal(cli_help(&b, &lone, NULL, 80, false), 0);
	contains(&b, "  drover-worker [OPTION...]\n");
	lacks(&b, "Commands:");
	lacks(&b, "COMMAND");
	lacks(&b, "every command");
}

static void no_line_of_help_is_wider_than_the_terminal(void **state)
{
	static const unsigned widths[] = { 60, 80, 100 };

	(void)state;
	for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
		CLEANUP(buf_free) struct buf b = BUF_INIT(100000);

		assert_int_equal(cli_help(&b, &program, &commands[0], widths[w], false), 0);
		for (char *line = b.data; *line != '\0'; line += strcspn(line, "\n") + 1)
			if (strcspn(line, "\n") > widths[w])
				fail_msg("%u: %.*s", widths[w], (int)strcspn(line, "\n"), line);
	}
}

static void markdown_has_every_command_and_option_once(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(100000);

	(void)state;
	assert_int_equal(cli_markdown(&b, &program), 0);
	contains(&b, "# drover\n");
	contains(&b, "| [`drover failed show`](#drover-failed-show) | show one |\n");
	contains(&b, "\n## drover produce\n\n`drover produce [OPTION...] FILE`: push the jobs of a migration.\n");
	contains(&b, "\n| option | meaning | default | environment |\n| --- | --- | --- | --- |\n"
		     "| `--batch-size N` | rows per job (1 to 100,000) | `1000` | `T_BATCH_SIZE` |\n");
	contains(&b, "| `-t`, `--timeout TIME` |");
	contains(&b, "| one job per batch or per row: `batch` or `row` | `batch` |  |\n");
	contains(&b, "\n```sh\ndrover produce 0001_pages.sql --wait   # push every job and stay\n```\n");
	contains(&b, "Exit status 3: rows are left.\n");
	lacks(&b, "--inner");
	lacks(&b, "__complete");
	lacks(&b, "\n\n\n");
}

/* The last word of @line is completed by bash itself with the generated script. */
static void bash_completes(const char *line, const char *want)
{
	CLEANUP(buf_free) struct buf script = BUF_INIT(200000);
	char path[] = "/tmp/drover-test-completion-XXXXXX";
	char command[512], got[4096];
	int fd = mkstemp(path);
	FILE *f;
	size_t n;

	assert_true(fd >= 0);
	assert_int_equal(cli_completion_bash(&script, &program), 0);
	f = fdopen(fd, "w");
	fprintf(f,
		"drover() { if [[ $1 == __complete ]]; then echo 0001_pages; echo 0002_users; fi; }\n"
		"%sCOMP_WORDS=(%s)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_drover\necho \"${COMPREPLY[*]}\"\n",
		script.data, line);
	fclose(f);
	snprintf(command, sizeof(command), "bash '%s' 2>&1", path);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(got, 1, sizeof(got) - 1, f);
	got[n] = '\0';
	got[strcspn(got, "\n")] = '\0';
	pclose(f);
	unlink(path);
	if (strcmp(got, want) != 0)
		fail_msg("'%s' was completed to '%s' instead of '%s'", line, got, want);
}

static void bash_completes_commands_options_and_names(void **state)
{
	(void)state;
	if (access("/bin/bash", X_OK) != 0)
		skip();
	bash_completes("drover ''", "produce status failed retry verify help completion");
	bash_completes("drover pro", "produce");
	bash_completes("drover --json st", "status");
	bash_completes("drover produce --ba", "--batch-size --backoff");
	bash_completes("drover --batch-size 5 produce x --wa", "--wait");
	bash_completes("drover produce --mode ''", "batch row");
	bash_completes("drover produce --mode = r", "row");
	bash_completes("drover produce --batch-size ''", "");
	bash_completes("drover produce --migration 0002", "0002_users");
	bash_completes("drover status 00", "0001_pages 0002_users");
	bash_completes("drover failed ''", "0001_pages 0002_users show");
	bash_completes("drover failed show --he", "--help");
	bash_completes("drover help ver", "verify");
	bash_completes("drover completion ''", "bash");
	bash_completes("drover status --w", "--watch");
	bash_completes("drover verify --w", "");
}

static void the_tables_of_this_test_are_sound(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (cli_check(&program, &e) != 0 || cli_check(&lone, &e) != 0)
		fail_msg("%s", e.msg);
}

static void mistakes_in_tables_are_found(void **state)
{
	static const struct cli_option no_help[] = { { "--x", .help = NULL }, { 0 } };
	static const struct cli_option twice[] = { { "--x", .help = "x" }, { "--x", .help = "x" }, { 0 } };
	static const struct cli_option bad_default[] = { { "--x", .arg = "N", .type = CLI_U64, .def = "5s", .help = "x" }, { 0 } };
	static const struct cli_option out_of_bounds[] = { { "--x", .arg = "N", .type = CLI_U64, .def = "5", .min = 6, .help = "x" },
							   { 0 } };
	static const struct cli_option no_dashes[] = { { "x", .help = "x" }, { 0 } };
	static const struct cli_option typed_flag[] = { { "--x", .type = CLI_U64, .help = "x" }, { 0 } };
	static const struct cli_option no_choices[] = { { "--x", .arg = "X", .type = CLI_CHOICE, .help = "x" }, { 0 } };
	static const struct cli_option same_letter[] = { { "--halt", .short_name = 'h', .help = "x" }, { 0 } };
	static const struct cli_option *const bad[] = { no_help,   twice,      bad_default, out_of_bounds,
							no_dashes, typed_flag, no_choices,  same_letter };
	static const struct cli_option x_flag[] = { { "--x", .help = "x" }, { 0 } };
	static const struct cli_option x_value[] = { { "--x", .arg = "N", .help = "x" }, { 0 } };
	static const struct cli_command clash[] = {
		{ "a", .summary = "a", .options = x_flag, .run = run_nothing },
		{ "b", .summary = "b", .options = x_value, .run = run_nothing },
		{ 0 },
	};
	struct cli_program p = lone;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		p.options = bad[i];
		if (cli_check(&p, &e) != ST_CONFIG)
			fail_msg("mistake %zu was not found", i);
	}
	p = program;
	p.commands = clash;
	assert_int_equal(cli_check(&p, &e), ST_CONFIG);
	assert_string_equal(e.msg, "option '--x' takes a value in 'b' and none in 'a'");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
		T(a_command_with_its_arguments_and_defaults),
		T(every_type_is_read),
		T(options_stand_anywhere_even_before_the_command),
		T(two_dashes_end_the_options),
		T(short_options_join),
		T(a_command_may_be_two_words),
		T(the_line_beats_the_environment_which_beats_the_default),
		T(repeated_options_add_up),
		T(a_secret_is_wiped_from_the_process_title),
		T(a_url_in_the_wrong_place_is_not_shown),
		T(mistakes_get_one_clear_line),
		T(help_is_given_whatever_else_is_wrong),
		T(a_program_without_commands_has_options_alone),
		T(main_runs_the_command_and_maps_its_result),
		T(errors_are_json_when_json_is_wanted),
		T(an_error_cannot_move_the_cursor),
		T(version_help_and_completion_answer_by_themselves),
		T(names_for_completion_come_sorted_and_errors_stay_silent),
		T(without_a_terminal_nothing_is_confirmed),
		T(on_a_terminal_only_yes_is_yes),
		T(help_teaches_a_command),
		T(help_lists_the_commands_of_a_program),
		T(no_line_of_help_is_wider_than_the_terminal),
		T(markdown_has_every_command_and_option_once),
		T(bash_completes_commands_options_and_names),
		T(the_tables_of_this_test_are_sound),
		T(mistakes_in_tables_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
