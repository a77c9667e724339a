#include "pg/pg_prepared.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "core/rng.h"
#include "pg/pg_link.h"
#include "pg/pg_status.h"

void pg_prepared_init(struct pg_prepared *p)
{
	struct rng rng;

	rng_seed_random(&rng);
	*p = (struct pg_prepared){ .token = rng_next(&rng) };
}

void pg_prepared_forget(struct pg_prepared *p)
{
	struct pg_statement *s, *next;

	LL_FOREACH_SAFE(p->all, s, next)
		free(s);
	p->all = NULL;
	p->n = 0;
	p->asked = p->direct = p->stale = false;
}

void pg_prepared_begin(struct pg_prepared *p, uint64_t now_ms)
{
	p->op++;
	p->now_ms = now_ms;
}

static bool are_old(const struct pg_prepared *p, uint64_t at_ms)
{
	return p->stale || (p->n > 0 && at_ms >= p->old_ms);
}

bool pg_prepared_due(const struct pg_prepared *p)
{
	return p->direct && p->n > 0 && (p->n >= PG_PREPARED_MAX || are_old(p, p->now_ms + PG_PREPARED_SOON_MS));
}

struct pg_statement *pg_prepared_drop(struct pg_prepared *p, struct pg_statement *after, char *ret_sql, size_t size)
{
	struct pg_statement *s = after == NULL ? p->all : after->next, *next;

	/* What the server has not confirmed it does not have, unless it is being prepared just now. */
	for (; s != NULL && !s->known; s = next) {
		next = s->next;
		if (s->sent != p->op)
			pg_prepared_dropped(p, s);
	}
	if (s != NULL)
		snprintf(ret_sql, size, "DEALLOCATE %s", s->name);
	return s;
}

void pg_prepared_dropped(struct pg_prepared *p, struct pg_statement *s)
{
	LL_DELETE(p->all, s);
	free(s);
	p->n--;
	p->stale = p->stale && p->n > 0;
}

void pg_prepared_answer(struct pg_prepared *p, const PGconn *conn, const PGresult *res)
{
	p->asked = true;
	p->direct = !p->refused && PQntuples(res) == 1 && strtol(PQgetvalue(res, 0, 0), NULL, 10) == PQbackendPID(conn);
}

static struct pg_statement *add(struct pg_prepared *p, const char *sql, uint64_t scope)
{
	size_t n = strlen(sql);
	struct pg_statement *s = p->n < PG_PREPARED_MAX ? calloc(1, sizeof(*s) + n + 1) : NULL;
	uint64_t old_ms = p->now_ms + (scope == 0 ? PG_PREPARED_OWN_MS : PG_PREPARED_MS);

	if (s == NULL)
		return NULL;
	memcpy(s->sql, sql, n + 1);
	s->scope = scope;
	snprintf(s->name, sizeof(s->name), "drover_%016" PRIx64 "_%" PRIu64, p->token, ++p->made);
	LL_PREPEND(p->all, s);
	if (p->n++ == 0 || old_ms < p->old_ms)
		p->old_ms = old_ms;
	return s;
}

struct pg_statement *pg_prepared_get(struct pg_prepared *p, const char *sql, uint64_t scope, bool *ret_new)
{
	struct pg_statement *s;

	*ret_new = false;
	if (!p->direct || scope == PG_UNNAMED || are_old(p, p->now_ms))
		return NULL;
	LL_FOREACH(p->all, s)
		if (s->scope == scope && strcmp(s->sql, sql) == 0)
			break;
	if (s == NULL)
		s = add(p, sql, scope);
	if (s != NULL && !s->known && s->sent != p->op) {
		s->sent = p->op;
		*ret_new = true;
	}
	return s;
}

void pg_prepared_failed(struct pg_prepared *p, const struct pg_statement *s, const PGresult *res)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (s == NULL || pg_classify(sqlstate, message) != PG_CLASS_STALE)
		return;
	p->stale = true;
	/* A plan that does not fit any more says nothing of names, and a migration's own statements have others. */
	if (message != NULL && strstr(message, s->name) != NULL) {
		p->refused = true;
		p->direct = false;
	}
}
