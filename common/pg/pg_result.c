/*
 * pg_result.c - values of a result by the name of their column (pg_sync.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/pg_sync.h"

static int column_of(const PGresult *res, const char *name)
{
	/* Not PQfnumber(): it folds case. */
	for (int i = 0; i < PQnfields(res); i++)
		if (strcmp(PQfname(res, i), name) == 0)
			return i;
	fprintf(stderr, "bug: the result has no column '%s'\n", name);
	abort();
}

const char *pg_opt(const PGresult *res, int row, const char *column)
{
	int i = column_of(res, column);

	return PQgetisnull(res, row, i) ? NULL : PQgetvalue(res, row, i);
}

const char *pg_str(const PGresult *res, int row, const char *column)
{
	return PQgetvalue(res, row, column_of(res, column));
}

bool pg_null(const PGresult *res, int row, const char *column)
{
	return PQgetisnull(res, row, column_of(res, column)) != 0;
}

int64_t pg_i64(const PGresult *res, int row, const char *column)
{
	return strtoll(pg_str(res, row, column), NULL, 10);
}

double pg_f64(const PGresult *res, int row, const char *column)
{
	return strtod(pg_str(res, row, column), NULL);
}

bool pg_bool(const PGresult *res, int row, const char *column)
{
	return pg_str(res, row, column)[0] == 't';
}
