/*
 * failpoint.h - places where a test build ends or stops itself, so that tests see what the next one makes of what is left.
 *
 *   DROVER_FAILPOINT=worker_committed=kill@1,scan_pushed=stop@3
 *
 * kill is SIGKILL to itself at the N-th pass of the point, stop is SIGSTOP (SIGCONT goes on from there). Each process counts for itself.
 * Only builds with the CMake option DROVER_FAILPOINTS know the variable; elsewhere the macros are nothing. The names are in failpoint.def.
 */
#ifndef DROVER_CORE_FAILPOINT_H
#define DROVER_CORE_FAILPOINT_H

#include <stdbool.h>

#include "core/err.h"

enum failpoint {
	FAILPOINT_none, /* never acts */
#define X(name, where) FAILPOINT_##name,
#include "core/failpoint.def"
#undef X
	FAILPOINT_NR,
};

#ifdef DROVER_FAILPOINTS

/* Reads the variable's value; NULL: none. ST_USAGE for a name that there is not, or a form like none. Before threads start. */
MUST_CHECK int failpoint_setup(const char *value, struct err *err);

/* Passing a point. From any thread. */
void failpoint_pass(enum failpoint p);

/* Will a pass of it ever act? For what has to be prepared, such as bytes that must be on the wire. */
bool failpoint_is_set(enum failpoint p);

#define FAILPOINT_AT(p) failpoint_pass(p)
#define FAILPOINT_SET_AT(p) failpoint_is_set(p)

#else

#define FAILPOINT_AT(p) ((void)(p))
#define FAILPOINT_SET_AT(p) ((void)(p), false)

#endif

#define FAILPOINT(name) FAILPOINT_AT(FAILPOINT_##name)
#define FAILPOINT_SET(name) FAILPOINT_SET_AT(FAILPOINT_##name)

#endif
