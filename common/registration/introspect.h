/*
 * introspect.h - what the server says of the table that a file names: columns, the key, triggers, settings, routines.
 */
#ifndef DROVER_REGISTRATION_INTROSPECT_H
#define DROVER_REGISTRATION_INTROSPECT_H

#include <stdint.h>

#include <jansson.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/strvec.h"
#include "core/util.h"
#include "migration/file.h"
#include "migration/plan.h"
#include "migration/problems.h"
#include "pg/pg_sync.h"

#define INTROSPECT_PLANNER_MAX 16

struct introspection {
	struct plan_table table; /* its strings are borrowed from what follows */
	uint32_t oid;
	char relkind;
	int64_t bytes;
	char *quoted; /* the table, qualified and quoted */
	struct plan_column *columns;
	struct plan_routine *routines;
	const char *planner[INTROSPECT_PLANNER_MAX][2];
	json_t *settings; /* what every transaction sets: name -> value */
	char *handler_type;
	PGresult *res_table, *res_columns, *res_settings, *res_routines;
};

/**
 * Look at everything within the open transaction. Mistakes go to @problems; ST_INPUT if they leave nothing to go on with.
 * Leaves the captured settings set in the transaction. The caller frees @ret in any case.
 */
MUST_CHECK int introspect(struct pg_sync *c, const struct migration_file *f, struct introspection *ret, struct problems *problems,
			  struct err *err);
void introspect_free(struct introspection *in);

/* Set what @in->settings says, until the transaction ends. */
MUST_CHECK int introspect_apply_settings(struct pg_sync *c, const struct introspection *in, struct err *err);

#endif
