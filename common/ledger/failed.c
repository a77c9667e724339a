#include "ledger/failed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "pg/pg_sync.h"
#include "sql.h"

#define FILTER_MAX (256 * 1024) /* bytes of the ids given: far more than a command line holds */
#define NPARAMS 10

/* The parameters that the queries share: $1 to $6 filter, $7 and $8 bounds of ids, $9 limit, $10 actor. */
struct call {
	char migration[24], low[24], high[24], limit[24];
	struct buf states, ids;
	const char *params[NPARAMS];
};

static void call_free(struct call *c)
{
	buf_free(&c->states);
	buf_free(&c->ids);
}

/* "dead,ignored" -> "{dead,ignored}": the states are the console's own words, so nothing needs quoting. */
static void add_states(struct buf *out, const char *states)
{
	buf_printf(out, "{%s}", states);
}

/* A multirange, and the narrowest bounds that hold it, so that the index is used. */
static void add_ids(struct buf *out, const struct failed_filter *f, int64_t *low, int64_t *high)
{
	int64_t first = INT64_MAX, last = 0;

	for (size_t i = 0; i < f->nranges; i++) {
		buf_printf(out, "%s[%" PRId64 ",%" PRId64 "]", i == 0 ? "{" : ",", f->ranges[i].first, f->ranges[i].last);
		first = f->ranges[i].first < first ? f->ranges[i].first : first;
		last = f->ranges[i].last > last ? f->ranges[i].last : last;
	}
	buf_puts(out, "}");
	*low = first > *low ? first : *low;
	*high = last < *high ? last : *high;
}

/* @low and @high are included. */
static int call_init(struct call *c, const struct failed_filter *f, int64_t low, int64_t high, int limit, const char *actor,
		     struct err *err)
{
	buf_init(&c->states, FILTER_MAX);
	buf_init(&c->ids, FILTER_MAX);
	if (f->states != NULL)
		add_states(&c->states, f->states);
	if (f->nranges > 0)
		add_ids(&c->ids, f, &low, &high);
	if (!buf_ok(&c->states) || !buf_ok(&c->ids)) {
		call_free(c);
		return err_set(err, ST_LIMIT, "too many ids at once: give ranges");
	}
	snprintf(c->migration, sizeof(c->migration), "%d", f->migration_id);
	snprintf(c->low, sizeof(c->low), "%" PRId64, low);
	snprintf(c->high, sizeof(c->high), "%" PRId64, high);
	snprintf(c->limit, sizeof(c->limit), "%d", limit);
	c->params[0] = c->migration;
	c->params[1] = f->states != NULL ? c->states.data : NULL;
	c->params[2] = f->error;
	c->params[3] = f->since;
	c->params[4] = f->before;
	c->params[5] = f->nranges > 0 ? c->ids.data : NULL;
	c->params[6] = c->low;
	c->params[7] = c->high;
	c->params[8] = c->limit;
	c->params[9] = actor;
	return 0;
}

/* What PostgreSQL says about a time that it cannot read is put into the words of the command. */
static int explain_time(int rc, const struct failed_filter *f, struct err *err)
{
	if (rc != ST_SQL || err == NULL || (strncmp(err->sqlstate, "22007", 5) != 0 && strncmp(err->sqlstate, "22008", 5) != 0))
		return rc;
	return err_set(err, ST_USAGE, "'%s' is no time: give how long ago (90s, 2h, 3d) or a date and time (2026-01-31 12:00)",
		       f->since != NULL ? f->since : f->before);
}

static int run(struct pg_sync *pg, const char *sql, int nparams, const struct failed_filter *f, int64_t low, int64_t high, int limit,
	       const char *actor, PGresult **ret, struct err *err)
{
	struct call c;
	int rc = call_init(&c, f, low, high, limit, actor, err);

	if (rc != 0)
		return rc;
	rc = pg_exec(pg, sql, nparams, c.params, ret, err);
	call_free(&c);
	return explain_time(rc, f, err);
}

/* ------------------------------------------------------------ reading */

int failed_page(struct pg_sync *c, const struct failed_filter *f, int64_t before, int limit, PGresult **ret, struct err *err)
{
	return run(c, SQL_FAILED_PAGE, 9, f, 0, before == 0 ? INT64_MAX : before - 1, limit, NULL, ret, err);
}

int failed_groups(struct pg_sync *c, const struct failed_filter *f, int limit, PGresult **ret, struct err *err)
{
	return run(c, SQL_FAILED_GROUPS, 9, f, 0, INT64_MAX, limit, NULL, ret, err);
}

int failed_show(struct pg_sync *c, int64_t id, PGresult **ret, struct err *err)
{
	char text[24];
	const char *params[] = { text };
	PGresult *res = NULL;
	int rc;

	snprintf(text, sizeof(text), "%" PRId64, id);
	rc = pg_exec(c, SQL_FAILED_SHOW, 1, params, &res, err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return err_set(err, ST_NOT_FOUND, "there is no failed job %" PRId64 "; `drover failed` lists them", id);
	}
	*ret = res;
	return 0;
}

static int one_number(struct pg_sync *c, const char *sql, int nparams, const struct failed_filter *f, int64_t high, const char *column,
		      int64_t *ret, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = run(c, sql, nparams, f, 0, high, 0, NULL, &res, err);

	if (rc == 0)
		*ret = pg_i64(res, 0, column);
	return rc;
}

int failed_count(struct pg_sync *c, const struct failed_filter *f, int64_t newest, int64_t *ret, struct err *err)
{
	return one_number(c, SQL_FAILED_COUNT, 8, f, newest, "n", ret, err);
}

int failed_newest(struct pg_sync *c, int64_t *ret, struct err *err)
{
	const struct failed_filter none = { .migration_id = 0 };

	return one_number(c, SQL_FAILED_NEWEST, 0, &none, INT64_MAX, "id", ret, err);
}

/* ------------------------------------------------------------ changing, chunk by chunk */

int failed_queue(struct pg_sync *c, const struct failed_filter *f, int64_t after, int64_t newest, int limit, const char *actor,
		 PGresult **ret, struct err *err)
{
	return run(c, SQL_FAILED_QUEUE, 10, f, after + 1, newest, limit, actor, ret, err);
}

static int change(struct pg_sync *c, const char *sql, int nparams, const struct failed_filter *f, int64_t after, int64_t newest, int limit,
		  const char *actor, int *ret_n, int64_t *ret_last, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = run(c, sql, nparams, f, after + 1, newest, limit, actor, &res, err);

	if (rc != 0)
		return rc;
	*ret_n = (int)pg_i64(res, 0, "n");
	*ret_last = pg_i64(res, 0, "last");
	return 0;
}

int failed_ignore(struct pg_sync *c, const struct failed_filter *f, int64_t after, int64_t newest, int limit, const char *actor, int *ret_n,
		  int64_t *ret_last, struct err *err)
{
	return change(c, SQL_FAILED_IGNORE, 10, f, after, newest, limit, actor, ret_n, ret_last, err);
}

int failed_delete(struct pg_sync *c, const struct failed_filter *f, int64_t after, int64_t newest, int limit, int *ret_n, int64_t *ret_last,
		  struct err *err)
{
	return change(c, SQL_FAILED_DELETE, 9, f, after, newest, limit, NULL, ret_n, ret_last, err);
}
