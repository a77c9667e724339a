/* From argv to the exit status. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_private.h"
#include "cli/output.h"
#include "core/failpoint.h"
#include "core/text.h"

#define TEXT_MAX (4u << 20) /* generated texts */
#define NAMES_MAX 10000     /* completion */

int cli_exit_status(int rc)
{
	if (rc >= 0)
		return rc;
	if (rc == ST_USAGE)
		return CLI_EXIT_USAGE;
	return rc == ST_INTERRUPTED ? CLI_EXIT_INTERRUPTED : CLI_EXIT_ERROR;
}

void cli_print_error(const struct cli_program *program, bool json, const struct err *err)
{
	CLEANUP(buf_free) struct buf out = BUF_INIT(16 * ERR_MSG_MAX);
	const char *msg = err->msg[0] != '\0' ? err->msg : status_text(err->code);

	if (json) {
		buf_printf(&out, "{\"error\":{\"code\":\"%s\",\"message\":", status_name(err->code));
		text_add_json(&out, msg);
		buf_puts(&out, ",\"sqlstate\":");
		text_add_json(&out, err->sqlstate[0] != '\0' ? err->sqlstate : NULL);
		buf_printf(&out, ",\"exit_status\":%d}}\n", cli_exit_status(err->code));
	} else {
		buf_printf(&out, "%s: ", program->name);
		text_add_printable(&out, msg); /* it may quote what was typed, or what a server said */
		buf_putc(&out, '\n');
	}
	fputs(out.data, stderr);
}

/* Parsing may have failed before it came to the option. */
static bool wants_json(const struct cli_program *program, int argc, char **argv)
{
	const struct cli_option *o;

	for (size_t i = 0; (o = cli_option_at(program, NULL, i)) != NULL; i++) {
		const char *env = o->env != NULL ? getenv(o->env) : NULL;
		bool on = false;

		if (strcmp(o->name, "--json") != 0)
			continue;
		if (!cli_is_empty(env) && text_parse_bool(env, &on, NULL) == 0 && on)
			return true;
		for (int k = 1; k < argc && strcmp(argv[k], "--") != 0; k++)
			if (strcmp(argv[k], "--json") == 0)
				return true;
	}
	return false;
}

static int print_text(int rc, const struct buf *text, struct err *err)
{
	if (rc != 0)
		return err_set(err, rc, "out of memory");
	fputs(text->data, stdout);
	return 0;
}

static int print_help(const struct cli_call *call, const struct cli_command *command, FILE *to, struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);
	unsigned width = cli_terminal_width(to);
	int rc = cli_help(&text, call->program, command, width > 0 ? width : 80, cli_use_color(call, to));

	if (rc != 0)
		return err_set(err, rc, "out of memory");
	fputs(text.data, to);
	return 0;
}

/* `help`, `help failed`, `help failed show`. */
static int run_help(const struct cli_call *call, struct err *err)
{
	const struct cli_command *c;
	char name[128];

	if (call->nargs == 0)
		return print_help(call, NULL, stdout, err);
	snprintf(name, sizeof(name), "%s%s%s", call->args[0], call->nargs > 1 ? " " : "", call->nargs > 1 ? call->args[1] : "");
	c = cli_find_command(call->program, name);
	if (c == NULL)
		return err_set(err, ST_USAGE, "no command '%s': '%s help' lists them", name, call->program->name);
	return print_help(call, c, stdout, err);
}

static int print_completion(const struct cli_call *call, const char *shell, struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);

	if (strcmp(shell, "bash") != 0)
		return err_set(err, ST_USAGE, "no completion for '%s': there is one for bash", shell);
	return print_text(cli_completion_bash(&text, call->program), &text, err);
}

static int print_markdown(const struct cli_call *call, struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);

	return print_text(cli_markdown(&text, call->program), &text, err);
}

/* Silent whatever happens: it runs while somebody presses the tabulator key. */
static void print_names(const struct cli_call *call, void *ctx)
{
	CLEANUP(strvec_free) struct strvec names;
	const char *prefix = call->nargs > 1 ? call->args[1] : "";

	strvec_init(&names, NAMES_MAX);
	if (call->program->complete == NULL || call->program->complete(ctx, call, call->args[0], &names) != 0)
		return;
	strvec_sort(&names);
	for (size_t i = 0; i < names.n; i++)
		if (strncmp(names.v[i], prefix, strlen(prefix)) == 0)
			printf("%s\n", names.v[i]);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	const struct cli_program *program = call->program;

	if (cli_flag(call, "--version")) {
		printf("%s %s\n", program->name, program->version);
		return 0;
	}
	if (cli_flag(call, "--help"))
		return print_help(call, call->command, stdout, err);
	if (program->commands == NULL) {
		if (cli_given(call, "--completion"))
			return print_completion(call, cli_str(call, "--completion"), err);
		return cli_flag(call, "--markdown") ? print_markdown(call, err) : program->run(call, ctx, err);
	}
	if (call->command == NULL) {
		int rc = print_help(call, NULL, stderr, err);

		return rc != 0 ? rc : CLI_EXIT_USAGE;
	}
	switch (cli_builtin(call->command)) {
	case CLI_HELP:
		return run_help(call, err);
	case CLI_COMPLETION:
		return print_completion(call, call->args[0], err);
	case CLI_COMPLETE:
		print_names(call, ctx);
		return 0;
	case CLI_MARKDOWN:
		return print_markdown(call, err);
	case CLI_NOT_BUILTIN:
		break;
	}
	return call->command->run(call, ctx, err);
}

int cli_main(const struct cli_program *program, int argc, char **argv, void *ctx)
{
	struct err err = ERR_INIT;
	struct cli_call call;
	bool json = wants_json(program, argc, argv);
	int rc;

	rc = cli_parse(&call, program, argc, argv, &err);
#ifdef DROVER_FAILPOINTS
	if (rc == 0)
		rc = failpoint_setup(getenv("DROVER_FAILPOINT"), &err);
#endif
	if (rc == 0)
		rc = run(&call, ctx, &err);
	if (rc >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
		rc = err_set(&err, ST_IO, "cannot write the output: %s", strerror(errno));
	if (rc < 0) {
		err.code = rc;
		cli_print_error(program, json, &err);
	}
	cli_call_close(&call);
	return cli_exit_status(rc);
}
