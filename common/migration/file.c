/*
 * file.c - a migration file: its lines, its sections, and what goes together.
 */
#include "migration/file.h"

#include <pg_query.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/buf.h"
#include "core/text.h"
#include "migration/file_private.h"
#include "migration/plain.h"

static const char *const section_names[SECTION_NR] = {
	[SECTION_EXPAND] = "expand",     [SECTION_BACKFILL] = "backfill", [SECTION_VERIFY] = "verify",
	[SECTION_CONTRACT] = "contract", [SECTION_ROLLBACK] = "rollback",
};

const char *migration_section_name(enum migration_section s)
{
	return section_names[s];
}

const char *migration_mode_name(enum migration_mode m)
{
	return m == MIGRATION_ROW ? "row" : "batch";
}

static void free_values(struct migration_file *f)
{
	struct migration_value *values[] = { &f->table, &f->pending, &f->where,   &f->handler,     &f->batch_size,
					     &f->tries, &f->backoff, &f->timeout, &f->lock_timeout };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		free(values[i]->text);
}

void migration_file_free(struct migration_file *f)
{
	if (f == NULL)
		return;
	free_values(f);
	plain_free(f->plain);
	for (size_t i = 0; i < f->nr_keys; i++)
		free(f->keys[i]);
	for (size_t i = 0; i < f->nr_sets; i++) {
		free(f->sets[i].column);
		free(f->sets[i].expression);
	}
	for (size_t s = 0; s < SECTION_NR; s++) {
		for (size_t i = 0; i < f->sections[s].n; i++)
			free(f->sections[s].v[i].text);
		free(f->sections[s].v);
	}
	free(f->sets);
	free(f->table_schema);
	free(f->table_name);
	free(f->name);
	free(f->source);
	free(f);
}

/* ------------------------------------------------------------ name and text */

static int take_name(struct migration_file *f, const char *path, struct problems *problems)
{
	const char *base = strrchr(path, '/'), *why = NULL;
	size_t n;

	base = base != NULL ? base + 1 : path;
	n = strlen(base);
	if (n > 4 && strcmp(base + n - 4, ".sql") == 0)
		n -= 4;
	for (size_t i = 0; i < n; i++) {
		char c = base[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("_-.", c) != NULL))
			why = "it has a character that is none of letters, digits, '_', '-' and '.'";
	}
	if (n == 0 || *base == '-' || *base == '.')
		why = "it does not begin with a letter, a digit or '_'";
	if (n > MIGRATION_NAME_MAX)
		why = "it is longer than 100 bytes";
	if (why != NULL)
		(void)problems_add(problems, 0,
				   "the file's name is the migration's name, and %s; expected, for example, '0001_orders_total.sql'", why);
	f->name = strndup(base, n);
	return f->name == NULL ? ST_NOMEM : 0;
}

/* Text that PostgreSQL would not take either. @text is terminated. Returns false if there is no use in going on. */
static bool check_text(const char *text, size_t len, struct problems *problems)
{
	if (strlen(text) < len)
		(void)problems_add(problems, scan_line_of(text, strlen(text)), "the file has a NUL byte; expected a text file");
	else if (!text_utf8_valid(text, len)) {
		size_t start = 0, n;
		int line = 1;

		/* Lines are valid by themselves if the whole is. */
		while (n = strcspn(text + start, "\n"), text_utf8_valid(text + start, n) && start + n < len) {
			start += n + 1;
			line++;
		}
		(void)problems_add(problems, line, "the file is not UTF-8; expected text in that encoding");
	} else
		return true;
	return false;
}

/* ------------------------------------------------------------ lines */

/* Does the line that begins at @start lie inside a string, or a comment over several lines? */
static bool inside_token(const struct parser *p, size_t start, size_t *hint)
{
	while (*hint < p->tokens.n && p->tokens.v[*hint].end <= start)
		(*hint)++;
	return *hint < p->tokens.n && p->tokens.v[*hint].start < start;
}

/* After "--" of a comment line: a directive, something that looks like one, or nothing of ours. */
static int parse_comment(struct parser *p, int line, const char *text, size_t n, size_t after)
{
	static const char word[] = "drover";
	char *name, *value;
	int rc;

	while (n > 0 && strchr(" \t", *text) != NULL)
		text++, n--;
	while (n > 0 && strchr(" \t\r", text[n - 1]) != NULL)
		n--;
	if (n < sizeof(word) - 1 || strncasecmp(text, word, sizeof(word) - 1) != 0)
		return 0;
	text += sizeof(word) - 1;
	n -= sizeof(word) - 1;
	if (n == 0 || *text != ':' || strncmp(text - sizeof(word) + 1, word, sizeof(word) - 1) != 0) {
		/* "-- Drover rewrites this" is prose; "-- drover table x" is a directive gone wrong. */
		if (n > 0 && (*text == ' ' || *text == '\t' || *text == ':' || *text == '='))
			(void)problems_add(
				p->problems, line,
				"this looks like a directive; expected '-- drover: NAME VALUE', or a comment that begins otherwise");
		return 0;
	}
	name = strndup(text + 1, n - 1);
	if (name == NULL)
		return ST_NOMEM;
	text = name + strspn(name, " \t");
	value = name + (text - name) + strcspn(text, " \t");
	if (*value != '\0')
		*value++ = '\0';
	value += strspn(value, " \t");
	if (*text == '\0') {
		(void)problems_add(p->problems, line,
				   "a directive without a name; expected '-- drover: NAME VALUE', for example '-- drover: table orders'");
		rc = 0;
	} else
		rc = parse_directive(p, line, text, value, after);
	free(name);
	return rc;
}

static int parse_lines(struct parser *p)
{
	size_t hint = 0, start = 0, len = strlen(p->text);

	for (int line = 1; start < len; line++) {
		size_t n = strcspn(p->text + start, "\n");
		size_t blank = strspn(p->text + start, " \t");
		const char *text = p->text + start + blank;

		if (blank + 2 <= n && strncmp(text, "--", 2) == 0 && !inside_token(p, start, &hint)) {
			int rc = parse_comment(p, line, text + 2, n - blank - 2, start + n);

			if (rc != 0)
				return rc;
		}
		start += n + 1;
	}
	return 0;
}

/* ------------------------------------------------------------ sections */

static void bound_sections(struct parser *p)
{
	for (size_t s = 0; s < SECTION_NR; s++) {
		p->section_end[s] = strlen(p->text);
		for (size_t o = 0; o < SECTION_NR; o++) {
			if (p->section_start[o] > p->section_start[s] && p->section_start[o] < p->section_end[s])
				p->section_end[s] = p->section_start[o];
		}
	}
}

/* SQL before the first section runs never: say so, once. */
static void check_outside(struct parser *p)
{
	size_t first = strlen(p->text);

	for (size_t s = 0; s < SECTION_NR; s++) {
		if (p->section_start[s] > 0 && p->section_start[s] < first)
			first = p->section_start[s];
	}
	for (size_t i = 0; i < p->tokens.n; i++) {
		if (!p->tokens.v[i].comment && p->tokens.v[i].start < first) {
			(void)problems_add(p->problems, scan_line_of(p->text, p->tokens.v[i].start),
					   "SQL outside a section; expected a mark before it, for example '-- drover: backfill'");
			return;
		}
	}
}

static int parse_sections(struct parser *p)
{
	if (!p->scanned)
		return 0;
	bound_sections(p);
	check_outside(p);
	for (enum migration_section s = 0; s < SECTION_NR; s++) {
		int rc = p->section_start[s] > 0 ? parse_section(p, s) : 0;

		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ------------------------------------------------------------ what goes together */

/* At the later of them. */
static int too_much_work(struct parser *p, bool set)
{
	const struct migration_file *f = p->f;
	const struct {
		const char *name;
		bool given;
		int line; /* 0: given, but wrong */
	} ways[] = {
		{ "'set'", set, f->nr_sets > 0 ? f->sets[0].line : 0 },
		{ "'handler'", f->handler.line > 0, f->handler.line },
		{ "a section 'backfill'", f->sections[SECTION_BACKFILL].line > 0, f->sections[SECTION_BACKFILL].line },
	};
	CLEANUP(buf_free) struct buf given = BUF_INIT(200);
	int last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (!ways[i].given)
			continue;
		buf_printf(&given, "%s%s", given.len > 0 ? " and " : "", ways[i].name);
		if (ways[i].line > 0)
			buf_printf(&given, " (line %d)", ways[i].line);
		last = ways[i].line > last ? ways[i].line : last;
	}
	return problems_add(p->problems, last, "%s are given; expected one of 'set', 'handler' and a section 'backfill'", given.data);
}

static void check_work(struct parser *p)
{
	const struct migration_file *f = p->f;
	int backfill = f->sections[SECTION_BACKFILL].line, handler = f->handler.line;
	bool set = f->nr_sets > 0 || p->seen_set_error;

	if (!set && backfill == 0 && handler == 0)
		(void)problems_add(p->problems, 0,
				   "nothing says what is to be done; expected 'set', 'handler' or a section 'backfill', for example "
				   "'-- drover: set total_cents = round(total * 100)'");
	else if (set + (backfill > 0) + (handler > 0) > 1)
		(void)too_much_work(p, set);
}

static void check_together(struct parser *p)
{
	const struct migration_file *f = p->f;

	if (f->table.text == NULL && !p->seen_table_error)
		(void)problems_add(p->problems, 0, "there is no 'table'; expected, for example, '-- drover: table public.orders'");
	check_work(p);
	if (f->ledger && f->pending.text != NULL)
		(void)problems_add(p->problems, f->ledger_line,
				   "'ledger' means that there is no predicate, but 'pending' is given on line %d; expected one of the two",
				   f->pending.line);
	if (!f->ledger && f->pending.text == NULL && f->nr_sets == 0 && (f->handler.line > 0 || f->sections[SECTION_BACKFILL].line > 0))
		(void)problems_add(
			p->problems, f->handler.line > 0 ? f->handler.line : f->sections[SECTION_BACKFILL].line,
			"nothing says which rows are still to be done; expected '-- drover: pending PREDICATE', a predicate that is true before "
			"and false after, or '-- drover: ledger' where there is none");
}

/* ------------------------------------------------------------ the whole */

static int scan_file(struct parser *p, struct err *err)
{
	size_t offset;
	int rc = scan_sql(p->text, &p->tokens, &offset, err);

	p->neutral = strdup(p->text);
	if (p->neutral == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	if (rc == ST_INPUT) {
		(void)problems_add(p->problems, scan_line_of(p->text, offset), "%s", err->msg);
		err_clear(err);
		return 0;
	}
	if (rc != 0)
		return rc;
	p->scanned = true;
	rc = template_find(p->text, &p->tokens, &p->holders, err);
	if (rc == 0)
		template_neutralize(p->neutral, &p->holders);
	return rc;
}

static int parse_text(struct parser *p, struct err *err)
{
	int rc = scan_file(p, err);

	if (rc == 0)
		rc = parse_lines(p);
	if (rc == 0)
		rc = parse_sections(p);
	if (rc == 0)
		check_together(p);
	else if (err->code == ST_OK)
		(void)err_set(err, rc, "out of memory");
	template_free(&p->holders);
	scan_free(&p->tokens);
	free(p->neutral);
	return rc;
}

int migration_file_parse(const char *path, const char *text, size_t len, struct migration_file **ret, struct problems *problems,
			 struct err *err)
{
	struct migration_file *f = calloc(1, sizeof(*f));
	struct parser p = { .f = f, .problems = problems };
	int rc;

	if (f == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	if (len > MIGRATION_FILE_MAX) {
		migration_file_free(f);
		return err_set(err, ST_LIMIT, "'%s' is larger than %d bytes", path, MIGRATION_FILE_MAX);
	}
	f->source = strndup(text, len);
	if (f->source == NULL || take_name(f, path, problems) != 0)
		rc = err_set(err, ST_NOMEM, "out of memory");
	else if (check_text(f->source, len, problems)) {
		/* A byte order mark is no SQL; what is kept and checksummed is the file as it is. */
		p.text = f->source + (strncmp(f->source, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
		rc = parse_text(&p, err);
	} else
		rc = 0;
	if (rc == 0)
		rc = problems_result(problems, path, err);
	if (rc == 0)
		rc = plain_read(&f->sections[SECTION_BACKFILL], &f->plain, err);
	if (rc != 0) {
		migration_file_free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

int migration_file_read(const char *path, const char *name, struct migration_file **ret, struct problems *problems, struct err *err)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(MIGRATION_FILE_MAX);
	int rc;

	if (name == NULL && strcmp(path, "-") == 0)
		return err_set(err, ST_INPUT, "a migration comes from a file, whose name is the migration's; '-' is none");
	rc = buf_read_file(&text, path, err);
	if (rc != 0)
		return err_wrap(err, "cannot read the migration file");
	return migration_file_parse(name != NULL ? name : path, text.data, text.len, ret, problems, err);
}
