#include "worker/plan.h"

#include <stdlib.h>
#include <string.h>

#include "job/codec.h"
#include "pg/pg_link.h"

#define PLAN_VERSION_KNOWN 1

static int read_script(struct plan_script *s, json_t *scripts, const char *name, struct err *err)
{
	json_t *list = json_object_get(scripts, name);
	size_t n = json_array_size(list);

	if (n < 1 || n > PLAN_STATEMENTS_MAX)
		return err_set(err, ST_INPUT, "the plan's script '%s' has %zu statements", name, n);
	s->v = calloc(n, sizeof(*s->v));
	if (s->v == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		json_t *item = json_array_get(list, i);
		const char *sql = json_string_value(json_object_get(item, "sql"));
		const char *role = json_string_value(json_object_get(item, "role"));

		if (sql == NULL)
			return err_set(err, ST_INPUT, "statement %zu of the plan's script '%s' has no SQL", i + 1, name);
		s->v[s->n++] = (struct plan_statement){ .sql = sql, .receipts = role != NULL && strcmp(role, "receipts") == 0 };
	}
	return 0;
}

static int read_statements(struct plan *p, json_t *statements, struct err *err)
{
	const struct {
		const char *name;
		const char **at;
	} wanted[] = {
		{ "slice_range", &p->slice_range },
		{ "split_range", &p->split_range[0] },
		{ "split_range_blind", &p->split_range[1] },
		{ "split_list", &p->split_list[0] },
		{ "split_list_blind", &p->split_list[1] },
		{ "image_range", &p->image_range[0] },
		{ "image_range_blind", &p->image_range[PLAN_BLIND] },
		{ "image_range_unlocked", &p->image_range[PLAN_UNLOCKED] },
		{ "image_range_blind_unlocked", &p->image_range[PLAN_BLIND | PLAN_UNLOCKED] },
		{ "image_list", &p->image_list[0] },
		{ "image_list_blind", &p->image_list[PLAN_BLIND] },
		{ "image_list_unlocked", &p->image_list[PLAN_UNLOCKED] },
		{ "image_list_blind_unlocked", &p->image_list[PLAN_BLIND | PLAN_UNLOCKED] },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		*wanted[i].at = json_string_value(json_object_get(statements, wanted[i].name));
		if (*wanted[i].at == NULL)
			return err_set(err, ST_INPUT, "the plan has no statement '%s'", wanted[i].name);
	}
	return 0;
}

static int read_root(struct plan *p, const char *json, struct err *err)
{
	json_error_t why;
	json_t *scripts;
	int rc = 0;

	p->root = json_loads(json, 0, &why);
	if (p->root == NULL)
		return err_set(err, ST_INPUT, "the plan is not JSON: %s", why.text);
	scripts = json_object_get(p->root, "scripts");
	p->turns = json_is_true(json_object_get(p->root, "turns"));
	p->columns = (unsigned)json_array_size(json_object_get(p->root, "key"));
	if (json_integer_value(json_object_get(p->root, "version")) != PLAN_VERSION_KNOWN)
		return err_set(err, ST_INPUT, "the plan is not of version %d: is this worker older than the console?", PLAN_VERSION_KNOWN);
	if (p->columns < 1 || p->columns > JOB_KEY_COLUMNS_MAX)
		return err_set(err, ST_INPUT, "the plan's key has %u columns", p->columns);
	rc = read_script(&p->range, scripts, "range", err);
	if (rc == 0)
		rc = read_script(&p->list, scripts, "list", err);
	if (rc == 0)
		rc = read_script(&p->replay, scripts, "replay", err);
	if (rc == 0 && json_object_get(scripts, "run") != NULL)
		rc = read_script(&p->run, scripts, "run", err);
	return rc == 0 ? read_statements(p, json_object_get(p->root, "statements"), err) : rc;
}

int plan_read(struct plan **ret, const char *json, struct err *err)
{
	static uint64_t scopes;
	struct plan *p = calloc(1, sizeof(*p));
	int rc;

	if (p == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	p->refs = 1;
	rc = read_root(p, json, err);
	if (rc != 0) {
		plan_unref(p);
		return rc;
	}
	p->scope = json_is_true(json_object_get(p->root, "timeless")) ? ++scopes : PG_UNNAMED;
	/* Where nothing is prepared, each piece would be planned anew; a longer script would not fit. */
	if (p->scope != PG_UNNAMED && p->range.n == 1)
		p->pieces_range = json_string_value(json_object_get(json_object_get(p->root, "statements"), "pieces_range"));
	*ret = p;
	return 0;
}

struct plan *plan_ref(struct plan *p)
{
	if (p != NULL)
		p->refs++;
	return p;
}

void plan_unref(struct plan *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	free(p->range.v);
	free(p->list.v);
	free(p->replay.v);
	free(p->run.v);
	json_decref(p->root);
	free(p);
}
