/*
 * secret.h - what stands in the environment as NAME, or in a file that NAME_FILE names, as the secrets of Docker and Kubernetes do.
 *
 * The text is the caller's and is wiped by secret_free(). It never stands in an error.
 */
#ifndef DROVER_CORE_SECRET_H
#define DROVER_CORE_SECRET_H

#include "core/err.h"
#include "core/util.h"

#define SECRET_MAX 16384 /* bytes of such a file */

/**
 * *@ret is NULL if neither variable is set (or both are empty). Line ends at the file's end are no part of it.
 * ST_CONFIG both are set; ST_IO, ST_LIMIT the file cannot be read or is too long; ST_INPUT it is empty or has a NUL in it; ST_NOMEM.
 */
MUST_CHECK int secret_from_env(char **ret, const char *name, struct err *err);

/* Wipes and frees; NULL is fine. */
void secret_free(char *secret);

static inline void secret_freep(char **secret)
{
	secret_free(*secret);
}

#endif
