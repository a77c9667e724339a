#include <string.h>

#include "core/text.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define ELLIPSIS "\xE2\x80\xA6"    /* U+2026, one column */

/* Bytes of the character at @s (its code point in *ret), 0 if it is broken. RFC 3629. */
static size_t decode(const char *text, size_t n, uint32_t *ret)
{
	const unsigned char *s = (const unsigned char *)text;
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t cp;
	size_t len;

	if (n == 0)
		return 0;
	if (s[0] < 0x80) {
		*ret = s[0];
		return 1;
	}
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		len = 2;
	else if ((s[0] & 0xF0) == 0xE0)
		len = 3;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		len = 4;
	else
		return 0;
	if (n < len)
		return 0;
	cp = s[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		cp = cp << 6 | (s[i] & 0x3Fu);
	}
	if (cp < smallest[len] || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
		return 0;
	*ret = cp;
	return len;
}

bool text_utf8_valid(const char *s, size_t n)
{
	uint32_t cp;

	while (n > 0) {
		size_t len = decode(s, n, &cp);

		if (len == 0)
			return false;
		s += len;
		n -= len;
	}
	return true;
}

struct range {
	uint32_t first, last;
};

/* Combining marks and what has no width: the blocks that real data brings, not every character of Unicode. */
static const struct range zero_width[] = {
	{ 0x0300, 0x036F }, { 0x0483, 0x0489 }, { 0x0591, 0x05BD },   { 0x0610, 0x061A },   { 0x064B, 0x065F }, { 0x0670, 0x0670 },
	{ 0x06D6, 0x06DC }, { 0x06DF, 0x06E4 }, { 0x0900, 0x0902 },   { 0x093C, 0x093C },   { 0x0941, 0x0948 }, { 0x094D, 0x094D },
	{ 0x0E31, 0x0E31 }, { 0x0E34, 0x0E3A }, { 0x0E47, 0x0E4E },   { 0x1160, 0x11FF },   { 0x1AB0, 0x1AFF }, { 0x1DC0, 0x1DFF },
	{ 0x200B, 0x200F }, { 0x2060, 0x2064 }, { 0x20D0, 0x20FF },   { 0x302A, 0x302D },   { 0x3099, 0x309A }, { 0xFE00, 0xFE0F },
	{ 0xFE20, 0xFE2F }, { 0xFEFF, 0xFEFF }, { 0x1F3FB, 0x1F3FF }, { 0xE0000, 0xE01EF },
};

/* East Asian Width W and F, with the emoji that terminals draw two columns wide. */
static const struct range double_width[] = {
	{ 0x1100, 0x115F },   { 0x231A, 0x231B },   { 0x2329, 0x232A },   { 0x23E9, 0x23EC },   { 0x23F0, 0x23F0 },   { 0x23F3, 0x23F3 },
	{ 0x25FD, 0x25FE },   { 0x2614, 0x2615 },   { 0x2648, 0x2653 },   { 0x267F, 0x267F },   { 0x2693, 0x2693 },   { 0x26A1, 0x26A1 },
	{ 0x26AA, 0x26AB },   { 0x26BD, 0x26BE },   { 0x26C4, 0x26C5 },   { 0x26CE, 0x26CE },   { 0x26D4, 0x26D4 },   { 0x26EA, 0x26EA },
	{ 0x26F2, 0x26F3 },   { 0x26F5, 0x26F5 },   { 0x26FA, 0x26FA },   { 0x26FD, 0x26FD },   { 0x2705, 0x2705 },   { 0x270A, 0x270B },
	{ 0x2728, 0x2728 },   { 0x274C, 0x274C },   { 0x274E, 0x274E },   { 0x2753, 0x2755 },   { 0x2757, 0x2757 },   { 0x2795, 0x2797 },
	{ 0x27B0, 0x27B0 },   { 0x27BF, 0x27BF },   { 0x2B1B, 0x2B1C },   { 0x2B50, 0x2B50 },   { 0x2B55, 0x2B55 },   { 0x2E80, 0x303E },
	{ 0x3041, 0x33FF },   { 0x3400, 0x4DBF },   { 0x4E00, 0xA4CF },   { 0xA960, 0xA97C },   { 0xAC00, 0xD7A3 },   { 0xF900, 0xFAFF },
	{ 0xFE10, 0xFE19 },   { 0xFE30, 0xFE6F },   { 0xFF01, 0xFF60 },   { 0xFFE0, 0xFFE6 },   { 0x16FE0, 0x18CFF }, { 0x1B000, 0x1B2FF },
	{ 0x1F004, 0x1F004 }, { 0x1F0CF, 0x1F0CF }, { 0x1F18E, 0x1F18E }, { 0x1F191, 0x1F19A }, { 0x1F200, 0x1F320 }, { 0x1F32D, 0x1F335 },
	{ 0x1F337, 0x1F37C }, { 0x1F37E, 0x1F393 }, { 0x1F3A0, 0x1F3CA }, { 0x1F3CF, 0x1F3D3 }, { 0x1F3E0, 0x1F3F0 }, { 0x1F3F4, 0x1F3F4 },
	{ 0x1F3F8, 0x1F43E }, { 0x1F440, 0x1F440 }, { 0x1F442, 0x1F4FC }, { 0x1F4FF, 0x1F53D }, { 0x1F54B, 0x1F567 }, { 0x1F595, 0x1F596 },
	{ 0x1F5A4, 0x1F5A4 }, { 0x1F5FB, 0x1F64F }, { 0x1F680, 0x1F6C5 }, { 0x1F6CC, 0x1F6CC }, { 0x1F6D0, 0x1F6D2 }, { 0x1F6D5, 0x1F6DF },
	{ 0x1F6EB, 0x1F6EC }, { 0x1F6F4, 0x1F6FC }, { 0x1F7E0, 0x1F7EB }, { 0x1F90C, 0x1F93A }, { 0x1F93C, 0x1F945 }, { 0x1F947, 0x1F9FF },
	{ 0x1FA70, 0x1FAFF }, { 0x20000, 0x3FFFD },
};

static bool in_ranges(uint32_t cp, const struct range *ranges, size_t n)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = (low + n) / 2;

		if (cp < ranges[mid].first)
			n = mid;
		else if (cp > ranges[mid].last)
			low = mid + 1;
		else
			return true;
	}
	return false;
}

static size_t columns_of(uint32_t cp)
{
	if (cp < 0x300)
		return 1;
	if (in_ranges(cp, zero_width, ARRAY_SIZE(zero_width)))
		return 0;
	return in_ranges(cp, double_width, ARRAY_SIZE(double_width)) ? 2 : 1;
}

size_t text_display_width(const char *s)
{
	size_t n = strlen(s);
	size_t columns = 0;

	while (n > 0) {
		uint32_t cp = 0;
		size_t len = decode(s, n, &cp);

		columns += len == 0 ? 1 : columns_of(cp);
		len += len == 0;
		s += len;
		n -= len;
	}
	return columns;
}

static bool is_harmful(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7F && cp <= 0x9F) || cp == 0x2028 || cp == 0x2029 || (cp >= 0x202A && cp <= 0x202E) ||
	       (cp >= 0x2066 && cp <= 0x2069);
}

static int add_escape(struct buf *out, uint32_t cp)
{
	switch (cp) {
	case '\n':
		return buf_puts(out, "\\n");
	case '\t':
		return buf_puts(out, "\\t");
	case '\r':
		return buf_puts(out, "\\r");
	default:
		return buf_printf(out, cp < 0x100 ? "\\x%02x" : "\\u%04x", cp);
	}
}

int text_add_printable(struct buf *out, const char *s)
{
	size_t n = strlen(s);
	int rc = 0;

	while (n > 0 && rc == 0) {
		uint32_t cp = 0;
		size_t len = decode(s, n, &cp);

		if (len == 0) {
			rc = buf_puts(out, REPLACEMENT);
			len = 1;
		} else if (is_harmful(cp)) {
			rc = add_escape(out, cp);
		} else {
			rc = buf_add(out, s, len);
		}
		s += len;
		n -= len;
	}
	return rc;
}

int text_add_json(struct buf *out, const char *s)
{
	size_t n;

	if (s == NULL)
		return buf_puts(out, "null");
	buf_putc(out, '"');
	n = strlen(s);
	while (n > 0) {
		uint32_t cp = 0;
		size_t len = decode(s, n, &cp);

		if (len == 0)
			buf_puts(out, REPLACEMENT);
		else if (cp == '"' || cp == '\\')
			buf_printf(out, "\\%c", (char)cp);
		else if (cp == '\n')
			buf_puts(out, "\\n");
		else if (is_harmful(cp)) /* none of them is above U+FFFF */
			buf_printf(out, "\\u%04x", cp);
		else
			buf_add(out, s, len);
		len += len == 0;
		s += len;
		n -= len;
	}
	return buf_putc(out, '"');
}

int text_add_json_line(struct buf *out, const char *json)
{
	size_t n = strlen(json);
	int rc = 0;

	while (n > 0 && rc == 0) {
		uint32_t cp = 0;
		size_t len = decode(json, n, &cp);

		/* Line ends and tabs stand between values; whatever else is harmful stands in a string. */
		if (len == 0)
			rc = buf_puts(out, REPLACEMENT);
		else if (cp == '\n' || cp == '\r' || cp == '\t')
			rc = buf_putc(out, ' ');
		else if (is_harmful(cp))
			rc = buf_printf(out, "\\u%04x", cp);
		else
			rc = buf_add(out, json, len);
		len += len == 0;
		json += len;
		n -= len;
	}
	return rc;
}

bool text_is_json_number(const char *s)
{
	size_t digits;

	s += *s == '-';
	digits = strspn(s, "0123456789");
	if (digits == 0 || (digits > 1 && *s == '0'))
		return false;
	s += digits;
	if (*s == '.') {
		digits = strspn(++s, "0123456789");
		if (digits == 0)
			return false;
		s += digits;
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		digits = strspn(s, "0123456789");
		if (digits == 0)
			return false;
		s += digits;
	}
	return *s == '\0';
}

size_t text_add_clipped(struct buf *out, const char *s, size_t columns)
{
	size_t n = strlen(s);
	bool fits = text_display_width(s) <= columns;
	size_t room = fits ? columns : columns - 1; /* one column for the ellipsis */
	size_t used = 0;

	if (columns == 0)
		return 0;
	while (n > 0) {
		uint32_t cp = 0;
		size_t len = decode(s, n, &cp);
		size_t width = len == 0 ? 1 : columns_of(cp);

		if (used + width > room)
			break;
		len += len == 0;
		buf_add(out, s, len);
		used += width;
		s += len;
		n -= len;
	}
	if (!fits) {
		buf_puts(out, ELLIPSIS);
		used++;
	}
	return used;
}

/* At most @max bytes, and none of a character that does not fit. */
static size_t whole_characters(const char *s, size_t max)
{
	size_t n = max;

	while (n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80)
		n--;
	return n > 0 ? n : max;
}

int text_add_wrapped(struct buf *out, const char *text, size_t indent, size_t width)
{
	size_t column = 0; /* 0: nothing in this line yet */
	int rc = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, " \n");

		if (len > 0) {
			char word[512];
			size_t columns;

			if (len >= sizeof(word))
				len = whole_characters(text, sizeof(word) - 1);
			memcpy(word, text, len);
			word[len] = '\0';
			columns = text_display_width(word);
			if (column > 0 && column + 1 + columns > width) {
				buf_putc(out, '\n');
				column = 0;
			}
			if (column == 0) {
				buf_printf(out, "%*s", (int)indent, "");
				column = indent;
			} else {
				buf_putc(out, ' ');
				column++;
			}
			rc = buf_add(out, word, len);
			column += columns;
			text += len;
		}
		if (*text == '\n') {
			rc = buf_putc(out, '\n');
			column = 0;
		}
		if (*text == ' ' || *text == '\n')
			text++;
	}
	return rc;
}
