#include "producer/bound.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/text.h"
#include "pg/pg_sync.h"
#include "producer/standing.h"
#include "sql.h"

#define KEEP 0.8          /* of what was seen before, per look */
#define BETWEEN_MS 20     /* looks at the lanes */
#define CPU_LOST 0.3      /* of a query's time: the server has no CPU left */
#define SERVER_WAITS 0.5  /* of the lanes at work: what they wait for is the limit */
#define RATE_REACHED 0.75 /* of max_rows_per_s */

/* ------------------------------------------------------------ looking */

static int look_at_lanes(struct pg_sync *pg, struct bound_server *b, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = pg_exec(pg, SQL_BOUND_LANES, 0, NULL, &res, err);

	if (rc != 0)
		return rc;
	b->looks = KEEP * b->looks + 1;
	b->at_work = KEEP * b->at_work + pg_f64(res, 0, "at_work");
	b->server = KEEP * b->server + pg_f64(res, 0, "server");
	b->sleeps = KEEP * b->sleeps + pg_f64(res, 0, "sleeps");
	b->hidden = pg_i64(res, 0, "hidden") > 0;
	if (!pg_null(res, 0, "event"))
		snprintf(b->event, sizeof(b->event), "%.63s", pg_str(res, 0, "event"));
	return 0;
}

static int look_at_cpu(struct pg_sync *pg, struct bound_server *b, struct err *err)
{
	CLEANUP(pg_result_freep) PGresult *res = NULL;
	int rc = pg_exec(pg, SQL_BOUND_CPU, 0, NULL, &res, err);

	if (rc != 0)
		return rc;
	b->probes = KEEP * b->probes + 1;
	b->cpu_lost = KEEP * b->cpu_lost + pg_f64(res, 0, "lost");
	return 0;
}

int bound_look(struct pg_sync *pg, struct bound_server *b, unsigned samples, bool probe, const volatile sig_atomic_t *stop, struct err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < samples && rc == 0; i++) {
		rc = i > 0 ? clock_sleep_ms(BETWEEN_MS, stop) : 0;
		if (rc != 0)
			return err_set(err, rc, "interrupted");
		rc = look_at_lanes(pg, b, err);
		if (rc == 0 && probe)
			rc = look_at_cpu(pg, b, err);
		probe = probe && i == 0;
	}
	return rc;
}

/* ------------------------------------------------------------ judging */

static double cpu_lost(const struct bound_server *b)
{
	return b->probes > 0 ? b->cpu_lost / b->probes : 0;
}

static bool server_waits(const struct bound_server *b)
{
	return b->looks > 0 && b->at_work >= b->looks && b->server >= SERVER_WAITS * b->at_work;
}

enum bound bound_of(const struct standing *s, const struct bound_server *b)
{
	const struct settings *c = &s->settings;

	if (!standing_is(s, "running") || (s->incomplete == 0 && s->scan_done) || s->workers_able == 0 || !c->is_enabled)
		return BOUND_NONE;
	if (s->rung > 0 && c->throttle)
		return BOUND_THROTTLE;
	if (c->max_rows_per_s > 0 && (s->rate_per_s < 0 || s->rate_per_s >= RATE_REACHED * (double)c->max_rows_per_s))
		return BOUND_RATE;
	if (c->processing_interval_ms > 0)
		return BOUND_PAUSES;
	if (!s->scan_done && s->producing && s->depth_known && queue_depth_jobs(&s->depth) <= (uint64_t)s->lanes_able)
		return BOUND_SCAN;
	if (cpu_lost(b) >= CPU_LOST || server_waits(b))
		return BOUND_POSTGRES;
	if (c->max_lanes > 0 && c->max_lanes < (uint64_t)s->lanes_able)
		return BOUND_LANES;
	return b->looks > 0 ? BOUND_WORKERS : BOUND_NONE;
}

const char *bound_name(enum bound b)
{
	static const char *const names[BOUND_NR] = {
		NULL, "throttle", "max_rows_per_s", "max_lanes", "processing_interval_ms", "scan", "postgresql", "workers",
	};

	return names[b];
}

void bound_say(enum bound bound, const struct standing *s, const struct bound_server *b, struct buf *out)
{
	const struct settings *c = &s->settings;

	switch (bound) {
	case BOUND_RATE:
		buf_printf(out, "the limit is the setting max_rows_per_s: %s for the whole fleet; drover config %s max_rows_per_s=N",
			   text_human_rate((double)c->max_rows_per_s).s, s->name);
		break;
	case BOUND_LANES:
		buf_printf(out, "the limit is the setting max_lanes: %" PRIu64 " of %" PRId64 " lanes; drover config %s max_lanes=N",
			   c->max_lanes, s->lanes_able, s->name);
		break;
	case BOUND_SCAN:
		buf_puts(out, "the scan sets the pace: the workers wait for jobs");
		break;
	case BOUND_POSTGRES:
		buf_puts(out, "PostgreSQL is the limit: ");
		if (cpu_lost(b) >= CPU_LOST)
			buf_printf(out, "queries wait for a CPU %s of the time; more workers would not help",
				   text_human_percent(cpu_lost(b)).s);
		else
			buf_printf(out, "most lanes wait in it (%s); more workers would not help", b->event);
		break;
	case BOUND_WORKERS:
		buf_printf(out, "the workers are the limit (%" PRId64 " lanes, %" PRId64 " at work%s%s): more workers or lanes may help",
			   s->lanes_able, s->lanes_busy, b->sleeps * 2 > b->at_work && b->at_work > 0 ? ", most of them asleep in SQL" : "",
			   b->hidden ? "; what they wait for in PostgreSQL is shown to members of pg_read_all_stats" : "");
		break;
	case BOUND_NONE:
	case BOUND_PAUSES: /* these two are said whether they are the limit or not */
	case BOUND_THROTTLE:
	case BOUND_NR:
		break;
	}
}
