/* metrics_markdown.c - docs/metrics.md, made of the table. */
#include "core/buf.h"
#include "core/util.h"
#include "metrics/metrics_private.h"

static const struct {
	enum metrics_scope scope;
	const char *title, *text;
} parts[] = {
	{ METRICS_WORKER, "Of a worker", "Counted by each process for itself since its start: sum over the workers." },
	{ METRICS_FLEET, "Of the fleet",
	  "Read from PostgreSQL and Redis every ten seconds, by the exporter, and by that worker which comes first by name. All tell the same: take "
	  "`max by (migration) (...)`, never the sum." },
	{ METRICS_EACH, "Of every process", "Told by workers and exporters alike." },
};

static const char head[] =
	"# Metrics\n\n"
	"<!-- Made by `drover __docs metrics` from common/metrics/metrics.def: do not edit. -->\n\n"
	"`drover-worker --metrics-listen HOST:PORT` serves `/metrics` in the text format of Prometheus (0.0.4), `/healthz` and `/readyz`; `drover exporter` serves the\n"
	"fleet's part of it whether workers run or not. A port alone means the loopback address.\n\n"
	"| path | answers |\n"
	"| --- | --- |\n"
	"| `/metrics` | 200 |\n"
	"| `/healthz` | 200 while the program's loop turns: it is the loop that answers |\n"
	"| `/readyz` | 200 when both servers answer and the worker is not draining; otherwise 503 and the reason in one line |\n\n"
	"`GET` and `HEAD` alone. A connection is closed after its answer, or after ten seconds. There is neither TLS nor a password: keep the port within a network\n"
	"of your own. What to do when an alert rings is in [alerts.md](alerts.md).\n";

static void add_metric(struct buf *out, const struct metrics_row *row)
{
	buf_printf(out, "| `%s` | %s | ", row->name, metrics_type_names[row->type]);
	for (const char *p = row->labels; *p != '\0'; p++)
		*p == ',' ? buf_puts(out, ", ") : buf_putc(out, *p);
	buf_printf(out, " | %s%s%s |\n", row->help, row->more[0] != '\0' ? " " : "", row->more);
}

void metrics_markdown(struct buf *out)
{
	buf_puts(out, head);
	for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
		buf_printf(out, "\n## %s\n\n%s\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n", parts[p].title,
			   parts[p].text);
		for (int m = 0; m < METRIC_NR; m++)
			if (metrics_table[m].scope == parts[p].scope)
				add_metric(out, &metrics_table[m]);
	}
}
