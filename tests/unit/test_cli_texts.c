/*
 * test_cli_texts.c - help, Markdown and completion from the tables, and the mistakes that those may have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "cli/cli.h"
#include "cli_made_up.h"

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
	assert_int_equal(cli_help(&b, &cli_made_up, &cli_made_up.commands[0], 80, false), 0);
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
	assert_int_equal(cli_help(&b, &cli_made_up, NULL, 80, true), 0);
	contains(&b, "  produce      push the jobs of a migration\n");
	contains(&b, "  failed show  show one\n");
	contains(&b, "  completion   print a completion script for bash\n");
	contains(&b, "drover COMMAND [OPTION...]");
	contains(&b, "\033[1m");
	lacks(&b, "secret  ");
	lacks(&b, "__complete");
	buf_reset(&b);
	assert_int_equal(cli_help(&b, &cli_made_up, &cli_made_up.commands[5], 80, false), 0);
	contains(&b, "  2    wrong usage\n  3    rows are left\n  130  interrupted\n");
	buf_reset(&b);
	assert_int_equal(cli_help(&b, &cli_lone, NULL, 80, false), 0);
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

		assert_int_equal(cli_help(&b, &cli_made_up, &cli_made_up.commands[0], widths[w], false), 0);
		for (char *line = b.data; *line != '\0'; line += strcspn(line, "\n") + 1)
			if (strcspn(line, "\n") > widths[w])
				fail_msg("%u: %.*s", widths[w], (int)strcspn(line, "\n"), line);
	}
}

static void markdown_has_every_command_and_option_once(void **state)
{
	CLEANUP(buf_free) struct buf b = BUF_INIT(100000);

	(void)state;
	assert_int_equal(cli_markdown(&b, &cli_made_up), 0);
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
	assert_int_equal(cli_completion_bash(&script, &cli_made_up), 0);
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
	bash_completes("drover retry 00", "0001_pages 0002_users");
	bash_completes("drover retry 0001_pages ''", "dead gone");
	bash_completes("drover --json retry -t 5s 0001_pages dead go", "gone");
	bash_completes("drover help ver", "verify");
	bash_completes("drover completion ''", "bash");
	bash_completes("drover status --w", "--watch");
	bash_completes("drover verify --w", "");
}

static void the_tables_of_this_test_are_sound(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (cli_check(&cli_made_up, &e) != 0 || cli_check(&cli_lone, &e) != 0)
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
		{ "a", .summary = "a", .options = x_flag, .run = cli_run_nothing },
		{ "b", .summary = "b", .options = x_value, .run = cli_run_nothing },
		{ 0 },
	};
	struct cli_program p = cli_lone;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		p.options = bad[i];
		if (cli_check(&p, &e) != ST_CONFIG)
			fail_msg("mistake %zu was not found", i);
	}
	p = cli_made_up;
	p.commands = clash;
	assert_int_equal(cli_check(&p, &e), ST_CONFIG);
	assert_string_equal(e.msg, "option '--x' takes a value in 'b' and none in 'a'");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, cli_set_up)
	const struct CMUnitTest tests[] = {
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
