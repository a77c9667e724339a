#include "ledger/settings.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "core/strvec.h"
#include "core/text.h"

#define BREAKER_WINDOW_MIN 50 /* fewer dead letters than this never pause, so a smaller window would never fire */
#define BREAKER_WINDOW_MAX 1000000000

const struct setting setting_table[SETTING_NR] = {
#define X(id, name, type, member, def, min, max, unit, help) \
	[SETTING_##id] = { name, type, def, min, max, unit, help, offsetof(struct settings, member) },
#include "ledger/settings.def"
#undef X
};

static void *member_of(struct settings *s, const struct setting *t)
{
	return (char *)s + t->offset;
}

/* "on" and "off" alone are printed; the usual other spellings are read. */
static int read_bool(const char *text, bool *ret, struct err *err)
{
	int rc = text_parse_bool(text, ret, err);

	if (rc != 0)
		return err_set(err, rc, "'%s' is neither on nor off", text);
	return 0;
}

/* A plain number is in the setting's own unit; times may bring a unit of theirs ("5s", "200ms"). */
static int read_u64(const struct setting *t, const char *text, uint64_t *ret, struct err *err)
{
	bool ms = strcmp(t->unit, "ms") == 0, s = strcmp(t->unit, "s") == 0;
	size_t n = strlen(text);
	uint64_t v;
	int rc;

	if ((ms || s) && n > 0 && isalpha((unsigned char)text[n - 1])) {
		rc = text_parse_duration_ms(text, &v, err);
		if (rc != 0)
			return rc;
		if (s && v % 1000 != 0)
			return err_set(err, ST_INPUT, "'%s' is not a whole number of seconds", text);
		v = s ? v / 1000 : v;
	} else {
		rc = text_parse_u64(text, 0, UINT64_MAX, &v, err);
		if (rc != 0)
			return rc;
	}
	if (v < t->min || v > t->max)
		return err_set(err, ST_INPUT, "%s is out of bounds: %" PRIu64 " to %" PRIu64 " %s", text, t->min, t->max, t->unit);
	*ret = v;
	return 0;
}

static int read_durations(const struct setting *t, const char *text, struct settings_durations *ret, struct err *err)
{
	struct settings_durations d = { .n = 0 };
	int rc = text_parse_duration_list_ms(text, d.ms, SETTINGS_BACKOFF_MAX, &d.n, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < d.n; i++)
		if (d.ms[i] < t->min || d.ms[i] > t->max)
			return err_set(err, ST_INPUT, "a wait in '%s' is out of bounds: %s to %s", text, text_human_duration(t->min).s,
				       text_human_duration(t->max).s);
	*ret = d;
	return 0;
}

static int bad_breaker(const char *text, struct err *err)
{
	return err_set(err, ST_INPUT,
		       "'%s' is no breaker: expected PERCENT%%/ROWS such as 20%%/1000 (1%% to 100%%, at least %d rows), or off", text,
		       BREAKER_WINDOW_MIN);
}

static int read_breaker(const char *text, struct settings_breaker *ret, struct err *err)
{
	char percent[8];
	const char *slash = strchr(text, '/');
	uint64_t p, w;
	size_t n;

	if (strcasecmp(text, "off") == 0) {
		*ret = (struct settings_breaker){ .on = false, .percent = 20, .window_rows = 1000 };
		return 0;
	}
	n = slash == NULL ? 0 : (size_t)(slash - text);
	if (n < 2 || n >= sizeof(percent) || text[n - 1] != '%')
		return bad_breaker(text, err);
	memcpy(percent, text, n - 1);
	percent[n - 1] = '\0';
	if (text_parse_u64(percent, 1, 100, &p, err) != 0 ||
	    text_parse_u64(slash + 1, BREAKER_WINDOW_MIN, BREAKER_WINDOW_MAX, &w, err) != 0)
		return bad_breaker(text, err);
	*ret = (struct settings_breaker){ .on = true, .percent = (unsigned)p, .window_rows = (unsigned)w };
	return 0;
}

static int set_one(struct settings *s, enum setting_id id, const char *text, struct err *err)
{
	const struct setting *t = &setting_table[id];
	int rc = ST_INPUT;

	switch (t->type) {
	case SETTING_IS_BOOL:
		rc = read_bool(text, member_of(s, t), err);
		break;
	case SETTING_IS_U64:
		rc = read_u64(t, text, member_of(s, t), err);
		break;
	case SETTING_IS_DURATIONS:
		rc = read_durations(t, text, member_of(s, t), err);
		break;
	case SETTING_IS_BREAKER:
		rc = read_breaker(text, member_of(s, t), err);
		break;
	}
	if (rc != 0)
		return err_wrap(err, "%s", t->name);
	s->given |= 1u << id;
	return 0;
}

void settings_defaults(struct settings *s)
{
	struct err err = ERR_INIT;

	*s = (struct settings){ .given = 0 };
	/* A default that does not parse would be a mistake in settings.def: the unit test reads them all. */
	for (int i = 0; i < SETTING_NR; i++)
		(void)set_one(s, (enum setting_id)i, setting_table[i].def, &err);
	s->given = 0;
}

const struct setting *settings_find(const char *name)
{
	for (int i = 0; i < SETTING_NR; i++)
		if (strcmp(setting_table[i].name, name) == 0)
			return &setting_table[i];
	return NULL;
}

static int no_such_setting(const char *name, struct err *err)
{
	const char *names[SETTING_NR + 1];
	const char *nearest;

	for (int i = 0; i < SETTING_NR; i++)
		names[i] = setting_table[i].name;
	names[SETTING_NR] = NULL;
	nearest = text_nearest(name, names);
	if (nearest != NULL)
		return err_set(err, ST_NOT_FOUND, "there is no setting '%s'; did you mean '%s'?", name, nearest);
	return err_set(err, ST_NOT_FOUND, "there is no setting '%s'; `drover config` lists them", name);
}

int settings_set(struct settings *s, const char *name, const char *value, struct err *err)
{
	const struct setting *t = settings_find(name);

	if (t == NULL)
		return no_such_setting(name, err);
	return set_one(s, (enum setting_id)(t - setting_table), value, err);
}

/* A value of the object as the text that would be typed. */
static int value_text(const json_t *value, char *number, size_t size, const char **ret)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		*ret = json_string_value(value);
		return 0;
	case JSON_TRUE:
		*ret = "on";
		return 0;
	case JSON_FALSE:
		*ret = "off";
		return 0;
	case JSON_INTEGER:
		snprintf(number, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		*ret = number;
		return 0;
	case JSON_REAL:
		snprintf(number, size, "%.15g", json_real_value(value));
		*ret = number;
		return 0;
	default:
		return ST_INPUT;
	}
}

int settings_apply(struct settings *s, const char *json, struct err *err)
{
	struct settings next = *s;
	json_error_t why;
	json_t *root = json_loads(json, 0, &why), *value;
	const char *name, *text;
	char number[32];
	int rc = 0;

	if (!json_is_object(root)) {
		json_decref(root);
		return err_set(err, ST_INPUT, "settings are not a JSON object");
	}
	json_object_foreach(root, name, value) {
		const struct setting *t = settings_find(name);

		if (t == NULL)
			continue;
		rc = value_text(value, number, sizeof(number), &text);
		if (rc != 0) {
			rc = err_set(err, ST_INPUT, "%s is neither a text nor a number", name);
			break;
		}
		rc = set_one(&next, (enum setting_id)(t - setting_table), text, err);
		if (rc != 0)
			break;
	}
	json_decref(root);
	if (rc == 0)
		*s = next;
	return rc;
}

static int print_durations(const struct settings_durations *d, struct buf *out)
{
	int rc = 0;

	for (size_t i = 0; i < d->n && rc == 0; i++) {
		const char *comma = i == 0 ? "" : ",";

		if (d->ms[i] % 1000 == 0)
			rc = buf_printf(out, "%s%" PRIu64, comma, d->ms[i] / 1000);
		else
			rc = buf_printf(out, "%s%" PRIu64 "ms", comma, d->ms[i]);
	}
	return rc;
}

int settings_print(const struct settings *s, enum setting_id id, struct buf *out)
{
	const struct setting *t = &setting_table[id];
	const void *member = (const char *)s + t->offset;
	const struct settings_breaker *b = member;

	switch (t->type) {
	case SETTING_IS_BOOL:
		return buf_puts(out, *(const bool *)member ? "on" : "off");
	case SETTING_IS_U64:
		return buf_printf(out, "%" PRIu64, *(const uint64_t *)member);
	case SETTING_IS_DURATIONS:
		return print_durations(member, out);
	case SETTING_IS_BREAKER:
		if (!b->on)
			return buf_puts(out, "off");
		return buf_printf(out, "%u%%/%u", b->percent, b->window_rows);
	}
	return ST_INPUT;
}
