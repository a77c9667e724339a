/*
 * report.c - what the worker says in its log: state changes once, failures at a bounded rate, never a line per job that went well.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "worker/worker_private.h"

#define SAY_EVERY_MS 60000
#define FAILED_PER_S 10 /* lines about failed jobs of a migration */

static bool all_up(const struct worker *w, const struct server_report *s)
{
	bool up = true;

	if (s == &w->redis)
		return redis_link_up(w->commands) && redis_link_up(w->fetches[0].link) && redis_link_up(w->fetches[1].link);
	for (unsigned i = 0; i < w->nlanes; i++)
		up = up && pg_link_up(w->lanes[i].link);
	return up && pg_link_up(w->control.link);
}

static const char *url_of(const struct worker *w, const struct server_report *s)
{
	return s == &w->redis ? redis_link_masked_url(w->commands) : pg_link_masked_url(w->control.link);
}

void report_server(struct worker *w, struct server_report *s, bool up, const struct err *why)
{
	uint64_t now = worker_now();

	s->connects += up;
	s->failures += !up;
	if (!up) {
		if (s->said.n == 0)
			s->since_ms = now;
		if (!outage_time_to_say(&s->said, now, why->msg))
			return;
		log_warn("server.away", "server=%s url=%s away_ms=%" PRIu64 " cause=%s", s->name, url_of(w, s), now - s->since_ms,
			 why->msg);
	} else if (s->said.n > 0 && all_up(w, s)) {
		s->said = (struct outage_said){ 0 };
		log_info("server.back", "server=%s url=%s away_ms=%" PRIu64, s->name, url_of(w, s), now - s->since_ms);
	}
}

/* At most so many a second of a migration; how many were left out is said with the next. */
static bool may_say(struct mig *m)
{
	uint64_t second = worker_now() / 1000;

	if (m->said_second != second) {
		m->said_second = second;
		m->said = 0;
	}
	if (++m->said <= FAILED_PER_S)
		return true;
	m->unsaid++;
	return false;
}

void report_job(struct worker *w, struct lane *l, const char *event, const char *why, const struct tx_answer *a)
{
	struct job_run *r = l->run;
	struct mig *m = r->mig;
	char job[32];
	const char *cause = a != NULL && a->message != NULL ? a->message : r->message != NULL ? r->message : "";

	snprintf(job, sizeof(job), "%c%" PRId64, (char)r->kind, r->n > 0 ? r->entries[0]->job.number : 0);
	if (strcmp(event, "buried") == 0) {
		w->dead_letters++;
		if (!may_say(m))
			return;
		log_warn("job.dead", "migration=%s job=%s failed_job=%" PRId64 " sqlstate=%s unsaid=%" PRIu64 " cause=%s", m->name, job,
			 r->failed_id, r->sqlstate, m->unsaid, cause);
		m->unsaid = 0;
	} else if (strcmp(event, "paused") == 0) {
		log_warn("migration.paused", "migration=%s job=%s sqlstate=%s why=%s cause=%s", m->name, job, r->sqlstate, why, cause);
	} else if (strcmp(event, "broken") == 0) {
		log_warn("migration.breaker", "migration=%s job=%s why=%s", m->name, job, why);
	} else if (strcmp(event, "side-failed") == 0) {
		if (may_say(m))
			log_warn("job.side_failed", "migration=%s job=%s doing=%s sqlstate=%s cause=%s", m->name, job, why,
				 a != NULL ? a->sqlstate : "", cause);
	} else if (strcmp(event, "settle-failed") == 0) {
		/* Redis is full, say: that is one piece of news, not one per job. */
		m->unsettled++;
		if (m->unsettled_said_ms != 0 && worker_now() - m->unsettled_said_ms < SAY_EVERY_MS)
			return;
		m->unsettled_said_ms = worker_now();
		log_warn("job.settle_failed", "migration=%s job=%s count=%" PRIu64 " why=%s", m->name, job, m->unsettled, why);
	} else {
		log_debug("job.fate", "migration=%s job=%s rows=%zu event=%s why=%s sqlstate=%s cause=%s", m->name, job, r->n, event, why,
			  r->sqlstate, cause);
	}
}
