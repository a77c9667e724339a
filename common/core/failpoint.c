#include "core/failpoint.h"

#ifdef DROVER_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[FAILPOINT_NR] = {
#define X(name, where) [FAILPOINT_##name] = #name,
#include "core/failpoint.def"
#undef X
};

static struct {
	int signum;        /* 0: not set */
	unsigned long due; /* the pass that acts */
	atomic_ulong passes;
} points[FAILPOINT_NR];

static int find(const char *name, size_t n)
{
	for (int p = FAILPOINT_none + 1; p < FAILPOINT_NR; p++)
		if (strlen(names[p]) == n && memcmp(names[p], name, n) == 0)
			return p;
	return FAILPOINT_none;
}

/* name=kill@N or name=stop@N */
static int set_one(const char *text, size_t n, struct err *err)
{
	const char *equals = memchr(text, '=', n), *action = equals != NULL ? equals + 1 : text;
	size_t left = equals != NULL ? (size_t)(text + n - action) : 0;
	bool is_kill = left >= 5 && memcmp(action, "kill@", 5) == 0, is_stop = left >= 5 && memcmp(action, "stop@", 5) == 0;
	int p = equals != NULL ? find(text, (size_t)(equals - text)) : FAILPOINT_none;
	unsigned long due = 0;

	if (equals != NULL && p == FAILPOINT_none)
		return err_set(err, ST_USAGE, "DROVER_FAILPOINT: there is no fail point '%.*s'", (int)(equals - text), text);
	for (size_t i = 5; i < left && due <= 1000000000; i++)
		due = action[i] >= '0' && action[i] <= '9' ? due * 10 + (unsigned long)(action[i] - '0') : 2000000000;
	if ((!is_kill && !is_stop) || due == 0 || due > 1000000000)
		return err_set(err, ST_USAGE, "DROVER_FAILPOINT: '%.*s' is not like NAME=kill@N or NAME=stop@N", n < 200 ? (int)n : 200,
			       text);
	points[p].signum = is_kill ? SIGKILL : SIGSTOP;
	points[p].due = due;
	return 0;
}

int failpoint_setup(const char *value, struct err *err)
{
	int rc = 0;

	while (value != NULL && rc == 0) {
		size_t n = strcspn(value, ",");

		rc = set_one(value, n, err);
		value = value[n] == ',' ? value + n + 1 : NULL;
	}
	return rc;
}

bool failpoint_is_set(enum failpoint p)
{
	return points[p].signum != 0;
}

void failpoint_pass(enum failpoint p)
{
	char line[80];

	if (points[p].signum == 0 || atomic_fetch_add(&points[p].passes, 1) + 1 != points[p].due)
		return;
	snprintf(line, sizeof(line), "failpoint %s\n", names[p]);
	(void)!write(STDERR_FILENO, line, strlen(line));
	kill(getpid(), points[p].signum);
}

#endif
