/*
 * introspect_private.h - parts of the introspection.
 */
#ifndef DROVER_REGISTRATION_INTROSPECT_PRIVATE_H
#define DROVER_REGISTRATION_INTROSPECT_PRIVATE_H

#include "registration/introspect.h"

/* Find the key; what will not do is reported with its reason, and ST_INPUT returned. */
MUST_CHECK int introspect_key(struct pg_sync *c, const struct migration_file *f, struct introspection *in, struct problems *problems,
			      struct err *err);

/* Find the handler and what it takes. */
MUST_CHECK int introspect_handler(struct pg_sync *c, const struct migration_file *f, struct introspection *in, struct problems *problems,
				  struct err *err);

/* Are the columns there that the file sets and reads? All that are not are reported; returns 0 all the same. */
MUST_CHECK int introspect_names(const struct migration_file *f, struct introspection *in, struct problems *problems, struct err *err);

#endif
