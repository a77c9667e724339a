/* The pure part of progress: counts in, a line out. */
#include "cli/progress.h"

#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "core/text.h"

#define BAR_MIN 10 /* columns between the brackets; a shorter bar says nothing */
#define BAR_MAX 30
#define SHARE_BACK 0.05
#define RATE_AFTER_MS 500 /* before the first window is full, a rate is shown after this */
#define LINE_MAX_BYTES 4096

static double share_of(const struct progress_counts *c)
{
	double share = c->share;

	if (share < 0) {
		if (c->total == 0)
			return -1;
		share = (double)c->done / (double)c->total;
	}
	return share > 1 ? 1 : share;
}

void progress_init(struct progress *p, const char *label, uint64_t now_ms)
{
	*p = (struct progress){ .share = -1, .start_ms = now_ms, .now_ms = now_ms, .window_start_ms = now_ms };
	snprintf(p->label, sizeof(p->label), "%s", label);
}

static void begin_window(struct progress *p, uint64_t now_ms)
{
	p->window_start_ms = now_ms;
	p->window_done = p->done;
	p->window_share = p->share;
}

static void push_window(struct progress *p, uint64_t now_ms)
{
	uint64_t ms = now_ms - p->window_start_ms;
	double s = (double)ms / 1000;
	struct progress_window w = {
		.ms = ms,
		.rows = p->done > p->window_done ? (double)(p->done - p->window_done) / s : 0,
		.share = p->share > p->window_share ? (p->share - p->window_share) / s : 0,
	};

	if (p->nwindows == PROGRESS_WINDOWS)
		memmove(p->windows, p->windows + 1, (PROGRESS_WINDOWS - 1) * sizeof(*p->windows));
	else
		p->nwindows++;
	p->windows[p->nwindows - 1] = w;
	begin_window(p, now_ms);
}

void progress_update(struct progress *p, uint64_t now_ms, const struct progress_counts *counts)
{
	double share = share_of(counts);

	p->now_ms = now_ms;
	p->done = counts->done;
	p->total = counts->total;
	p->failed = counts->failed;
	p->halted = counts->halted;
	/* A total that trembles does not make the bar go back; rows that turned up in numbers do. */
	if (share > p->share || share < p->share - SHARE_BACK)
		p->share = share;
	snprintf(p->note, sizeof(p->note), "%s", counts->note != NULL ? counts->note : "");
	if (!p->started) {
		p->started = true;
		p->start_ms = now_ms;
		begin_window(p, now_ms);
	} else if (p->halted) {
		p->nwindows = 0;
		begin_window(p, now_ms);
	} else if (now_ms - p->window_start_ms >= PROGRESS_WINDOW_MS) {
		push_window(p, now_ms);
	}
}

double progress_rate(const struct progress *p)
{
	uint64_t ms = p->now_ms - p->window_start_ms;
	double rows = 0;

	if (p->nwindows == 0)
		return ms >= RATE_AFTER_MS && p->done > p->window_done ? (double)(p->done - p->window_done) * 1000 / (double)ms : 0;
	ms = 0;
	for (unsigned i = 0; i < p->nwindows; i++) {
		rows += p->windows[i].rows * (double)p->windows[i].ms / 1000;
		ms += p->windows[i].ms;
	}
	return rows * 1000 / (double)ms;
}

struct progress_eta progress_eta(const struct progress *p)
{
	struct progress_eta eta = { .known = false };
	double left = 1 - p->share;
	double fast = 0, slow = 0;

	if (p->share >= 1) {
		eta.known = true;
		return eta;
	}
	if (p->share < 0 || p->nwindows < 2)
		return eta;
	for (unsigned i = 0; i < p->nwindows; i++) {
		double speed = p->windows[i].share;

		fast = speed > fast ? speed : fast;
		slow = i == 0 || speed < slow ? speed : slow;
	}
	if (!(fast > 0) || left / fast > 1e9) /* thirty years */
		return eta;
	eta.known = true;
	eta.low_ms = (uint64_t)(left / fast * 1000);
	eta.open = !(slow > 0) || left / slow > 1e9;
	eta.high_ms = eta.open ? eta.low_ms : (uint64_t)(left / slow * 1000);
	return eta;
}

/* ------------------------------------------------------------ the line */

struct line {
	struct buf *out;
	bool color;
	size_t columns; /* used */
};

static void part(struct line *l, enum out_style style, const char *gap, const char *text)
{
	if (text[0] == '\0')
		return;
	if (l->columns > 0) {
		buf_puts(l->out, gap);
		l->columns += strlen(gap);
	}
	buf_printf(l->out, "%s%s%s", out_style_on(style, l->color), text, out_style_off(style, l->color));
	l->columns += text_display_width(text);
}

static void eta_text(const struct progress *p, struct buf *out)
{
	struct progress_eta eta = progress_eta(p);
	struct text_short low, high;

	if (!eta.known || p->share >= 1)
		return;
	low = text_human_guess(eta.low_ms);
	high = text_human_guess(eta.high_ms);
	if (eta.open)
		buf_printf(out, "more than %s left", low.s);
	else if (strcmp(low.s, high.s) == 0)
		buf_printf(out, "about %s left", low.s);
	else
		buf_printf(out, "%s to %s left", low.s, high.s);
}

/* The rest of the line behind label, bar and share, with less and less in it as @level rises. */
static void tail(const struct progress *p, int level, struct line *l)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(LINE_MAX_BYTES);

	buf_puts(&text, text_human_rows(p->done).s);
	if (p->total > 0 && level < 2 && p->share < 1)
		buf_printf(&text, " of ~%s", text_human_rows(p->total).s);
	buf_puts(&text, " rows");
	part(l, OUT_PLAIN, "  ", text.data);
	buf_reset(&text);
	if (level < 4 && !p->halted)
		part(l, OUT_PLAIN, "  ", text_human_rate(progress_rate(p)).s);
	if (level < 3) {
		eta_text(p, &text);
		part(l, OUT_DIM, "  ", text.data);
		buf_reset(&text);
	}
	if (p->failed > 0) {
		buf_printf(&text, "%s failed", text_human_rows(p->failed).s);
		part(l, OUT_RED, "  ", text.data);
		buf_reset(&text);
	}
	if (level < 1 && p->note[0] != '\0') {
		text_add_printable(&text, p->note);
		part(l, OUT_YELLOW, "  ", text.data);
	}
}

static void bar(const struct progress *p, size_t room, struct line *l)
{
	char text[BAR_MAX + 3];
	size_t inside = room < BAR_MAX + 2 ? room - 2 : BAR_MAX;
	size_t full = (size_t)(p->share * (double)inside);

	text[0] = '[';
	for (size_t i = 0; i < inside; i++)
		text[1 + i] = i < full ? '=' : i == full ? '>' : ' ';
	text[1 + inside] = ']';
	text[2 + inside] = '\0';
	part(l, OUT_GREEN, " ", text);
}

void progress_render(const struct progress *p, unsigned width, bool color, struct buf *out)
{
	CLEANUP(buf_free) struct buf head = BUF_INIT(LINE_MAX_BYTES);
	CLEANUP(buf_free) struct buf rest = BUF_INIT(LINE_MAX_BYTES);
	struct text_short percent = { "" };
	struct line l = { .out = &rest, .color = color };
	size_t fixed, room;

	text_add_printable(&head, p->label);
	if (p->share >= 0)
		percent = text_human_percent(p->share);
	fixed = text_display_width(head.data) + (percent.s[0] != '\0' ? 1 + strlen(percent.s) : 0) + 2;
	for (int level = 0; level < 5; level++) {
		buf_reset(&rest);
		l.columns = 0;
		tail(p, level, &l);
		if (width == 0 || fixed + l.columns <= width)
			break;
	}
	if (width > 0 && fixed + l.columns > width) {
		/* Not even the least fits: what there is of it, without colours that a cut could leave on. */
		buf_reset(&rest);
		l = (struct line){ .out = &rest };
		tail(p, 4, &l);
		buf_printf(&head, "%s%s  %s", percent.s[0] != '\0' ? " " : "", percent.s, rest.data);
		text_add_clipped(out, head.data, width);
		return;
	}
	room = width > 0 ? width - fixed - l.columns : 0;
	l = (struct line){ .out = out, .color = color };
	part(&l, OUT_BOLD, "", head.data);
	if (p->share >= 0 && room >= BAR_MIN + 3)
		bar(p, room - 1, &l);
	part(&l, OUT_PLAIN, " ", percent.s);
	buf_printf(out, "  %s", rest.data);
}

void progress_render_json(const struct progress *p, struct buf *out)
{
	struct progress_eta eta = progress_eta(p);

	buf_puts(out, "{\"progress\":{\"label\":");
	text_add_json(out, p->label);
	buf_printf(out, ",\"done\":%" PRIu64 ",\"total\":", p->done);
	if (p->total > 0)
		buf_printf(out, "%" PRIu64, p->total);
	else
		buf_puts(out, "null");
	if (p->share >= 0)
		buf_printf(out, ",\"share\":%.6f", p->share);
	else
		buf_puts(out, ",\"share\":null");
	buf_printf(out, ",\"failed\":%" PRIu64 ",\"rate_per_s\":%.1f", p->failed, progress_rate(p));
	if (eta.known)
		buf_printf(out, ",\"eta_low_ms\":%" PRIu64, eta.low_ms);
	else
		buf_puts(out, ",\"eta_low_ms\":null");
	if (eta.known && !eta.open)
		buf_printf(out, ",\"eta_high_ms\":%" PRIu64, eta.high_ms);
	else
		buf_puts(out, ",\"eta_high_ms\":null");
	buf_printf(out, ",\"elapsed_ms\":%" PRIu64 ",\"note\":", p->now_ms - p->start_ms);
	text_add_json(out, p->note[0] != '\0' ? p->note : NULL);
	buf_puts(out, "}}");
}
