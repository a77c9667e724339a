/*
 * scan.c - the tokens of an SQL text.
 *
 * libpg_query returns them as a protobuf message. Of it we read two levels of three integers each, so the wire format is
 * read here rather than by a library: its headers lie in a package of their own and would tie us to its version.
 * The numbers of tokens differ between versions of PostgreSQL; tokens are told apart by their text instead.
 */
#include "migration/scan.h"

#include <pg_query.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* pg_query.proto: message ScanResult, ScanToken, enum KeywordKind. */
enum { RESULT_TOKENS = 2, TOKEN_START = 1, TOKEN_END = 2, TOKEN_KEYWORD_KIND = 5 };
enum { KEYWORD_NONE = 0, KEYWORD_UNRESERVED = 1, KEYWORD_COL_NAME = 2 };
enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

struct reader {
	const unsigned char *at, *end;
	bool bad;
};

struct field {
	unsigned number, wire;
	uint64_t value;       /* a varint */
	struct reader nested; /* bytes */
};

static uint64_t read_varint(struct reader *r)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (r->at == r->end)
			break;
		value |= (uint64_t)(*r->at & 0x7f) << shift;
		if ((*r->at++ & 0x80) == 0)
			return value;
	}
	r->bad = true;
	return 0;
}

static bool read_field(struct reader *r, struct field *ret)
{
	uint64_t tag;

	if (r->bad || r->at == r->end)
		return false;
	tag = read_varint(r);
	ret->number = (unsigned)(tag >> 3);
	ret->wire = (unsigned)(tag & 7);
	ret->value = read_varint(r);
	if (ret->wire == WIRE_BYTES) {
		if (ret->value > (uint64_t)(r->end - r->at))
			r->bad = true;
		else {
			ret->nested = (struct reader){ .at = r->at, .end = r->at + ret->value };
			r->at += ret->value;
		}
	} else if (ret->wire != WIRE_VARINT) {
		r->bad = true; /* the messages have no fixed-width fields */
	}
	return !r->bad;
}

/* Words of which only the scanner's class says whether they may be an alias. */
static bool starts_name(char c)
{
	return c == '"' || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || ((unsigned char)c & 0x80) != 0;
}

static int read_token(const char *text, size_t len, struct reader r, struct scan_token *t)
{
	uint64_t kind = KEYWORD_NONE;
	struct field f;

	*t = (struct scan_token){ 0 };
	while (read_field(&r, &f)) {
		if (f.number == TOKEN_START)
			t->start = (size_t)f.value;
		else if (f.number == TOKEN_END)
			t->end = (size_t)f.value;
		else if (f.number == TOKEN_KEYWORD_KIND)
			kind = f.value;
	}
	if (r.bad || t->start > t->end || t->end > len)
		return ST_INPUT;
	t->comment = strncmp(text + t->start, "--", 2) == 0 || strncmp(text + t->start, "/*", 2) == 0;
	t->name = starts_name(text[t->start]) && kind <= KEYWORD_COL_NAME &&
		  /* constants like E'...' and X'...' */
		  (t->end == t->start || text[t->end - 1] != '\'');
	return 0;
}

static int read_tokens(const char *text, PgQueryProtobuf pbuf, struct scan_tokens *ret, struct err *err)
{
	struct reader r = { .at = (const unsigned char *)pbuf.data, .end = (const unsigned char *)pbuf.data + pbuf.len };
	size_t cap = 0, len = strlen(text);
	struct scan_tokens t = { 0 };
	struct field f;

	while (read_field(&r, &f)) {
		if (f.number != RESULT_TOKENS || f.wire != WIRE_BYTES)
			continue;
		if (t.n == cap) {
			struct scan_token *grown;

			cap = cap == 0 ? 256 : cap * 2;
			if (t.n >= SCAN_TOKENS_MAX) {
				scan_free(&t);
				return err_set(err, ST_LIMIT, "the SQL is longer than %d words", SCAN_TOKENS_MAX);
			}
			grown = reallocarray(t.v, cap, sizeof(*t.v));
			if (grown == NULL) {
				scan_free(&t);
				return err_set(err, ST_NOMEM, "out of memory");
			}
			t.v = grown;
		}
		if (read_token(text, len, f.nested, &t.v[t.n++]) != 0)
			r.bad = true;
	}
	if (r.bad) {
		scan_free(&t);
		return err_set(err, ST_INPUT, "the SQL scanner's answer could not be read");
	}
	*ret = t;
	return 0;
}

int scan_sql(const char *text, struct scan_tokens *ret, size_t *ret_offset, struct err *err)
{
	PgQueryScanResult res = pg_query_scan(text);
	int rc;

	if (res.error != NULL) {
		*ret_offset = scan_byte_of(text, res.error->cursorpos);
		rc = err_set(err, ST_INPUT, "%s", res.error->message);
	} else {
		rc = read_tokens(text, res.pbuf, ret, err);
		if (rc != 0)
			*ret_offset = 0;
	}
	pg_query_free_scan_result(res);
	return rc;
}

void scan_free(struct scan_tokens *t)
{
	free(t->v);
	*t = (struct scan_tokens){ 0 };
}

bool scan_is(const char *text, const struct scan_token *t, const char *word)
{
	size_t n = strlen(word);

	return t->end - t->start == n && memcmp(text + t->start, word, n) == 0;
}

size_t scan_byte_of(const char *text, int position)
{
	size_t i = 0;

	for (int c = 1; c < position && text[i] != '\0'; c++) {
		i++;
		while (((unsigned char)text[i] & 0xc0) == 0x80)
			i++;
	}
	return i;
}

int scan_line_of(const char *text, size_t offset)
{
	int line = 1;

	for (size_t i = 0; i < offset && text[i] != '\0'; i++)
		line += text[i] == '\n';
	return line;
}
