/*
 * plan.h - the SQL of a migration as workers run it, read from drover.migrations.plan (see sql/plan/README.md).
 */
#ifndef DROVER_WORKER_PLAN_H
#define DROVER_WORKER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "core/err.h"
#include "core/util.h"

#define PLAN_STATEMENTS_MAX 100 /* of a script */

struct plan_statement {
	const char *sql;
	bool receipts; /* settles row jobs: a burial of one runs it too */
};

struct plan_script {
	struct plan_statement *v; /* owned */
	unsigned n;
};

#define PLAN_BLIND 1u    /* without the predicate */
#define PLAN_UNLOCKED 2u /* without a lock on the row */

struct plan {
	unsigned refs; /* holders; not thread-safe */
	json_t *root;  /* owns all texts */
	/* Of its statements (pg_link.h), nobody else's, for they are parsed under its settings; PG_UNNAMED where one of them may mean another moment each time. */
	uint64_t scope;
	struct plan_script range, list, replay;
	struct plan_script run; /* of row jobs that follow one another; without statements where there is no such script */
	const char *split_range[2], *split_list[2]; /* [1]: blind, without the predicate */
	const char *image_range[4], *image_list[4]; /* by PLAN_BLIND and PLAN_UNLOCKED */
	const char *slice_range;
	const char
		*pieces_range; /* NULL: of this script none, or registered by an older console. Else the range's script is one statement */
	unsigned columns;      /* of the key */
	bool turns;            /* ranges that are too large for a transaction are done by turns: drover.take_turn() */
};

/* ST_INPUT: not a plan, or one of a newer version. On failure *@ret is untouched. */
MUST_CHECK int plan_read(struct plan **ret, const char *json, struct err *err);

/* A plan stays while a pipeline made of it is under way, even if another revision has taken its place. NULL is fine. */
struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p);

#endif
