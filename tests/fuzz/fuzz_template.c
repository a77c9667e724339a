/*
 * fuzz_template.c - placeholders in statements: nothing is replaced within a string, a comment, a quoted name or a dollar quote.
 *
 * What is code is decided here a second time, by the rules of the manual (4.1, lexical structure) and not by PostgreSQL's scanner.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "migration/template.h"

#define BATCH "(SELECT 1)"
#define KEYS "the_keys"
#define OUT_MAX (1u << 20)
#define BLANKS " \t\n\r\f\v"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static bool starts_name(char c)
{
	return isalpha((unsigned char)c) || c == '_' || ((unsigned char)c & 0x80) != 0;
}

static bool in_name(char c)
{
	return starts_name(c) || isdigit((unsigned char)c) || c == '$';
}

static const char *after_line(const char *p)
{
	return p + strcspn(p, "\r\n");
}

/* @p is at the opening slash; comments nest. */
static const char *after_comment(const char *p)
{
	unsigned depth = 0;

	while (*p != '\0') {
		bool opens = p[0] == '/' && p[1] == '*', closes = p[0] == '*' && p[1] == '/';

		depth += opens;
		depth -= closes;
		p += opens || closes ? 2 : 1;
		if (depth == 0)
			break;
	}
	return p;
}

/* Between two parts of one string: blanks with a line end among them. NULL: the string ends at @p. */
static const char *continuation(const char *p)
{
	bool line_end = false;

	for (; *p != '\0' && strchr(BLANKS, *p) != NULL; p++)
		line_end = line_end || *p == '\n' || *p == '\r';
	return line_end && *p == '\'' ? p : NULL;
}

/*
 * A comment between two parts of a string: the server takes them for one, the library's scanner for two. No statement can have two strings
 * in a row, so none with this gets past the parser.
 */
static bool has_commented_string(const char *text)
{
	for (const char *p = strstr(text, "--"); p != NULL; p = strstr(p + 2, "--")) {
		const char *before = p, *after = after_line(p);

		while (before > text && strchr(BLANKS, before[-1]) != NULL)
			before--;
		after += strspn(after, BLANKS);
		if (before > text && (before[-1] == '\'' || before[-1] == '-') && (*after == '\'' || *after == '-'))
			return true;
	}
	return false;
}

/* @p is at the opening quote. @escapes: a backslash takes the next byte with it, as in E'..'. */
static const char *after_quotes(const char *p, char quote, bool escapes)
{
	p++;
	for (;;) {
		const char *next;

		if (*p == '\0')
			return p;
		if (*p == '\\' && escapes && p[1] != '\0') {
			p += 2;
		} else if (*p != quote) {
			p++;
		} else if (p[1] == quote) {
			p += 2;
		} else {
			next = quote == '\'' ? continuation(p + 1) : NULL;
			if (next == NULL)
				return p + 1;
			p = next + 1;
		}
	}
}

/* @p is at a dollar sign: after the whole quote, or just after the sign if none begins here. */
static const char *after_dollar(const char *p)
{
	const char *tag = p + 1, *end = tag, *close;
	size_t n;

	if (*end != '$' && !starts_name(*end))
		return p + 1;
	while (in_name(*end) && *end != '$')
		end++;
	if (*end != '$')
		return p + 1;
	n = (size_t)(end + 1 - p);
	close = memmem(end + 1, strlen(end + 1), p, n);
	return close != NULL ? close + n : end + strlen(end);
}

/* After a word. What is glued to a string (E'..', N'..', U&'..') is looked at by the caller. */
static const char *after_name(const char *p)
{
	while (in_name(*p))
		p++;
	return p;
}

/* Mark the bytes of @text that are code. False: a number that versions of PostgreSQL read differently. */
static bool mark_code(const char *text, char *code)
{
	const char *p = text;

	memset(code, 0, strlen(text) + 1);
	while (*p != '\0') {
		const char *next;
		bool is_code = false;

		if (p[0] == '-' && p[1] == '-') {
			next = after_line(p);
		} else if (p[0] == '/' && p[1] == '*') {
			next = after_comment(p);
		} else if (*p == '"') {
			next = after_quotes(p, '"', false);
		} else if (*p == '\'') {
			next = after_quotes(p, '\'', false);
		} else if ((*p == 'e' || *p == 'E') && p[1] == '\'') {
			next = after_quotes(p + 1, '\'', true);
		} else if (*p == '$' && !isdigit((unsigned char)p[1])) {
			next = after_dollar(p);
			is_code = next == p + 1;
		} else if (starts_name(*p)) {
			next = after_name(p);
			is_code = true;
		} else if (isdigit((unsigned char)*p)) {
			next = p + strspn(p, "0123456789");
			if (starts_name(*next))
				return false;
			is_code = true;
		} else {
			next = p + 1;
			is_code = true;
		}
		memset(code + (p - text), is_code, (size_t)(next - p));
		p = next;
	}
	return true;
}

static void check(const char *text, char *code)
{
	CLEANUP(buf_free) struct buf wanted = BUF_INIT(OUT_MAX);
	CLEANUP(buf_free) struct buf out = BUF_INIT(OUT_MAX);
	struct placeholders found = { 0 };
	struct scan_tokens tokens = { 0 };
	struct err err = ERR_INIT;
	size_t offset, at = 0;

	if (has_commented_string(text) || !mark_code(text, code) || scan_sql(text, &tokens, &offset, &err) != 0)
		return;
	must(template_find(text, &tokens, &found, &err) == 0);
	for (size_t i = 0; i < found.n; i++) {
		const struct placeholder *p = &found.v[i];

		must(p->start >= at && p->end <= strlen(text));
		must(strncmp(text + p->start, p->keys ? ":keys" : ":batch", p->end - p->start) == 0);
		for (size_t k = p->start; k < p->end; k++)
			must(code[k] != 0);
		buf_add(&wanted, text + at, p->start - at);
		buf_puts(&wanted, p->keys ? KEYS : BATCH);
		buf_puts(&wanted, p->keys || p->alias ? "" : " AS batch");
		at = p->end;
	}
	buf_puts(&wanted, text + at);
	must(template_fill(text, BATCH, KEYS, &out, &err) == 0 && strcmp(out.data, wanted.data) == 0);
	template_free(&found);
	scan_free(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, *code;

	if (size > 16384 || memchr(data, '\0', size) != NULL || !text_utf8_valid((const char *)data, size))
		return 0;
	text = calloc(2, size + 1);
	if (text == NULL)
		return 0;
	code = text + size + 1;
	if (size > 0)
		memcpy(text, data, size);
	check(text, code);
	free(text);
	return 0;
}
