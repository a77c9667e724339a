#include "producer/filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "producer/console.h"

int filter_parse_range(const char *text, struct failed_range *ret, struct err *err)
{
	const char *dash = strchr(text, '-');
	uint64_t first, last;
	char head[24];
	int rc;

	if (dash == NULL) {
		rc = text_parse_u64(text, 1, INT64_MAX - 1, &first, NULL);
		last = first;
	} else if (dash - text >= (ptrdiff_t)sizeof(head)) {
		rc = ST_INPUT;
	} else {
		snprintf(head, sizeof(head), "%.*s", (int)(dash - text), text);
		rc = text_parse_u64(head, 1, INT64_MAX - 1, &first, NULL);
		if (rc == 0)
			rc = text_parse_u64(dash + 1, 1, INT64_MAX - 1, &last, NULL);
	}
	if (rc != 0)
		return err_set(err, ST_USAGE, "'%s' is no id of a failed job: expected a number such as 7, or a range such as 10-20", text);
	if (last < first)
		return err_set(err, ST_USAGE, "the range %s is empty: it begins after its end", text);
	ret->first = (int64_t)first;
	ret->last = (int64_t)last;
	return 0;
}

static int add_range(struct filter *f, const char *text, struct err *err)
{
	if (f->failed.nranges == FILTER_RANGES_MAX)
		return err_set(err, ST_USAGE, "more than %d ids: give ranges or filters", FILTER_RANGES_MAX);
	if (f->ranges == NULL) {
		f->ranges = calloc(FILTER_RANGES_MAX, sizeof(*f->ranges));
		if (f->ranges == NULL)
			return err_set(err, ST_NOMEM, "out of memory");
		f->failed.ranges = f->ranges;
	}
	return filter_parse_range(text, &f->ranges[f->failed.nranges++], err);
}

static int add_words(struct filter *f, char *const *args, struct err *err)
{
	int rc = 0;

	for (; rc == 0 && args != NULL && *args != NULL; args++) {
		if (strcmp(*args, "all") == 0)
			f->all = true;
		else
			rc = add_range(f, *args, err);
	}
	if (rc == 0 && f->all && f->failed.nranges > 0)
		return err_set(err, ST_USAGE, "either ids or all, not both");
	return rc;
}

static const char *option(const struct cli_call *call, const char *name)
{
	return cli_has(call, name) ? cli_str(call, name) : NULL;
}

int filter_open(struct filter *f, struct console *con, const struct cli_call *call, char *const *args, struct err *err)
{
	const char *migration = option(call, "--migration");
	struct migration_ref m;
	int rc;

	*f = (struct filter){ .all = false };
	f->failed.error = option(call, "--error");
	f->failed.since = option(call, "--since");
	rc = add_words(f, args, err);
	if (rc == 0 && cli_has(call, "--range")) {
		const struct strvec *given = cli_strs(call, "--range");

		for (size_t i = 0; i < given->n && rc == 0; i++)
			rc = add_range(f, given->v[i], err);
	}
	if (rc == 0 && migration != NULL) {
		rc = console_find(con, call, migration, &m, err);
		f->failed.migration_id = rc == 0 ? m.id : 0;
	}
	return rc;
}

void filter_close(struct filter *f)
{
	free(f->ranges);
	f->ranges = NULL;
}

bool filter_is_open(const struct filter *f)
{
	const struct failed_filter *r = &f->failed;

	return r->migration_id == 0 && r->error == NULL && r->since == NULL && r->before == NULL && r->nranges == 0;
}

int filter_describe(const struct filter *f, const struct cli_call *call, struct buf *out)
{
	const struct failed_filter *r = &f->failed;
	const char *migration = option(call, "--migration");
	size_t shown = r->nranges < 20 ? r->nranges : 20;

	buf_puts(out, r->nranges > 0 ? "ids " : "all");
	for (size_t i = 0; i < shown; i++) {
		buf_printf(out, "%s%" PRId64, i > 0 ? ", " : "", r->ranges[i].first);
		if (r->ranges[i].last != r->ranges[i].first)
			buf_printf(out, "-%" PRId64, r->ranges[i].last);
	}
	if (shown < r->nranges)
		buf_puts(out, " ...");
	if (migration != NULL)
		buf_printf(out, " of %s", migration);
	if (r->error != NULL)
		buf_printf(out, ", error %s", r->error);
	if (r->since != NULL)
		buf_printf(out, ", since %s", r->since);
	if (r->before != NULL)
		buf_printf(out, ", before %s", r->before);
	return buf_ok(out) ? 0 : ST_LIMIT;
}
