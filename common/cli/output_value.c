/* One value in its two forms, by the type of its column. */
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output_private.h"
#include "core/text.h"

#define VALUE_MAX (32u << 20) /* bytes of one value */

void out_add_lines(struct buf *out, const char *text)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(VALUE_MAX);

	for (;;) {
		size_t n = strcspn(text, "\n");

		buf_reset(&line);
		buf_add(&line, text, n);
		text_add_printable(out, line.data);
		if (text[n] == '\0')
			return;
		text += n + 1;
		if (*text != '\0')
			buf_putc(out, '\n');
	}
}

static const struct out_column *column(const struct out *o)
{
	return &o->columns[o->cell];
}

static void put_string(struct out *o, const char *s)
{
	CLEANUP(buf_free) struct buf json = BUF_INIT(VALUE_MAX);

	if (o->format != OUT_HUMAN && text_add_json(&json, s) != 0)
		o->rc = o->rc != 0 ? o->rc : ST_LIMIT;
	out_put(o, json.data, s);
}

/* A whole number that is not negative, for those forms that need one. */
static bool read_u64(const char *s, uint64_t *ret)
{
	return text_parse_u64(s, 0, UINT64_MAX, ret, NULL) == 0;
}

static void put_number(struct out *o, const char *s)
{
	enum out_type type = column(o)->type;
	struct text_short human;
	uint64_t v;

	if (!text_is_json_number(s)) {
		put_string(o, s); /* "NaN" and "Infinity" of numeric */
	} else if (type == OUT_INT && read_u64(s + (*s == '-'), &v)) {
		snprintf(human.s, sizeof(human.s), "%s%.30s", *s == '-' ? "-" : "", text_human_rows(v).s);
		out_put(o, s, human.s);
	} else if (type == OUT_DURATION && read_u64(s, &v)) {
		out_put(o, s, text_human_duration(v).s);
	} else if (type == OUT_BYTES && read_u64(s, &v)) {
		out_put(o, s, text_human_bytes(v).s);
	} else {
		out_put(o, s, s);
	}
}

/* "2024-05-01 12:00:00.123456+00" of PostgreSQL's ISO style becomes "2024-05-01T12:00:00.123456Z"; for people without the fraction. */
static void put_time(struct out *o, const char *s)
{
	char full[48], whole[48];
	size_t n = strlen(s);
	size_t zone = n > 19 ? 19 + strspn(s + 19, ".0123456789") : n;
	const char *offset = s + zone;

	if (n < 19 || n > 35 || (s[10] != ' ' && s[10] != 'T') || s[strspn(s, "0123456789-:.+ TZ")] != '\0') {
		put_string(o, s); /* "infinity" and the like */
		return;
	}
	if (strcmp(offset, "+00") == 0 || strcmp(offset, "+00:00") == 0)
		offset = "Z";
	snprintf(full, sizeof(full), "\"%.10sT%.*s%s%s\"", s, (int)(zone - 11), s + 11, offset, strlen(offset) == 3 ? ":00" : "");
	snprintf(whole, sizeof(whole), "%.10sT%.8s%s", s, s + 11, offset);
	out_put(o, full, whole);
}

void out_null(struct out *o)
{
	out_put(o, "null", NULL);
}

void out_text(struct out *o, const char *s)
{
	if (s == NULL) {
		out_null(o);
		return;
	}
	switch (column(o)->type) {
	case OUT_STR:
		put_string(o, s);
		break;
	case OUT_INT:
	case OUT_ID:
	case OUT_NUM:
	case OUT_DURATION:
	case OUT_BYTES:
		put_number(o, s);
		break;
	case OUT_BOOL:
		if (strcmp(s, "t") == 0 || strcmp(s, "true") == 0 || strcmp(s, "f") == 0 || strcmp(s, "false") == 0)
			out_put(o, *s == 't' ? "true" : "false", *s == 't' ? "yes" : "no");
		else
			put_string(o, s);
		break;
	case OUT_TIME:
		put_time(o, s);
		break;
	case OUT_RAW_JSON:
		out_json(o, s);
		break;
	}
}

void out_textf(struct out *o, const char *fmt, ...)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(VALUE_MAX);
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	out_text(o, text.data);
}

void out_int(struct out *o, int64_t v)
{
	out_textf(o, "%" PRId64, v);
}

void out_uint(struct out *o, uint64_t v)
{
	out_textf(o, "%" PRIu64, v);
}

void out_num(struct out *o, double v)
{
	char exact[32], human[64];
	size_t n;

	if (!isfinite(v)) {
		out_null(o);
		return;
	}
	snprintf(exact, sizeof(exact), "%.15g", v);
	if (strtod(exact, NULL) != v)
		snprintf(exact, sizeof(exact), "%.17g", v);
	if (column(o)->type != OUT_NUM || fabs(v) >= 1e15) {
		out_text(o, exact);
		return;
	}
	n = (size_t)snprintf(human, sizeof(human), "%.2f", v);
	while (human[n - 1] == '0')
		n--;
	human[human[n - 1] == '.' ? n - 1 : n] = '\0';
	out_put(o, exact, human);
}

void out_bool(struct out *o, bool v)
{
	out_put(o, v ? "true" : "false", v ? "yes" : "no");
}

void out_time(struct out *o, int64_t wall_ms)
{
	put_time(o, text_iso8601(wall_ms).s);
}

void out_json(struct out *o, const char *json)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(VALUE_MAX);
	json_t *parsed;

	if (json == NULL) {
		out_null(o);
		return;
	}
	parsed = json_loads(json, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
	if (parsed == NULL) {
		put_string(o, json);
		return;
	}
	json_decref(parsed);
	/* Written as it came, so that no number loses digits. */
	text_add_json_line(&line, json);
	if (!buf_ok(&line))
		o->rc = o->rc != 0 ? o->rc : ST_LIMIT;
	out_put(o, line.data, json);
}
