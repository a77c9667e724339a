#include "core/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/text.h"

const char *const log_level_names[] = { "debug", "info", "warn", "error", NULL };
const char *const log_format_names[] = { "kv", "json", NULL };

#define VALUE_MAX 1024 /* bytes of one value; the rest is cut */

/* Set before threads start, read by all of them afterwards. */
static struct {
	enum log_level min;
	enum log_format format;
	void (*sink)(void *arg, const char *line);
	void *sink_arg;
} setup = { .min = LOG_INFO };

void log_setup(enum log_level min, enum log_format format)
{
	setup.min = min;
	setup.format = format;
}

void log_setup_named(const char *level, const char *format)
{
	for (int i = 0; log_level_names[i] != NULL; i++)
		if (level != NULL && strcmp(level, log_level_names[i]) == 0)
			setup.min = (enum log_level)i;
	for (int i = 0; log_format_names[i] != NULL; i++)
		if (format != NULL && strcmp(format, log_format_names[i]) == 0)
			setup.format = (enum log_format)i;
}

void log_redirect(void (*sink)(void *arg, const char *line), void *arg)
{
	setup.sink = sink;
	setup.sink_arg = arg;
}

/* ------------------------------------------------------------ reading the format */

/* One conversion, from its '%' on; its arguments are fetched with their own types. */
struct conversion {
	char spec[32]; /* "%08.3f" */
	size_t len;    /* bytes in the format */
	char type;     /* the letter */
	char size;     /* 'h' (h, hh), 'l', 'L' (ll), 'z', 'j', 't', or 0 */
	unsigned stars;
};

static struct conversion read_conversion(const char *fmt)
{
	struct conversion c = { .spec = "" };
	size_t n = 1;

	while (fmt[n] != '\0' && strchr("-+ #0123456789.*'", fmt[n]) != NULL)
		c.stars += fmt[n++] == '*';
	if (fmt[n] != '\0' && strchr("hlzjt", fmt[n]) != NULL) {
		c.size = fmt[n++];
		if (fmt[n] == c.size) {
			c.size = c.size == 'l' ? 'L' : c.size;
			n++;
		}
	}
	c.type = fmt[n];
	c.len = c.type == '\0' ? n : n + 1;
	if (c.len < sizeof(c.spec))
		memcpy(c.spec, fmt, c.len);
	return c;
}

/* va_list as an array type decays when passed; in a struct it can be handed on by pointer. */
struct args {
	va_list ap;
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the compiler has checked the whole format at the call */

#define PRINT(value)                                                                      \
	do {                                                                              \
		if (c->stars == 0)                                                        \
			snprintf(text, sizeof(text), c->spec, (value));                   \
		else if (c->stars == 1)                                                   \
			snprintf(text, sizeof(text), c->spec, star[0], (value));          \
		else                                                                      \
			snprintf(text, sizeof(text), c->spec, star[0], star[1], (value)); \
	} while (0)

static void print_conversion(struct buf *out, const struct conversion *c, struct args *a)
{
	char text[VALUE_MAX] = "";
	int star[2] = { 0, 0 };

	for (unsigned i = 0; i < c->stars && i < 2; i++)
		star[i] = va_arg(a->ap, int);
	if (c->type == '\0') {
		return;
	} else if (c->type == '%') {
		text[0] = '%';
	} else if (c->type == 's') {
		const char *s = va_arg(a->ap, const char *);

		PRINT(s != NULL ? s : "null");
	} else if (c->type == 'p') {
		PRINT(va_arg(a->ap, void *));
	} else if (strchr("fFeEgG", c->type) != NULL) {
		PRINT(va_arg(a->ap, double));
	} else if (c->size == 'l') {
		PRINT(va_arg(a->ap, long));
	} else if (c->size == 'L') {
		PRINT(va_arg(a->ap, long long));
	} else if (c->size == 'z' || c->size == 't') {
		PRINT(va_arg(a->ap, size_t));
	} else if (c->size == 'j') {
		PRINT(va_arg(a->ap, intmax_t));
	} else {
		PRINT(va_arg(a->ap, int));
	}
	buf_puts(out, text);
}

#pragma GCC diagnostic pop

struct field {
	char key[48];
	struct buf value;
	bool numeric; /* one numeric conversion and nothing else */
};

/* A value or a word: up to a blank, or for a value in quotes up to the closing one. Returns what follows. */
static const char *read_value(const char *p, bool quoted, struct field *f, struct args *a)
{
	unsigned conversions = 0, others = 0;

	while (*p != '\0') {
		if (quoted ? *p == '\'' && (p[1] == ' ' || p[1] == '\0') : *p == ' ')
			break;
		if (*p == '%') {
			struct conversion c = read_conversion(p);

			print_conversion(&f->value, &c, a);
			if (strchr("diufeg", c.type) != NULL)
				conversions++;
			else
				others++;
			p += c.len;
		} else {
			buf_putc(&f->value, *p++);
			others++;
		}
	}
	f->numeric = conversions == 1 && others == 0 && text_is_json_number(f->value.data);
	return quoted && *p == '\'' ? p + 1 : p;
}

/* "key=" in front of a value; its length with the '=', 0 if there is none. */
static size_t key_length(const char *p)
{
	size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return n > 0 && p[n] == '=' ? n + 1 : 0;
}

/* ------------------------------------------------------------ writing the line */

static bool is_plain(const char *s)
{
	for (const char *p = s; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7F || strchr("'\"\\=", *p) != NULL)
			return false;
	return *s != '\0';
}

static void add_kv(struct buf *out, const char *key, const char *value)
{
	CLEANUP(buf_free) struct buf escaped = BUF_INIT(LOG_LINE_MAX);

	buf_printf(out, " %s=", key);
	if (is_plain(value)) {
		buf_puts(out, value);
		return;
	}
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == '\'' || *p == '\\')
			buf_putc(&escaped, '\\');
		buf_putc(&escaped, *p);
	}
	buf_putc(out, '\'');
	text_add_printable(out, escaped.data);
	buf_putc(out, '\'');
}

static void add_json(struct buf *out, const struct field *f)
{
	buf_putc(out, ',');
	text_add_json(out, f->key);
	buf_putc(out, ':');
	if (f->numeric)
		buf_puts(out, f->value.data);
	else
		text_add_json(out, f->value.data);
}

/* Fields that do not fit are left out, and the line says so. */
static void add_field(struct buf *line, const struct field *f, bool *cut)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(LOG_LINE_MAX);

	if (setup.format == LOG_JSON)
		add_json(&text, f);
	else
		add_kv(&text, f->key, f->value.data);
	if (!buf_ok(&text) || line->len + text.len + sizeof(",\"truncated\":true}\n") > LOG_LINE_MAX)
		*cut = true;
	else
		buf_add(line, text.data, text.len);
}

static void add_fields(struct buf *line, const char *fmt, struct args *a)
{
	struct field f = { .value = BUF_INIT(LOG_LINE_MAX) };
	struct field msg = { .key = "msg", .value = BUF_INIT(LOG_LINE_MAX) };
	bool cut = false;
	const char *p = fmt;

	while (*(p += strspn(p, " ")) != '\0') {
		size_t key = key_length(p);

		if (key == 0) {
			if (msg.value.len > 0)
				buf_putc(&msg.value, ' ');
			p = read_value(p, false, &msg, a);
			continue;
		}
		snprintf(f.key, sizeof(f.key), "%.*s", (int)key - 1, p);
		p += key;
		buf_reset(&f.value);
		p = read_value(p + (*p == '\''), *p == '\'', &f, a);
		add_field(line, &f, &cut);
	}
	msg.numeric = false;
	if (msg.value.len > 0)
		add_field(line, &msg, &cut);
	if (cut)
		buf_puts(line, setup.format == LOG_JSON ? ",\"truncated\":true" : " truncated=true");
	buf_free(&f.value);
	buf_free(&msg.value);
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(LOG_LINE_MAX);
	int saved_errno = errno;
	struct text_short time;
	struct args a;

	if (level < setup.min)
		return;
	time = text_iso8601(clock_wall_ms(clock_system()));
	if (setup.format == LOG_JSON)
		buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", time.s, log_level_names[level], event);
	else
		buf_printf(&line, "%s %-5s %s", time.s, log_level_names[level], event);
	va_start(a.ap, fmt);
	add_fields(&line, fmt, &a);
	va_end(a.ap);
	if (setup.format == LOG_JSON)
		buf_putc(&line, '}');
	if (setup.sink != NULL) {
		setup.sink(setup.sink_arg, line.data);
	} else {
		buf_putc(&line, '\n');
		if (write(STDERR_FILENO, line.data, line.len) < 0)
			errno = 0; /* nobody is left to be told */
	}
	errno = saved_errno;
}
