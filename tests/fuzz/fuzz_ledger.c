/*
 * fuzz_ledger.c - what the programs read from PostgreSQL and somebody may have altered by hand: arrays of keys, a migration's plan, its
 * captured settings, its run-time settings. What is taken is within its bounds and reads the same when it is written again.
 *
 * The first byte says which. Several texts are parted by NUL bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/strvec.h"
#include "ledger/settings.h"
#include "pg/pg_array.h"
#include "worker/mig.h"

#define ITEMS_MAX 4096
#define TEXT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ------------------------------------------------------------ arrays */

/* As an array it comes back item by item; @nulls: those items are NULL. */
static void write_array(const struct strvec *items, const bool *nulls)
{
	CLEANUP(buf_free) struct buf literal = BUF_INIT(TEXT_MAX);
	CLEANUP(buf_free) struct buf item = BUF_INIT(TEXT_MAX);
	const char *got = NULL;
	struct pg_array a;

	for (size_t i = 0; i < items->n; i++)
		must(pg_array_add(&literal, i == 0, nulls[i] ? NULL : items->v[i]) == 0);
	must(pg_array_end(&literal, items->n == 0) == 0);
	must(pg_array_open(&a, literal.data, &item, NULL) == 0);
	for (size_t i = 0; i < items->n; i++) {
		must(pg_array_next(&a, &got, NULL) == 1 && (got == NULL) == nulls[i]);
		must(got == NULL || strcmp(got, items->v[i]) == 0);
	}
	must(pg_array_next(&a, &got, NULL) == 0);
}

static void read_array(const char *literal)
{
	static bool nulls[ITEMS_MAX];
	CLEANUP(buf_free) struct buf item = BUF_INIT(TEXT_MAX);
	struct err err = ERR_INIT;
	struct strvec items;
	const char *got = NULL;
	struct pg_array a;
	int rc;

	strvec_init(&items, ITEMS_MAX);
	rc = pg_array_open(&a, literal, &item, &err);
	while (rc == 0 && (rc = pg_array_next(&a, &got, &err)) == 1 && items.n < ITEMS_MAX) {
		nulls[items.n] = got == NULL;
		rc = strvec_push(&items, got != NULL ? got : "");
	}
	must(rc >= 0 || err.msg[0] != '\0');
	if (rc == 0)
		write_array(&items, nulls);
	strvec_free(&items);
}

/* ------------------------------------------------------------ plans and captured settings */

static void read_plan(const char *plan, const char *settings)
{
	static const char good[] = "{\"search_path\": \"public\", \"TimeZone\": \"UTC\"}";
	struct settings defaults;
	struct err err = ERR_INIT;
	struct mig *m = mig_new(1, "fuzz", "installation");

	must(m != NULL);
	settings_defaults(&defaults);
	if (mig_load(m, 1, false, plan, settings[0] != '\0' ? settings : good, &err) == 0) {
		must(m->plan != NULL && m->plan->columns >= 1 && m->plan->columns <= JOB_KEY_COLUMNS_MAX);
		must(m->plan->range.n > 0 && m->plan->range.v[0].sql != NULL && m->set_sql != NULL && m->set_n % 2 == 0);
	} else {
		must(m->plan == NULL && err.msg[0] != '\0');
	}
	if (mig_configure(m, &defaults, settings, &err) != 0)
		must(err.msg[0] != '\0' && m->settings.given == 0);
	mig_free(m);
}

/* ------------------------------------------------------------ run-time settings */

static void check_settings(const struct settings *s)
{
	CLEANUP(buf_free) struct buf text = BUF_INIT(4096);
	CLEANUP(buf_free) struct buf again = BUF_INIT(4096);
	struct settings back = *s;

	for (int i = 0; i < SETTING_NR; i++) {
		const struct setting *t = &setting_table[i];
		const void *member = (const char *)s + t->offset;

		if (t->type == SETTING_IS_U64)
			must(*(const uint64_t *)member >= t->min && *(const uint64_t *)member <= t->max);
		if (t->type == SETTING_IS_DURATIONS)
			must(s->backoff.n >= 1 && s->backoff.n <= SETTINGS_BACKOFF_MAX);
		buf_reset(&text);
		buf_reset(&again);
		must(settings_print(s, (enum setting_id)i, &text) == 0);
		must(settings_set(&back, t->name, text.data, NULL) == 0);
		must(settings_print(&back, (enum setting_id)i, &again) == 0 && strcmp(text.data, again.data) == 0);
	}
}

static void read_settings(const char *name, const char *value)
{
	struct err err = ERR_INIT;
	struct settings s;

	settings_defaults(&s);
	if (settings_apply(&s, name, &err) == 0 || settings_set(&s, name, value, &err) == 0)
		check_settings(&s);
	else
		must(err.msg[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	size_t first;

	if (size < 2 || size > 65536)
		return 0;
	text = calloc(1, size + 1); /* ends with two NULs: a second text is always there */
	if (text == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	first = strlen(text) + 1;
	if (data[0] % 3 == 0)
		read_array(text);
	else if (data[0] % 3 == 1)
		read_plan(text, text + (first < size ? first : size));
	else
		read_settings(text, text + (first < size ? first : size));
	free(text);
	return 0;
}
