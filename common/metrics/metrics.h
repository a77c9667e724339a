/*
 * metrics.h - writes what /metrics shows: the text format of Prometheus, version 0.0.4. The metrics are declared in metrics.def, and nowhere else.
 *
 *   struct metrics_text t = METRICS_TEXT_INIT;
 *
 *   metrics_add(&t, METRIC_JOBS, 12, "0001_pages", "done");	as many label values as the table has labels
 *   metrics_add(&t, METRIC_JOBS, 3, "0001_pages", "dead");
 *   ... buf_ok(&t.out): t.out is the text ...
 *   metrics_text_free(&t);
 *
 * All samples of a metric are added one after the other: `# HELP` and `# TYPE` are written before the first, and coming back to a metric is a bug.
 * Label values may hold anything. A text that would be larger than METRICS_TEXT_MAX fails as a buffer does.
 */
#ifndef DROVER_METRICS_METRICS_H
#define DROVER_METRICS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/util.h"

#define METRICS_TEXT_MAX (4u << 20)
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric {
#define X(id, name, type, scope, labels, help, more) METRIC_##id,
#include "metrics/metrics.def"
#undef X
	METRIC_NR,
	METRIC_NONE = METRIC_NR,
};

struct metrics_text {
	struct buf out;
	enum metric now;       /* whose samples are being added */
	bool begun[METRIC_NR]; /* those that were */
};

/* clang-format off */
#define METRICS_TEXT_INIT { .out = BUF_INIT(METRICS_TEXT_MAX), .now = METRIC_NONE }
/* clang-format on */

void metrics_text_free(struct metrics_text *t);

/* The whole of it goes to the end of @page, which fails if this has (see buf.h); then it is freed. */
void metrics_text_end(struct metrics_text *t, struct buf *page);

/* Add a sample. The label values follow, as texts. */
void metrics_add(struct metrics_text *t, enum metric m, double value, ...);

/* ------------------------------------------------------------ histograms */

#define METRICS_BUCKETS 14 /* upper bounds, in seconds: metrics.c */

struct metrics_histogram {
	uint64_t counts[METRICS_BUCKETS + 1]; /* each alone; the last one: beyond all bounds */
	double sum;
};

void metrics_observe(struct metrics_histogram *h, double seconds);
void metrics_add_histogram(struct metrics_text *t, enum metric m, const struct metrics_histogram *h);

/* ------------------------------------------------------------ the process, the page */

/* What everybody tells of itself: process_*. */
void metrics_add_process(struct metrics_text *t);

/* docs/metrics.md. */
void metrics_markdown(struct buf *out);

const char *metrics_name(enum metric m);

#endif
