#include "metrics/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "metrics/metrics_private.h"

const struct metrics_row metrics_table[METRIC_NR] = {
#define X(id, name, type, scope, labels, help, more) { name, METRICS_##type, METRICS_##scope, labels, help, more },
#include "metrics/metrics.def"
#undef X
};

const char *const metrics_type_names[] = { "counter", "gauge", "histogram" };

/* A batch takes some milliseconds; what waits for locks or splits takes seconds; a time-out is a minute. */
static const double bounds[METRICS_BUCKETS] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 120 };

const char *metrics_name(enum metric m)
{
	return metrics_table[m].name;
}

void metrics_text_free(struct metrics_text *t)
{
	buf_free(&t->out);
}

void metrics_text_end(struct metrics_text *t, struct buf *page)
{
	if (buf_ok(&t->out))
		buf_add(page, t->out.data, t->out.len);
	else
		page->failed = true;
	metrics_text_free(t);
}

/* As short as it can be read back. */
static void add_number(struct buf *out, double value)
{
	char text[40];

	if (value >= 0 && value < 9e15 && value == (double)(uint64_t)value) {
		buf_printf(out, "%" PRIu64, (uint64_t)value);
		return;
	}
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	buf_puts(out, text);
}

/* The format knows three escapes, and wants UTF-8. */
static void add_value(struct buf *out, const char *s)
{
	bool valid = text_utf8_valid(s, strlen(s));

	for (; *s != '\0'; s++) {
		if (*s == '\\' || *s == '"')
			buf_putc(out, '\\');
		if (*s == '\n')
			buf_puts(out, "\\n");
		else
			buf_putc(out, !valid && (unsigned char)*s >= 0x80 ? '?' : *s);
	}
}

static void begin(struct metrics_text *t, enum metric m)
{
	const struct metrics_row *row = &metrics_table[m];

	if (t->now == m)
		return;
	assert(!t->begun[m]);
	t->now = m;
	t->begun[m] = true;
	buf_printf(&t->out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, metrics_type_names[row->type]);
}

void metrics_add(struct metrics_text *t, enum metric m, double value, ...)
{
	const char *label = metrics_table[m].labels;
	va_list ap;

	begin(t, m);
	buf_puts(&t->out, metrics_table[m].name);
	va_start(ap, value);
	for (char before = '{'; *label != '\0'; before = ',') {
		size_t n = strcspn(label, ",");

		buf_printf(&t->out, "%c%.*s=\"", before, (int)n, label);
		add_value(&t->out, va_arg(ap, const char *));
		buf_putc(&t->out, '"');
		label += n + (label[n] == ',');
	}
	va_end(ap);
	buf_puts(&t->out, metrics_table[m].labels[0] != '\0' ? "} " : " ");
	add_number(&t->out, value);
	buf_putc(&t->out, '\n');
}

/* ------------------------------------------------------------ histograms */

void metrics_observe(struct metrics_histogram *h, double seconds)
{
	size_t i = 0;

	while (i < METRICS_BUCKETS && seconds > bounds[i])
		i++;
	h->counts[i]++;
	h->sum += seconds;
}

void metrics_add_histogram(struct metrics_text *t, enum metric m, const struct metrics_histogram *h)
{
	const char *name = metrics_table[m].name;
	uint64_t count = 0;

	begin(t, m);
	for (size_t i = 0; i <= METRICS_BUCKETS; i++) {
		count += h->counts[i];
		buf_printf(&t->out, "%s_bucket{le=\"", name);
		if (i < METRICS_BUCKETS)
			buf_printf(&t->out, "%g", bounds[i]);
		else
			buf_puts(&t->out, "+Inf");
		buf_printf(&t->out, "\"} %" PRIu64 "\n", count);
	}
	buf_printf(&t->out, "%s_sum ", name);
	add_number(&t->out, h->sum);
	buf_printf(&t->out, "\n%s_count %" PRIu64 "\n", name, count);
}
