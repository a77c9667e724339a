/*
 * progress.h - how far, how fast, how long still.
 *
 * struct progress is pure: it is told the time and the counts. The time left is a range, from the fastest and the slowest
 * of the recent windows, because one number would be a promise nobody can keep. progress_view_*() shows it: one redrawn
 * line on a terminal, a plain line now and then elsewhere (once a minute while it stands still), JSON lines with --json. All on stderr by custom, so that
 * results on stdout stay clean.
 */
#ifndef DROVER_CLI_PROGRESS_H
#define DROVER_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/buf.h"

struct cli_call;

#define PROGRESS_WINDOW_MS 3000 /* length of one window of the rate */
#define PROGRESS_WINDOWS 10     /* windows that the range is taken from */

struct progress_counts {
	uint64_t done;    /* rows finished, well or not */
	uint64_t total;   /* rows expected, an estimate; 0: unknown */
	double share;     /* 0..1 of the work, if better known than done / total; negative: use those */
	uint64_t failed;  /* of `done`: dead-lettered */
	const char *note; /* why it is slow, what is waited for; NULL: nothing. Copied */
	bool halted;      /* somebody stopped it: it has no pace, and that is none of what comes after */
};

struct progress {
	char label[64]; /* the migration, cut if long */
	char note[128];
	uint64_t done, total, failed;
	double share; /* 0..1, negative: unknown; falls only far, not by a little */
	uint64_t start_ms, now_ms;
	bool started, halted;
	/* windows, newest last */
	struct progress_window {
		uint64_t ms;  /* length */
		double rows;  /* per second */
		double share; /* per second */
	} windows[PROGRESS_WINDOWS];
	unsigned nwindows;
	uint64_t window_start_ms, window_done; /* at first what an earlier run had done: that is no speed of this one */
	double window_share;
};

struct progress_eta {
	bool known;
	bool open; /* no upper end: a recent window stood still */
	uint64_t low_ms, high_ms;
};

void progress_init(struct progress *p, const char *label, uint64_t now_ms);
void progress_update(struct progress *p, uint64_t now_ms, const struct progress_counts *counts);

double progress_rate(const struct progress *p); /* rows per second over the recent windows; 0 at first */
struct progress_eta progress_eta(const struct progress *p);

/* "pages [=====>     ] 43%  12,345 of ~28,000 rows  1,234/s  2m to 4m left  3 failed": never wider than @width, parts are left out. */
void progress_render(const struct progress *p, unsigned width, bool color, struct buf *out);
/* One JSON object, without newline: {"progress": {"label", "done", "total", "share", "failed", "rate_per_s", "eta_low_ms", ...}} */
void progress_render_json(const struct progress *p, struct buf *out);

enum progress_mode { PROGRESS_TERMINAL, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_SILENT };

struct progress_view {
	FILE *file; /* borrowed */
	enum progress_mode mode;
	bool color;
	unsigned width;       /* terminal; 0 in other modes */
	unsigned interval_ms; /* between lines: 100 on a terminal, 5000 elsewhere */
	uint64_t shown_ms;    /* of the last draw */
	struct progress last; /* as drawn then */
	bool any;             /* something was drawn */
	bool line_open;       /* the cursor stands in a drawn line */
};

/* stderr, as the call and the terminal want it: --json, --quiet, --no-color. */
void progress_view_open(struct progress_view *v, const struct cli_call *call);

void progress_view_show(struct progress_view *v, const struct progress *p);   /* draws if it is time to; p->now_ms is the time */
void progress_view_clear(struct progress_view *v);                            /* before another line is printed */
void progress_view_finish(struct progress_view *v, const struct progress *p); /* the last state, for good */

#endif
