/*
 * err.h - result codes, and the explanation that travels with one.
 *
 * Functions return 0 (ST_OK) or a negative enum status. Those that can explain
 * themselves take a `struct err *` last. The cause is set where it is found,
 * callers add context in front with err_wrap(), and whoever decides what to do
 * logs it, once.
 */
#ifndef DROVER_CORE_ERR_H
#define DROVER_CORE_ERR_H

#include "core/util.h"

enum status {
	ST_OK = 0,
	ST_FIRST_ = -64,
#define X(name, text) ST_##name,
#include "core/status.def"
#undef X
	ST_END_,
};

#define ERR_MSG_MAX 1024 /* bytes, with the final NUL; longer texts are cut */

struct err {
	int code;              /* enum status; ST_OK while nothing went wrong */
	char sqlstate[6];      /* PostgreSQL's code if code is ST_SQL, else "" */
	char msg[ERR_MSG_MAX]; /* one line for a person: what, why, what to do */
};

/* clang-format off */
#define ERR_INIT { .code = ST_OK }
/* clang-format on */

/* "ST_TIMEOUT" -> "timed out". Never NULL. */
const char *status_text(int code);
/* ST_TIMEOUT -> "TIMEOUT", for logs and JSON. Never NULL. */
const char *status_name(int code);

/**
 * Set the cause. @e may be NULL. Returns @code, so that `return err_set(...)` works.
 */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#ifdef __clang_analyzer__ /* it does not see into err.c, and would follow paths on which a failure returns 0 */
static inline int err_code(int code_again, int code)
{
	(void)code_again;
	return code;
}
#define err_set(e, code, ...) err_code(err_set(e, code, __VA_ARGS__), code)
#endif

/**
 * Put context in front of the message ("cannot load 'x': <what it was>").
 * Keeps code and sqlstate. Returns e->code (ST_INPUT if @e is NULL).
 */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Forget what was set. */
void err_clear(struct err *e);

#endif
