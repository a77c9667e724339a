/* drover __docs: what docs/ holds of the tables. A test compares. */
#include <stdio.h>
#include <string.h>

#include "ledger/settings.h"
#include "metrics/metrics.h"
#include "producer/console.h"

#define TEXT_MAX (4u << 20)

static const char settings_head[] =
	"# Settings\n\n"
	"<!-- Made by `drover __docs settings` from common/ledger/settings.def: do not edit. -->\n\n"
	"`drover config` reads and changes these while everything runs, for all migrations or for one; workers and producers follow within a second. What is "
	"set for a migration beats what its file says, which beats what is set for all, which beats the default.\n\n"
	"```console\n"
	"$ drover config 0001_pages processing_interval_ms=200\n"
	"processing_interval_ms: 0 -> 200\n"
	"$ drover config 0001_pages processing_interval_ms=\n"
	"processing_interval_ms: 200 -> 0 (default)\n"
	"```\n\n"
	"Times may be given with a unit (`5s`, `200ms`); an empty value unsets.\n\n"
	"| setting | default | bounds | meaning |\n"
	"| --- | --- | --- | --- |\n";

static void add_setting(struct buf *out, const struct setting *t)
{
	buf_printf(out, "| `%s` | `%s` | ", t->name, t->def);
	switch (t->type) {
	case SETTING_IS_BOOL:
		buf_puts(out, "`on`, `off`");
		break;
	case SETTING_IS_U64:
		buf_printf(out, "%llu to %llu %s", (unsigned long long)t->min, (unsigned long long)t->max, t->unit);
		break;
	case SETTING_IS_DURATIONS:
		buf_printf(out, "up to %d times, `1,5,30`", SETTINGS_BACKOFF_MAX);
		break;
	case SETTING_IS_BREAKER:
		buf_puts(out, "`PERCENT%/ROWS`, `off`");
		break;
	}
	buf_printf(out, " | %s |\n", t->help);
}

static int run(const struct cli_call *call, void *ctx, struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);

	(void)ctx;
	if (strcmp(call->args[0], "settings") == 0) {
		buf_puts(&text, settings_head);
		for (int i = 0; i < SETTING_NR; i++)
			add_setting(&text, &setting_table[i]);
	} else if (strcmp(call->args[0], "console") == 0) {
		cli_markdown(&text, console_program());
	} else if (strcmp(call->args[0], "metrics") == 0) {
		metrics_markdown(&text);
	} else {
		return err_set(err, ST_USAGE, "there are docs of the console, the settings and the metrics, not of '%s'", call->args[0]);
	}
	if (!buf_ok(&text))
		return err_set(err, ST_NOMEM, "out of memory");
	fputs(text.data, stdout);
	return 0;
}

const struct cli_command docs_command = {
	.name = "__docs",
	.args = "console|settings|metrics",
	.min_args = 1,
	.max_args = 1,
	.summary = "the pages of docs/ that are made from tables",
	.hidden = true,
	.run = run,
};
