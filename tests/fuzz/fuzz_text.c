/*
 * fuzz_text.c - every reader and writer of core/text.h on any bytes: no crash, and what is written keeps its promises.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

#define OUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void read_values(const char *s)
{
	static const char *const words[] = { "produce", "--batch-size", "status", NULL };
	struct err err = ERR_INIT;
	struct strvec list;
	uint64_t u = 0, ms[4];
	int64_t i = 0;
	double d = 0;
	bool b = false;
	size_t n = 0;

	if (text_parse_u64(s, 5, 500, &u, &err) == 0)
		must(u >= 5 && u <= 500);
	if (text_parse_i64(s, -5, 5, &i, &err) == 0)
		must(i >= -5 && i <= 5);
	if (text_parse_percent(s, &d, &err) == 0)
		must(d >= 0 && d <= 100);
	if (text_parse_rate(s, &d, &err) == 0)
		must(d > 0);
	if (text_parse_duration_list_ms(s, ms, ARRAY_SIZE(ms), &n, &err) == 0)
		must(n > 0 && n <= ARRAY_SIZE(ms));
	if (text_parse_duration_ms(s, &u, &err) == 0)
		must(text_human_duration(u).s[0] != '\0');
	if (text_parse_bytes(s, &u, &err) == 0)
		must(text_human_bytes(u).s[0] != '\0' && text_human_rows(u).s[0] != '\0');
	if (text_parse_bool(s, &b, &err) != 0)
		must(!b && err.code == ST_INPUT);
	text_nearest(s, words);
	strvec_init(&list, 8);
	if (text_split(s, ',', &list, &err) == 0)
		must(strvec_ok(&list) && list.n <= 8 && list.v[list.n] == NULL);
	strvec_free(&list);
}

static void write_values(const char *s)
{
	CLEANUP(buf_free) struct buf printable = BUF_INIT(OUT_MAX);
	CLEANUP(buf_free) struct buf out = BUF_INIT(OUT_MAX);

	must(text_add_printable(&printable, s) == 0);
	must(text_utf8_valid(printable.data, printable.len));
	for (const char *p = printable.data; *p != '\0'; p++)
		must((unsigned char)*p >= 0x20 && *p != 0x7F);
	for (size_t columns = 0; columns < 12; columns++) {
		buf_reset(&out);
		must(text_add_clipped(&out, printable.data, columns) <= columns);
		must(text_display_width(out.data) <= columns && text_utf8_valid(out.data, out.len));
	}
	buf_reset(&out);
	must(text_add_json(&out, s) == 0);
	must(text_utf8_valid(out.data, out.len) && out.len >= 2 && strchr(out.data, '\n') == NULL);
	buf_reset(&out);
	must(text_add_wrapped(&out, printable.data, 2, 20) == 0 && text_utf8_valid(out.data, out.len));
	text_is_json_number(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s;

	if (size > 16384)
		return 0;
	s = malloc(size + 1);
	if (s == NULL)
		return 0;
	if (size > 0)
		memcpy(s, data, size);
	s[size] = '\0';
	read_values(s);
	write_values(s);
	free(s);
	return 0;
}
