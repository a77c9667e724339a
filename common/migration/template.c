/*
 * template.c - the placeholders :batch and :keys.
 */
#include "migration/template.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* An alias follows if the next word may be one. */
static bool alias_follows(const char *text, const struct scan_tokens *tokens, size_t i)
{
	while (i < tokens->n && tokens->v[i].comment)
		i++;
	if (i == tokens->n)
		return false;
	return tokens->v[i].name || (tokens->v[i].end - tokens->v[i].start == 2 && strncasecmp(text + tokens->v[i].start, "as", 2) == 0);
}

static bool is_placeholder(const char *text, const struct scan_tokens *tokens, size_t i)
{
	const struct scan_token *colon = &tokens->v[i], *word = colon + 1;

	return i + 1 < tokens->n && scan_is(text, colon, ":") && word->start == colon->end &&
	       (scan_is(text, word, "batch") || scan_is(text, word, "keys"));
}

int template_find(const char *text, const struct scan_tokens *tokens, struct placeholders *ret, struct err *err)
{
	/* What is open: '(' or '['. At most one for each token. */
	char *open = malloc(tokens->n + 1);
	struct placeholder *v = calloc(tokens->n / 2 + 1, sizeof(*v));
	size_t depth = 0, n = 0;

	if (open == NULL || v == NULL) {
		free(open);
		free(v);
		return err_set(err, ST_NOMEM, "out of memory");
	}
	for (size_t i = 0; i < tokens->n; i++) {
		const struct scan_token *t = &tokens->v[i];

		if (scan_is(text, t, "(") || scan_is(text, t, "["))
			open[depth++] = text[t->start];
		else if ((scan_is(text, t, ")") || scan_is(text, t, "]")) && depth > 0)
			depth--;
		else if (is_placeholder(text, tokens, i) && (depth == 0 || open[depth - 1] == '(')) {
			v[n++] = (struct placeholder){
				.start = t->start,
				.end = t[1].end,
				.keys = scan_is(text, t + 1, "keys"),
				.alias = alias_follows(text, tokens, i + 2),
			};
			i++;
		}
	}
	free(open);
	ret->v = v;
	ret->n = n;
	return 0;
}

int template_find_in(const char *text, struct placeholders *ret, struct err *err)
{
	struct scan_tokens tokens = { 0 };
	size_t offset;
	int rc = scan_sql(text, &tokens, &offset, err);

	if (rc == 0)
		rc = template_find(text, &tokens, ret, err);
	scan_free(&tokens);
	return rc;
}

void template_free(struct placeholders *p)
{
	free(p->v);
	*p = (struct placeholders){ 0 };
}

void template_neutralize(char *text, const struct placeholders *p)
{
	for (size_t i = 0; i < p->n; i++)
		text[p->v[i].start] = ' ';
}

int template_fill(const char *text, const char *batch, const char *keys, struct buf *out, struct err *err)
{
	struct placeholders found = { 0 };
	size_t at = 0;
	int rc = template_find_in(text, &found, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < found.n; i++) {
		const struct placeholder *p = &found.v[i];

		(void)buf_add(out, text + at, p->start - at);
		(void)buf_puts(out, p->keys ? keys : batch);
		if (!p->keys && !p->alias)
			(void)buf_puts(out, " AS batch");
		at = p->end;
	}
	(void)buf_puts(out, text + at);
	template_free(&found);
	return buf_ok(out) ? 0 : err_set(err, ST_LIMIT, "the statement is too long");
}
