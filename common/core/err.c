#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int code;
	const char *name;
	const char *text;
} statuses[] = {
	{ ST_OK, "OK", "done" },
#define X(name, text) { ST_##name, #name, text },
#include "core/status.def"
#undef X
};

_Static_assert(ST_END_ <= 0, "every status but ST_OK is negative");

const char *status_text(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].code == code)
			return statuses[i].text;
	return "unknown error";
}

const char *status_name(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].code == code)
			return statuses[i].name;
	return "UNKNOWN";
}

/* Mark a cut text with dots, without leaving half a UTF-8 character before them. */
static void mark_cut(char *msg)
{
	size_t end = ERR_MSG_MAX - 4;

	while (end > 0 && ((unsigned char)msg[end] & 0xC0) == 0x80)
		end--;
	memcpy(msg + end, "...", 4);
}

static void store(char *msg, const char *fmt, va_list ap)
{
	int n = vsnprintf(msg, ERR_MSG_MAX, fmt, ap);

	if (n >= ERR_MSG_MAX)
		mark_cut(msg);
}

#undef err_set /* what the analyzer has in its place */
int err_set(struct err *e, int code, const char *fmt, ...)
{
	char msg[ERR_MSG_MAX]; /* an argument may be e->msg itself */
	va_list ap;

	if (e == NULL)
		return code;
	va_start(ap, fmt);
	store(msg, fmt, ap);
	va_end(ap);
	e->code = code;
	e->sqlstate[0] = '\0';
	memcpy(e->msg, msg, sizeof(msg));
	return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char head[ERR_MSG_MAX];
	char msg[ERR_MSG_MAX];
	va_list ap;
	int n;

	if (e == NULL)
		return ST_INPUT;
	va_start(ap, fmt);
	store(head, fmt, ap);
	va_end(ap);
	if (e->msg[0] == '\0')
		snprintf(e->msg, sizeof(e->msg), "%s", status_text(e->code));
	/* Both fit in twice the size; what does not fit in one is cut and marked. */
	n = snprintf(msg, sizeof(msg), "%s: ", head);
	if (n < (int)sizeof(msg))
		n += snprintf(msg + n, sizeof(msg) - (size_t)n, "%s", e->msg);
	if (n >= ERR_MSG_MAX)
		mark_cut(msg);
	memcpy(e->msg, msg, sizeof(msg));
	return e->code;
}

void err_clear(struct err *e)
{
	if (e == NULL)
		return;
	e->code = ST_OK;
	e->sqlstate[0] = '\0';
	e->msg[0] = '\0';
}
