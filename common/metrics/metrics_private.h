/* metrics_private.h - the table of metrics, for the files of this folder. */
#ifndef DROVER_METRICS_METRICS_PRIVATE_H
#define DROVER_METRICS_METRICS_PRIVATE_H

#include "metrics/metrics.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };
enum metrics_scope { METRICS_WORKER, METRICS_FLEET, METRICS_EACH };

struct metrics_row {
	const char *name;
	enum metrics_type type;
	enum metrics_scope scope;
	const char *labels; /* "migration,outcome"; "": none */
	const char *help, *more;
};

extern const struct metrics_row metrics_table[METRIC_NR];
extern const char *const metrics_type_names[];

#endif
