/* Where and how often progress is shown. */
#include <string.h>

#include "cli/cli_private.h"
#include "cli/output.h"
#include "cli/progress.h"

#define TERMINAL_INTERVAL_MS 100
#define PLAIN_INTERVAL_MS 5000
#define PLAIN_STILL_MS 60000 /* between lines that would say the same */
#define JSON_INTERVAL_MS 1000
#define LINE_MAX_BYTES 8192

void progress_view_open(struct progress_view *v, const struct cli_call *call)
{
	*v = (struct progress_view){ .file = stderr, .mode = PROGRESS_PLAIN, .interval_ms = PLAIN_INTERVAL_MS };
	if (cli_has(call, "--quiet") && cli_flag(call, "--quiet")) {
		v->mode = PROGRESS_SILENT;
	} else if (cli_has(call, "--json") && cli_flag(call, "--json")) {
		v->mode = PROGRESS_JSON;
		v->interval_ms = JSON_INTERVAL_MS;
	} else if (cli_terminal_width(stderr) > 0) {
		v->mode = PROGRESS_TERMINAL;
		v->interval_ms = TERMINAL_INTERVAL_MS;
		v->color = cli_use_color(call, stderr);
	}
}

static void draw(struct progress_view *v, const struct progress *p)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(LINE_MAX_BYTES);

	switch (v->mode) {
	case PROGRESS_SILENT:
		return;
	case PROGRESS_TERMINAL:
		/* The size is asked for each time: windows are resized. The last column stays free, or some terminals wrap. */
		v->width = cli_terminal_width(v->file) > 0 ? cli_terminal_width(v->file) : v->width;
		buf_putc(&line, '\r');
		progress_render(p, v->width > 1 ? v->width - 1 : 79, v->color, &line);
		buf_puts(&line, "\033[K");
		v->line_open = true;
		break;
	case PROGRESS_PLAIN:
		progress_render(p, 0, false, &line);
		buf_putc(&line, '\n');
		break;
	case PROGRESS_JSON:
		progress_render_json(p, &line);
		buf_putc(&line, '\n');
		break;
	}
	/* One write, so that nothing is seen half drawn. */
	fputs(line.data, v->file);
	fflush(v->file);
	v->shown_ms = p->now_ms;
	v->last = *p;
	v->any = true;
}

/* Nothing but time has changed since the last line. */
static bool stands_still(const struct progress *then, const struct progress *now)
{
	return then->started && then->done == now->done && then->total == now->total && then->failed == now->failed &&
	       strcmp(then->note, now->note) == 0;
}

void progress_view_show(struct progress_view *v, const struct progress *p)
{
	if (!v->any && v->mode != PROGRESS_TERMINAL) {
		/* The first line comes after one interval: a short run needs only its last. */
		v->any = true;
		v->shown_ms = p->now_ms;
		return;
	}
	if (v->any && p->now_ms - v->shown_ms < v->interval_ms)
		return;
	if (v->mode == PROGRESS_PLAIN && stands_still(&v->last, p) && p->now_ms - v->shown_ms < PLAIN_STILL_MS)
		return;
	draw(v, p);
}

void progress_view_clear(struct progress_view *v)
{
	if (!v->line_open)
		return;
	fputs("\r\033[K", v->file);
	fflush(v->file);
	v->line_open = false;
	v->shown_ms = 0; /* draw again soon */
}

void progress_view_finish(struct progress_view *v, const struct progress *p)
{
	draw(v, p);
	if (v->line_open)
		fputc('\n', v->file);
	fflush(v->file);
	v->line_open = false;
}
