/*
 * check.h - every expression and statement, parsed by the real server.
 */
#ifndef DROVER_REGISTRATION_CHECK_H
#define DROVER_REGISTRATION_CHECK_H

#include <jansson.h>

#include "core/err.h"
#include "core/util.h"
#include "migration/file.h"
#include "migration/problems.h"
#include "pg/pg_sync.h"
#include "registration/introspect.h"

/**
 * The file's own expressions, one by one, and the statements of its backfill as @plan has them. PostgreSQL's message becomes a mistake
 * with its line in the file. Within the open transaction, which stays usable. Anything but ST_OK means that the link or the like failed.
 */
MUST_CHECK int check_file(struct pg_sync *c, const struct migration_file *f, const struct introspection *in, struct problems *problems,
			  struct err *err);
MUST_CHECK int check_plan(struct pg_sync *c, const struct migration_file *f, json_t *plan, struct problems *problems, struct err *err);

#endif
