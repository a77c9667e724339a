/*
 * redis_server.c - what INFO says, and whether Drover can live with it (redis_sync.h).
 */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "redis/redis_sync.h"

/* The value of "name:value\r\n" into @out; "" if it is not there. */
static void field(const char *info, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);

	out[0] = '\0';
	for (const char *p = info; p != NULL && *p != '\0'; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, name, n) == 0 && p[n] == ':') {
			snprintf(out, size, "%.*s", (int)strcspn(p + n + 1, "\r\n"), p + n + 1);
			return;
		}
	}
}

static unsigned version_number(const char *text)
{
	unsigned major = 0, minor = 0, patch = 0;

	if (sscanf(text, "%3u.%3u.%3u", &major, &minor, &patch) < 1) /* NOLINT(cert-err34-c): three digits cannot overflow */
		return 0;
	return major * 10000 + (minor > 99 ? 99 : minor) * 100 + (patch > 99 ? 99 : patch);
}

void redis_server_parse(struct redis_server *ret, const char *info)
{
	char other[24];

	memset(ret, 0, sizeof(*ret));
	/* Valkey says 7.2.4 for ever, whatever its own version is: the least that it can do. */
	field(info, "redis_version", ret->version_text, sizeof(ret->version_text));
	ret->version = version_number(ret->version_text);
	field(info, "run_id", ret->run_id, sizeof(ret->run_id));
	field(info, "master_replid", ret->replid, sizeof(ret->replid));
	field(info, "maxmemory_policy", ret->policy, sizeof(ret->policy));
	field(info, "redis_mode", other, sizeof(other));
	ret->cluster = strcmp(other, "cluster") == 0;
	field(info, "role", other, sizeof(other));
	ret->replica = strcmp(other, "slave") == 0;
	field(info, "loading", other, sizeof(other));
	ret->loading = strcmp(other, "1") == 0;
}

int redis_server_check(const struct redis_server *s, struct err *err)
{
	if (s->version == 0)
		return err_set(err, ST_REFUSED, "the server does not say which version of Redis it is (INFO is needed)");
	if (s->version < REDIS_VERSION_NEEDED)
		return err_set(err, ST_REFUSED, "Redis %s is too old: 7.0.5 or later is needed", s->version_text);
	if (s->cluster)
		return err_set(err, ST_REFUSED,
			       "this Redis is a cluster, which is not supported: use a single server, with replicas if you like");
	return 0;
}

bool redis_server_warning(const struct redis_server *s, struct buf *out)
{
	if (s->policy[0] == '\0' || strcmp(s->policy, "noeviction") == 0)
		return false;
	buf_printf(out,
		   "Redis's maxmemory-policy is %s: when its memory is full it may drop jobs (they are pushed again from the ledger, "
		   "but slowly); set noeviction",
		   s->policy);
	return true;
}
