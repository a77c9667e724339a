/*
 * plan.h - the SQL that a migration becomes.
 *
 * plan_make() fills the templates of sql/plan/ and returns the JSON that is kept in drover.migrations.plan. It is pure: what it
 * needs to know about the table was read from the server by the registration, which also has the server check the result.
 */
#ifndef DROVER_MIGRATION_PLAN_H
#define DROVER_MIGRATION_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"
#include "migration/file.h"
#include "migration/problems.h"
#include "migration/tree.h"

#define PLAN_VERSION 1

/* A column of the table, as the server describes it. All strings are borrowed. */
struct plan_column {
	const char *name;      /* unquoted */
	const char *type;      /* base type (not the domain), schema-qualified, without modifier: ready to stand after "::" */
	const char *collation; /* qualified and quoted; NULL: the default, or none */
	bool not_null;
	bool integer;  /* smallint, integer or bigint */
	bool datetime; /* its text depends on DateStyle: date, timestamp, timestamptz */
	bool varlena;  /* may be large */
	bool in_order; /* rows lie in about the order of its values */
	bool locking;  /* of a unique index that foreign keys may use: changing it needs FOR UPDATE */
};

struct plan_table {
	const char *schema; /* unquoted */
	const char *name;   /* unquoted */
	const struct plan_column *columns;
	size_t nr_columns;
	const struct plan_column *keys[MIGRATION_KEYS_MAX]; /* into columns */
	size_t nr_keys;
	bool visible;             /* found by its name alone, along the search path */
	bool update_triggers;     /* user triggers or rules: what an UPDATE returned is not the last word on what it did */
	bool statement_triggers;  /* some of it fire once for each UPDATE */
	bool deferred_triggers;   /* of these, some may be deferred */
	const char *handler_type; /* of the handler's one parameter, an array; NULL without a handler */
	const struct plan_routine *routines;
	size_t nr_routines;
	/* Planner settings that ours replace, NULL-terminated pairs of name and the session's value: the user's statements get these back. */
	const char *const (*planner)[2];
};

/* What the server says of a function's or operator's name; those that it does not know are not here. */
struct plan_routine {
	const char *name; /* as plan_names() gave it */
	bool local;       /* every one of that name is built in, or immutable: looks at nothing but its arguments */
	bool moving;      /* one of that name is volatile */
};

/* The functions and operators ("schema.name" if qualified) that pending, where and set use, or a section that amounts to a set: to be asked about. ST_NOMEM, ST_LIMIT. */
MUST_CHECK int plan_names(const struct migration_file *f, struct strvec *functions, struct strvec *operators, struct err *err);

/* What the value of one kind of directive mentions, judged by what the server said about its functions and operators. */
struct plan_facts {
	bool local;  /* looks at nothing but its own row */
	bool moving; /* reads the clock, a random source or a sequence */
	struct tree_facts names;
};

MUST_CHECK int plan_facts_of(const struct plan_table *t, const char *expression, struct plan_facts *ret, struct err *err);

const struct plan_column *plan_find_column(const struct plan_table *t, const char *name); /* NULL if there is none */

/**
 * The plan. @migration_id goes into the statements.
 * ST_INPUT: the mistakes are in @problems. ST_NOMEM, ST_LIMIT. *@ret is the caller's to json_decref().
 */
MUST_CHECK int plan_make(const struct migration_file *f, const struct plan_table *t, enum migration_mode mode, int migration_id,
			 json_t **ret, struct problems *problems, struct err *err);

/* "name" -> "\"name\"", inner quotes doubled: the one place where identifiers are quoted. */
int plan_add_identifier(struct buf *out, const char *name);

#endif
