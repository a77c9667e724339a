/*
 * fuzz_output.c - any text as a value of a log line, a table and JSON: one line stays one line, nothing reaches the terminal that it obeys, and
 * what is read back is the text, with U+FFFD for each byte that was no UTF-8.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/output.h"
#include "core/log.h"
#include "core/text.h"

#define TEXT_MAX (1u << 20)
#define CUT " truncated=true"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* C0 and C1 controls, line and paragraph separators, direction overrides. @text is UTF-8. */
static bool is_harmless(const char *text, size_t n, bool lines)
{
	const unsigned char *p = (const unsigned char *)text;

	for (size_t i = 0; i < n; i++) {
		if ((p[i] < 0x20 && !(lines && p[i] == '\n')) || p[i] == 0x7F)
			return false;
		if (p[i] == 0xC2 && p[i + 1] <= 0x9F)
			return false;
		if (p[i] == 0xE2 && p[i + 1] == 0x80 && p[i + 2] >= 0xA8 && p[i + 2] <= 0xAE)
			return false;
		if (p[i] == 0xE2 && p[i + 1] == 0x81 && p[i + 2] >= 0xA6 && p[i + 2] <= 0xA9)
			return false;
	}
	return text_utf8_valid(text, n);
}

/* The text as it should come back. */
static void add_clean(struct buf *out, const char *s)
{
	while (*s != '\0') {
		size_t n = 1, left = strlen(s);

		while (n <= 4 && n <= left && !text_utf8_valid(s, n))
			n++;
		if (n > 4 || n > left) {
			buf_puts(out, "\xEF\xBF\xBD");
			n = 1;
		} else {
			buf_add(out, s, n);
		}
		s += n;
	}
}

/* ------------------------------------------------------------ log lines */

static void keep(void *arg, const char *line)
{
	struct buf *out = arg;

	must(buf_puts(out, line) == 0 && out->len < LOG_LINE_MAX);
}

static void add_code_point(struct buf *out, const char **at, size_t digits)
{
	char hex[5] = "";
	unsigned cp;

	must(strlen(*at) >= digits);
	memcpy(hex, *at, digits);
	cp = (unsigned)strtoul(hex, NULL, 16);
	if (cp < 0x80)
		buf_printf(out, "%c", (int)cp);
	else if (cp < 0x800)
		buf_printf(out, "%c%c", (int)(0xC0 | cp >> 6), (int)(0x80 | (cp & 0x3F)));
	else
		buf_printf(out, "%c%c%c", (int)(0xE0 | cp >> 12), (int)(0x80 | (cp >> 6 & 0x3F)), (int)(0x80 | (cp & 0x3F)));
	*at += digits;
}

/* The value at @at, in quotes or plain; @at moves behind it. */
static void read_value(const char **at, struct buf *out)
{
	static const char letters[] = "n\nt\tr\r\\\\''";
	bool quoted = **at == '\'';
	const char *p = *at + quoted;

	while (*p != '\0' && (quoted ? *p != '\'' : *p != ' ')) {
		const char *letter = strchr(letters, p[1]);

		if (*p != '\\') {
			buf_putc(out, *p++);
			continue;
		}
		must(quoted && p[1] != '\0');
		p += 2;
		if (p[-1] == 'x' || p[-1] == 'u')
			add_code_point(out, &p, p[-1] == 'x' ? 2 : 4);
		else {
			must(letter != NULL);
			buf_putc(out, letter[1]);
		}
	}
	must(!quoted || *p == '\'');
	*at = p + quoted;
}

/* " key=" at @at, its value, and what follows. */
static const char *expect(const char *at, const char *key, const char *value)
{
	CLEANUP(buf_free) struct buf got = BUF_INIT(TEXT_MAX);
	size_t n = strlen(key);

	must(*at == ' ' && strncmp(at + 1, key, n) == 0 && at[n + 1] == '=');
	at += n + 2;
	read_value(&at, &got);
	must(strcmp(got.data, value) == 0);
	return at;
}

static void write_log(const char *s, const char *clean)
{
	CLEANUP(buf_free) struct buf line = BUF_INIT(LOG_LINE_MAX);
	const char *at;
	json_t *root;

	log_redirect(keep, &line);
	log_setup(LOG_INFO, LOG_KV);
	log_warn("fuzz.kv", "a=%s b='%s' n=%d %s", s, s, 7, s);
	must(is_harmless(line.data, line.len, false));
	at = strstr(line.data, " fuzz.kv");
	must(at != NULL);
	/* A value with '=' in it is quoted: this is the line's own word. */
	if (line.len < strlen(CUT) || strcmp(line.data + line.len - strlen(CUT), CUT) != 0) {
		at = expect(at + strlen(" fuzz.kv"), "a", clean);
		at = expect(at, "b", clean);
		at = expect(at, "n", "7");
		must(*(clean[0] != '\0' ? expect(at, "msg", clean) : at) == '\0');
	}
	buf_reset(&line);
	log_setup(LOG_INFO, LOG_JSON);
	log_warn("fuzz.json", "a=%s b='%s' n=%d %s", s, s, 7, s);
	must(is_harmless(line.data, line.len, false));
	root = json_loads(line.data, 0, NULL);
	must(root != NULL);
	if (!json_is_true(json_object_get(root, "truncated"))) {
		must(json_integer_value(json_object_get(root, "n")) == 7);
		must(strcmp(json_string_value(json_object_get(root, "a")), clean) == 0);
		must(strcmp(json_string_value(json_object_get(root, "b")), clean) == 0);
	}
	json_decref(root);
	log_redirect(NULL, NULL);
}

/* ------------------------------------------------------------ tables */

static const struct out_column columns[] = {
	{ "text", "TEXT", .type = OUT_STR, .clip = true },
	{ "int", NULL, .type = OUT_INT },
	{ "id", NULL, .type = OUT_ID },
	{ "num", NULL, .type = OUT_NUM },
	{ "bool", NULL, .type = OUT_BOOL },
	{ "time", NULL, .type = OUT_TIME },
	{ "duration", NULL, .type = OUT_DURATION },
	{ "bytes", NULL, .type = OUT_BYTES },
	{ "raw", NULL, .type = OUT_RAW_JSON },
	{ "prose", NULL, .type = OUT_STR, .below = true },
};

/* The same text in every column of every type. */
static void write_table(const char *s, enum out_format format, bool kv, unsigned width, char **ret, size_t *ret_n)
{
	FILE *file = open_memstream(ret, ret_n);
	struct err err = ERR_INIT;
	struct out o;

	must(file != NULL);
	out_init(&o, file, format, false, width);
	if (kv)
		out_kv(&o, columns, ARRAY_SIZE(columns));
	else
		out_table(&o, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		out_text(&o, s);
	must(out_end(&o, NULL, &err) == 0);
	out_close(&o);
	fclose(file);
}

static void check_json(const char *text, const char *clean)
{
	json_t *root = json_loads(text, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL), *row = json_array_get(root, 0);

	/* A number may be too large for jansson, and is right all the same. */
	if (root == NULL && strpbrk(clean, "0123456789") != NULL)
		return;
	must(root != NULL && json_array_size(root) == 1 && json_object_size(row) == ARRAY_SIZE(columns));
	must(strcmp(json_string_value(json_object_get(row, "text")), clean) == 0);
	json_decref(root);
}

static void write_tables(const char *s, const char *clean, unsigned width)
{
	char *text;
	size_t n;

	for (int kv = 0; kv <= 1; kv++) {
		write_table(s, OUT_HUMAN, kv != 0, width, &text, &n);
		must(is_harmless(text, n, true));
		free(text);
	}
	write_table(s, OUT_JSON, false, 0, &text, &n);
	must(is_harmless(text, n, true));
	check_json(text, clean);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(TEXT_MAX);
	CLEANUP(buf_free) struct buf clean = BUF_INIT(TEXT_MAX);
	static const unsigned widths[] = { 0, 20, 80 };

	/* Longer values are cut in a log line. */
	if (size > 1000)
		return 0;
	buf_add(&text, data, size);
	add_clean(&clean, text.data);
	write_log(text.data, clean.data);
	write_tables(text.data, clean.data, widths[size % ARRAY_SIZE(widths)]);
	return 0;
}
