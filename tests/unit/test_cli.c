/*
 * test_cli.c - command lines are read, commands run, and their ends said.
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
#include "cli_made_up.h"

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
	parse_program(&cli_made_up, text);
}

static void refused(const char *text, const char *message)
{
	struct line l;

	split(&l, text);
	err_clear(&err);
	assert_int_equal(cli_parse(&call, &cli_made_up, l.argc, l.argv, &err), ST_USAGE);
	assert_int_equal(err.code, ST_USAGE);
	assert_string_equal(err.msg, message);
	cli_call_close(&call);
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
	assert_int_equal(cli_parse(&call, &cli_made_up, l.argc, l.argv, &err), 0);
	assert_string_equal(cli_str(&call, "--database-url"), "postgres://me:secret@h/d");
	assert_string_equal(l.argv[2], "--database-url=************************");
	cli_call_close(&call);
	split(&l, "status --database-url postgres://x");
	assert_int_equal(cli_parse(&call, &cli_made_up, l.argc, l.argv, &err), 0);
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
	parse_program(&cli_lone, "--batch-size 5 --wait");
	assert_null(call.command);
	assert_int_equal(cli_u64(&call, "--batch-size"), 5);
	cli_call_close(&call);
	split(&l, "produce");
	assert_int_equal(cli_parse(&call, &cli_lone, l.argc, l.argv, &err), ST_USAGE);
	assert_string_equal(err.msg, "'drover-worker' takes no arguments: what is 'produce'?");
	cli_call_close(&call);
}

/* ------------------------------------------------------------ running */

static char out[200000], errors[20000];

static void main_runs_the_command_and_maps_its_result(void **state)
{
	unsigned ran = 0;

	(void)state;
	assert_int_equal(run_main(&cli_made_up, "status", &ran, out, errors, sizeof(errors)), 0);
	assert_int_equal(ran, 1);
	assert_int_equal(run_main(&cli_made_up, "status pages -q", &ran, out, errors, sizeof(errors)), CLI_EXIT_DEAD_LETTERS);
	assert_int_equal(ran, 3);
	assert_string_equal(errors, "");
	assert_int_equal(run_main(&cli_made_up, "status pages --watch", &ran, out, errors, sizeof(errors)), CLI_EXIT_ERROR);
	assert_string_equal(errors, "drover: cannot watch 'pages'\n");
	assert_int_equal(run_main(&cli_made_up, "statsu", &ran, out, errors, sizeof(errors)), CLI_EXIT_USAGE);
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
	assert_int_equal(run_main(&cli_made_up, "status a\"b --watch --json", &ran, out, errors, sizeof(errors)), 1);
	assert_string_equal(
		errors, "{\"error\":{\"code\":\"REFUSED\",\"message\":\"cannot watch 'a\\\"b'\",\"sqlstate\":null,\"exit_status\":1}}\n");
	assert_int_equal(run_main(&cli_made_up, "nonsense --json", &ran, out, errors, sizeof(errors)), 2);
	assert_memory_equal(errors, "{\"error\":{\"code\":\"USAGE\"", 24);
}

static void an_error_cannot_move_the_cursor(void **state)
{
	unsigned ran = 0;

	(void)state;
	run_main(&cli_made_up, "status \x1b[2J --watch", &ran, out, errors, sizeof(errors));
	assert_string_equal(errors, "drover: cannot watch '\\x1b[2J'\n");
}

static void version_help_and_completion_answer_by_themselves(void **state)
{
	unsigned ran = 0;

	(void)state;
	assert_int_equal(run_main(&cli_made_up, "--version", &ran, out, errors, sizeof(errors)), 0);
	assert_string_equal(out, "drover 1.2.3\n");
	assert_int_equal(run_main(&cli_made_up, "help produce", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "drover produce [OPTION...] FILE"));
	assert_int_equal(run_main(&cli_made_up, "help failed show", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "drover failed show [OPTION...] ID"));
	assert_int_equal(run_main(&cli_made_up, "help nonsense", &ran, out, errors, sizeof(errors)), 2);
	assert_int_equal(run_main(&cli_made_up, "", &ran, out, errors, sizeof(errors)), 2);
	assert_non_null(strstr(errors, "Commands:"));
	assert_string_equal(out, "");
	assert_int_equal(run_main(&cli_made_up, "completion bash", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "complete -F _drover drover"));
	assert_int_equal(run_main(&cli_made_up, "completion fish", &ran, out, errors, sizeof(errors)), 2);
	assert_int_equal(run_main(&cli_lone, "--completion bash", &ran, out, errors, sizeof(errors)), 0);
	assert_non_null(strstr(out, "complete -F _drover_worker drover-worker"));
	assert_int_equal(run_main(&cli_lone, "--markdown", &ran, out, errors, sizeof(errors)), 0);
	assert_memory_equal(out, "# drover-worker\n", 16);
	assert_int_equal(ran, 0);
}

static void names_for_completion_come_sorted_and_errors_stay_silent(void **state)
{
	unsigned ran = 0;

	(void)state;
	assert_int_equal(run_main(&cli_made_up, "__complete migrations", &ran, out, errors, sizeof(errors)), 0);
	assert_string_equal(out, "0001_pages\n0002_users\n");
	assert_int_equal(run_main(&cli_made_up, "__complete migrations 0002", &ran, out, errors, sizeof(errors)), 0);
	assert_string_equal(out, "0002_users\n");
	assert_int_equal(run_main(&cli_made_up, "__complete nonsense", &ran, out, errors, sizeof(errors)), 0);
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

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, cli_set_up)
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
