/*
 * plan_private.h - what the parts of the plan share.
 */
#ifndef DROVER_MIGRATION_PLAN_PRIVATE_H
#define DROVER_MIGRATION_PLAN_PRIVATE_H

#include "migration/plan.h"
#include "migration/tree.h"

#define PLAN_SQL_MAX ((size_t)16 * 1024 * 1024) /* bytes of one statement */

enum plan_scope { PLAN_RANGE, PLAN_LIST, PLAN_RUN };

/* What a template is filled with. */
struct plan_fill {
	const struct migration_file *f;
	const struct plan_table *t;
	enum migration_mode mode;
	int migration_id;
	const struct migration_set *sets; /* what `set` says, or a section that amounts to it */
	size_t nr_sets;
	const char *pending; /* without parentheses; NULL: always true */
	bool keep_written;   /* a column that has a value already keeps it */
	bool blind;          /* without where and pending */
	bool unlocked;       /* row_image without a lock */
	bool any_order;      /* rows may come as they like, by whatever index */
	bool sweep;
	bool last_pick; /* the statement's keys are the ones to be changed */
	bool restore;   /* the user's statements follow: give them the planner they know */
	bool locks;     /* the candidates */
	bool turns;     /* of a range only the keys whose turn it is */
	bool strong;    /* FOR UPDATE */
	enum plan_scope scope;
	const char *param; /* within a part of a template */
};

typedef void (*plan_fill_cb)(const struct plan_fill *c, const char *arg, struct buf *out);

struct plan_placeholder {
	const char *name;
	plan_fill_cb fill; /* @arg: what is after the colon; NULL without one */
};

extern const struct plan_placeholder plan_key_placeholders[]; /* up to a NULL name */

/* Fill the template @text, whose comment at the top is left out. ST_NOMEM, ST_LIMIT. */
MUST_CHECK int plan_fill(const struct plan_fill *c, const char *text, struct buf *out, struct err *err);

/* :batch and :keys for the user's statements. */
void plan_add_batch(const struct plan_fill *c, struct buf *out);
void plan_add_keys(const struct plan_fill *c, struct buf *out);

/* The qualified table, a column of it, the key as text[]. */
void plan_add_table(const struct plan_fill *c, const char *arg, struct buf *out);
void plan_add_column(const struct plan_fill *c, const struct plan_column *column, struct buf *out);
void plan_key_text(const struct plan_fill *c, const char *arg, struct buf *out);
void plan_add_text_of(const struct plan_column *key, const char *value, struct buf *out);

/* "(a, b)" of what @each writes for every column of the key; without parentheses for one. */
void plan_add_row(const struct plan_fill *c, void (*each)(const struct plan_fill *, size_t, const char *, struct buf *), const char *arg,
		  struct buf *out);
void plan_add_key_column(const struct plan_fill *c, size_t i, const char *arg, struct buf *out);
void plan_add_value(const struct plan_fill *c, size_t i, const char *array, struct buf *out);

/* "PREFIX1, PREFIX2 .." for the columns of the key. */
void plan_add_names(const struct plan_fill *c, const char *prefix, struct buf *out);

/* The predicate derived from `set`; mistakes go to @problems, and *@ret stays NULL then. */
MUST_CHECK int plan_derive_pending(const struct migration_file *f, const struct plan_table *t, char **ret, struct problems *problems,
				   struct err *err);

#endif
