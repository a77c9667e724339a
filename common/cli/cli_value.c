/* One option's value: checking, converting, and the getters. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_private.h"
#include "core/text.h"

#define DURATIONS_MAX 64
#define LIST_MAX 4096

struct text_short cli_bounds(const struct cli_option *o)
{
	struct text_short t = { "" };
	struct text_short low, high;

	if (o->min == 0 && o->max == 0)
		return t;
	if (o->type == CLI_U64) {
		low = text_human_rows(o->min);
		high = text_human_rows(o->max);
	} else if (o->type == CLI_DURATION) {
		low = text_human_duration(o->min);
		high = text_human_duration(o->max);
	} else if (o->type == CLI_BYTES) {
		low = text_human_bytes(o->min);
		high = text_human_bytes(o->max);
	} else {
		return t;
	}
	if (o->max == 0)
		snprintf(t.s, sizeof(t.s), "at least %.28s", low.s);
	else
		snprintf(t.s, sizeof(t.s), "%.28s to %.28s", low.s, high.s);
	return t;
}

static int check_bounds(const struct cli_option *o, const char *text, uint64_t v, struct err *err)
{
	if (v >= o->min && (o->max == 0 || v <= o->max))
		return 0;
	return err_set(err, ST_INPUT, "'%s' is out of range: %s", text, cli_bounds(o).s);
}

static int choose(const struct cli_option *o, const char *text, struct err *err)
{
	CLEANUP(buf_free) struct buf all = BUF_INIT(ERR_MSG_MAX);
	const char *nearest;

	if (text_one_of(text, o->choices))
		return 0;
	nearest = text_nearest(text, o->choices);
	if (nearest != NULL)
		return err_set(err, ST_INPUT, "'%s' is not possible: did you mean '%s'?", text, nearest);
	for (const char *const *c = o->choices; *c != NULL; c++)
		buf_printf(&all, "%s%s", c == o->choices ? "" : c[1] == NULL ? " or " : ", ", *c);
	return err_set(err, ST_INPUT, "'%s' is not possible: give %s", text, all.data);
}

static int set_durations(struct cli_value *v, const char *text, struct err *err)
{
	uint64_t ms[DURATIONS_MAX];
	uint64_t *copy;
	size_t n;
	int rc;

	rc = text_parse_duration_list_ms(text, ms, DURATIONS_MAX, &n, err);
	if (rc != 0)
		return rc;
	copy = realloc(v->durations, n * sizeof(*copy));
	if (copy == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	memcpy(copy, ms, n * sizeof(*copy));
	v->durations = copy;
	v->ndurations = n;
	return 0;
}

static int convert(struct cli_value *v, const char *text, struct err *err)
{
	const struct cli_option *o = v->option;
	int rc;

	if (o->arg == NULL)
		return text_parse_bool(text, &v->flag, err);
	switch (o->type) {
	case CLI_STR:
		return 0;
	case CLI_U64:
		rc = text_parse_u64(text, 0, UINT64_MAX, &v->u64, err);
		return rc != 0 ? rc : check_bounds(o, text, v->u64, err);
	case CLI_I64:
		return text_parse_i64(text, INT64_MIN, INT64_MAX, &v->i64, err);
	case CLI_DURATION:
		rc = text_parse_duration_ms(text, &v->u64, err);
		return rc != 0 ? rc : check_bounds(o, text, v->u64, err);
	case CLI_DURATION_LIST:
		return set_durations(v, text, err);
	case CLI_BYTES:
		rc = text_parse_bytes(text, &v->u64, err);
		return rc != 0 ? rc : check_bounds(o, text, v->u64, err);
	case CLI_RATE:
		return text_parse_rate(text, &v->number, err);
	case CLI_PERCENT:
		return text_parse_percent(text, &v->number, err);
	case CLI_CHOICE:
		return choose(o, text, err);
	case CLI_LIST:
		return text_split(text, ',', &v->list, err);
	}
	return err_set(err, ST_CONFIG, "option '%s' has no type", o->name);
}

int cli_value_set(struct cli_value *v, const char *text, struct err *err)
{
	int rc = convert(v, text, err);

	if (rc != 0)
		return rc;
	if (!v->option->repeatable && v->option->type != CLI_LIST)
		strvec_free(&v->given);
	rc = strvec_push(&v->given, text);
	if (rc == ST_LIMIT)
		return err_set(err, rc, "is given more than %d times", LIST_MAX);
	return rc == 0 ? 0 : err_set(err, rc, "out of memory");
}

void cli_value_close(struct cli_value *v)
{
	strvec_free(&v->given);
	strvec_free(&v->list);
	free(v->durations);
	v->durations = NULL;
}

/* ------------------------------------------------------------ getters */

static const struct cli_value *find(const struct cli_call *call, const char *name)
{
	for (size_t i = 0; i < call->nvalues; i++)
		if (strcmp(call->values[i].option->name, name) == 0)
			return &call->values[i];
	return NULL;
}

static const struct cli_value *get(const struct cli_call *call, const char *name)
{
	const struct cli_value *v = find(call, name);

	if (v == NULL) {
		fprintf(stderr, "bug: option '%s' is asked for, but not in the tables\n", name);
		abort();
	}
	return v;
}

static const struct cli_value *get_typed(const struct cli_call *call, const char *name, bool fits(const struct cli_option *))
{
	const struct cli_value *v = get(call, name);

	if (!fits(v->option)) {
		fprintf(stderr, "bug: option '%s' is asked for as a type that it does not have\n", name);
		abort();
	}
	return v;
}

#define FITS(name, condition)                        \
	static bool name(const struct cli_option *o) \
	{                                            \
		return (condition);                  \
	}

FITS(is_flag, o->arg == NULL)
FITS(is_u64, o->arg != NULL && o->type == CLI_U64)
FITS(is_i64, o->arg != NULL && o->type == CLI_I64)
FITS(is_duration, o->arg != NULL && o->type == CLI_DURATION)
FITS(is_durations, o->arg != NULL && o->type == CLI_DURATION_LIST)
FITS(is_bytes, o->arg != NULL && o->type == CLI_BYTES)
FITS(is_rate, o->arg != NULL && o->type == CLI_RATE)
FITS(is_percent, o->arg != NULL && o->type == CLI_PERCENT)
FITS(is_list, o->arg != NULL && o->type == CLI_LIST)

bool cli_flag(const struct cli_call *call, const char *name)
{
	return get_typed(call, name, is_flag)->flag;
}

const char *cli_str(const struct cli_call *call, const char *name)
{
	const struct cli_value *v = get(call, name);

	return v->given.n > 0 ? v->given.v[v->given.n - 1] : NULL;
}

uint64_t cli_u64(const struct cli_call *call, const char *name)
{
	return get_typed(call, name, is_u64)->u64;
}

int64_t cli_i64(const struct cli_call *call, const char *name)
{
	return get_typed(call, name, is_i64)->i64;
}

uint64_t cli_duration_ms(const struct cli_call *call, const char *name)
{
	return get_typed(call, name, is_duration)->u64;
}

const uint64_t *cli_durations_ms(const struct cli_call *call, const char *name, size_t *ret_n)
{
	const struct cli_value *v = get_typed(call, name, is_durations);

	*ret_n = v->ndurations;
	return v->durations;
}

uint64_t cli_bytes(const struct cli_call *call, const char *name)
{
	return get_typed(call, name, is_bytes)->u64;
}

double cli_rate(const struct cli_call *call, const char *name)
{
	return get_typed(call, name, is_rate)->number;
}

double cli_percent(const struct cli_call *call, const char *name)
{
	return get_typed(call, name, is_percent)->number;
}

const struct strvec *cli_list(const struct cli_call *call, const char *name)
{
	return &get_typed(call, name, is_list)->list;
}

const struct strvec *cli_strs(const struct cli_call *call, const char *name)
{
	return &get(call, name)->given;
}

enum cli_source cli_source(const struct cli_call *call, const char *name)
{
	return get(call, name)->source;
}

bool cli_given(const struct cli_call *call, const char *name)
{
	return cli_source(call, name) >= CLI_FROM_ENV;
}

bool cli_has(const struct cli_call *call, const char *name)
{
	return find(call, name) != NULL;
}
