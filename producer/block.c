#include "producer/block.h"

#include <string.h>

#include "core/clock.h"
#include "core/text.h"

#define TEXT_MAX (16 * 1024)
#define INDENT 4

enum out_style block_state_style(const char *state)
{
	if (strcmp(state, "paused") == 0 || strcmp(state, "cancelled") == 0)
		return OUT_YELLOW;
	return strcmp(state, "running") == 0 ? OUT_BOLD : OUT_GREEN;
}

/* What a migration's jobs are at, in a line: "120 jobs in Redis, 12 running, 3 put off, 5 dead letters". */
static void add_jobs(struct buf *out, const struct standing *s)
{
	const struct {
		bool known;
		int64_t n;
		const char *what, *one;
	} parts[] = {
		{ s->depth_known, (int64_t)queue_depth_jobs(&s->depth), "jobs in Redis", "job in Redis" },
		{ true, s->lanes_busy, "running", "running" },
		{ s->depth_known && s->depth.delayed > 0, (int64_t)s->depth.delayed, "put off", "put off" },
		{ s->waiting > 0, s->waiting, "rows wait for another attempt", "row waits for another attempt" },
		{ true, s->dead, "dead letters", "dead letter" },
	};
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (!parts[i].known)
			continue;
		buf_printf(out, "%s%s %s", any ? ", " : "", text_human_rows((uint64_t)parts[i].n).s,
			   parts[i].n == 1 ? parts[i].one : parts[i].what);
		any = true;
	}
}

void block_put(const struct out *out, const struct standing *s, const struct track *t, const struct strvec *why, size_t most)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);
	CLEANUP(buf_free) struct buf clean = BUF_INIT(TEXT_MAX);
	CLEANUP(buf_free) struct buf wrapped = BUF_INIT(TEXT_MAX);
	enum out_style style = block_state_style(s->state);
	size_t head = INDENT + strlen(s->state);

	progress_render(&t->progress, out->width, out->color, &text);
	buf_printf(&clean, "%s, ", s->state);
	add_jobs(&clean, s);
	text_add_wrapped(&wrapped, clean.data, INDENT, out->width);
	buf_printf(&text, "\n%*s%s%s%s%s\n", INDENT, "", out_style_on(style, out->color), s->state, out_style_off(style, out->color),
		   wrapped.len > head ? wrapped.data + head : "");
	for (size_t i = 0; i < why->n && i < most; i++) {
		buf_reset(&clean);
		text_add_printable(&clean, why->v[i]);
		text_add_wrapped(&text, clean.data, INDENT, out->width);
		buf_putc(&text, '\n');
	}
	fprintf(out->file, "%s\n", text.data);
}

void block_put_line(const struct out *out, const struct standing *s, const struct track *t, const struct strvec *why)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);

	buf_printf(&text, "%s %s ", text_iso8601(clock_wall_ms(clock_system())).s, s->state);
	if (t != NULL)
		progress_render(&t->progress, 0, false, &text);
	else
		buf_printf(&text, "%s", s->name);
	buf_puts(&text, "  ");
	add_jobs(&text, s);
	if (why->n > 0) {
		buf_puts(&text, ": ");
		text_add_printable(&text, why->v[0]);
	}
	fprintf(out->file, "%s\n", text.data);
}
