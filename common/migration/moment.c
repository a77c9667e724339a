#include "migration/moment.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "migration/scan.h"

static const char *const words[] = { "now", "today", "tomorrow", "yesterday" };

/* '..', with a prefix too, or $..$; of other tokens no one but a comment or a quoted name has such a quote in it, and $1 is a parameter. */
static bool is_constant(const char *text, const struct scan_token *t)
{
	char c = text[t->start];

	if (t->comment || c == '"')
		return false;
	return c == '$' ? !isdigit((unsigned char)text[t->start + 1]) : memchr(text + t->start, '\'', t->end - t->start) != NULL;
}

static bool has_word(const char *text, size_t start, size_t end)
{
	for (size_t at = start; at < end; at++) {
		for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
			size_t n = strlen(words[i]);

			if (n <= end - at && strncasecmp(text + at, words[i], n) == 0 &&
			    (at == start || !isalpha((unsigned char)text[at - 1])) && !isalpha((unsigned char)text[at + n]))
				return true;
		}
	}
	return false;
}

bool moment_in(const char *sql)
{
	struct scan_tokens tokens = { 0 };
	size_t offset;
	/* Where constants of the form U&'..' end, PostgreSQL's scanner told only later. */
	bool found = strcasestr(sql, "u&'") != NULL || scan_sql(sql, &tokens, &offset, NULL) != 0;

	for (size_t i = 0; i < tokens.n && !found; i++) {
		const struct scan_token *t = &tokens.v[i];
		size_t n = t->end - t->start;

		found = is_constant(sql, t) && (memchr(sql + t->start, '\\', n) != NULL || memchr(sql + t->start, '\n', n) != NULL ||
						has_word(sql, t->start, t->end));
	}
	scan_free(&tokens);
	return found;
}

bool moment_in_any(json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;

	if (json_is_string(value))
		return moment_in(json_string_value(value));
	json_array_foreach(value, i, member)
		if (moment_in_any(member))
			return true;
	json_object_foreach(value, key, member)
		if (moment_in_any(member))
			return true;
	return false;
}
