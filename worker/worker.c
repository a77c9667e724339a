#include "worker/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "core/log.h"
#include "pg/pg_array.h"
#include "version.h"
#include "worker/worker_private.h"

/* ------------------------------------------------------------ migrations */

struct mig *worker_find(struct worker *w, int32_t id)
{
	struct mig *m;

	DL_FOREACH(w->migs, m)
		if (m->id == id)
			return m;
	return NULL;
}

void worker_remove(struct worker *w, struct mig *m)
{
	if (w->next_mig == m)
		w->next_mig = m->next;
	if (w->control.loading == m)
		return; /* its plan is on the way: at the next poll */
	fetch_forget(w, m);
	counts_leave(m->counts, worker_now());
	DL_DELETE(w->migs, m);
	mig_free(m);
}

size_t worker_held(const struct worker *w)
{
	const struct mig *m;
	size_t n = 0;

	DL_FOREACH(w->migs, m)
		n += m->nheld;
	return n;
}

/*
 * How many lanes of this worker may work for a migration: its part of what the fleet may. Those workers that can work for it share
 * alike; where that leaves a rest, the first ones by name have one more. Where the whole fleet has one lane, it is the first one's.
 */
unsigned worker_lanes_for(const struct worker *w, const struct mig *m)
{
	uint64_t alive = m->alive > 0 ? m->alive : 1, n = w->nlanes;

	if (worker_now() < m->one_lane_until_ms)
		n = 1;
	if (mig_response(m)->lane_part == 0)
		n = m->rank == 0;
	else
		n = (n + mig_response(m)->lane_part - 1) / mig_response(m)->lane_part;
	if (m->settings.max_lanes > 0) {
		uint64_t part = m->settings.max_lanes / alive + (m->rank < m->settings.max_lanes % alive);

		n = part < n ? part : n;
	}
	return (unsigned)n;
}

bool worker_shares(const struct worker *w)
{
	const struct mig *m;

	DL_FOREACH(w->migs, m)
		if (m->state == MIG_RUNNING &&
		    (m->settings.max_lanes > 0 || m->settings.max_rows_per_s > 0 || mig_response(m)->lane_part == 0))
			return true;
	return false;
}

static bool is_broken(const struct mig *m)
{
	return m->stale && m->broken_revision != 0 && m->broken_revision == m->revision_wanted;
}

bool worker_names_able(const struct worker *w, struct buf *out)
{
	const struct mig *m;
	bool broken = false;

	DL_FOREACH(w->migs, m) {
		broken = broken || is_broken(m);
		if (!is_broken(m))
			pg_array_add(out, out->len == 0, m->name);
	}
	pg_array_end(out, out->len == 0);
	return broken;
}

bool worker_is_able(const struct worker *w)
{
	bool lane_up = false;

	for (unsigned i = 0; i < w->nlanes; i++)
		lane_up = lane_up || pg_link_up(w->lanes[i].link);
	return lane_up && redis_link_up(w->commands);
}

bool worker_may_run(const struct worker *w, const struct mig *m)
{
	return (m->state == MIG_RUNNING || m->state == MIG_OVER) && !m->stale && m->plan != NULL && m->configured &&
	       m->settings.is_enabled && worker_lanes_for(w, m) > 0 && !w->paused && !w->draining && !w->outdated;
}

void worker_stop_mig(struct worker *w, struct mig *m)
{
	for (unsigned i = 0; i < w->nlanes; i++)
		if (w->lanes[i].run != NULL && w->lanes[i].run->mig == m && !w->lanes[i].run->stopping)
			job_run_stop(w->lanes[i].run);
}

/* ------------------------------------------------------------ handing out */

/* The next run, migrations taking turns. */
static struct job_run *take_run(struct worker *w)
{
	struct mig *m = w->next_mig != NULL ? w->next_mig : w->migs;

	for (struct mig *first = m; m != NULL;) {
		struct mig *next = m->next != NULL ? m->next : w->migs;

		if (worker_may_run(w, m) && mig_has_work(m) && m->busy < worker_lanes_for(w, m)) {
			w->next_mig = next;
			return mig_take(m);
		}
		if (next == first)
			return NULL;
		m = next;
	}
	return NULL;
}

/* Is one run alone on this worker, or waiting to be? Nothing else begins meanwhile. */
static bool is_reserved(const struct worker *w)
{
	for (unsigned i = 0; i < w->nlanes; i++)
		if (w->lanes[i].run != NULL && w->lanes[i].run->alone)
			return true;
	return false;
}

static bool has_had_enough(const struct worker *w)
{
	return (w->options->once && w->jobs_taken > 0) || (w->options->max_jobs > 0 && w->jobs_taken >= w->options->max_jobs);
}

static void hand_out(struct worker *w)
{
	for (unsigned i = 0; i < w->nlanes; i++) {
		struct job_run *r;

		w->alone = is_reserved(w);
		if (w->alone || w->draining || has_had_enough(w))
			return;
		if (!lane_free(&w->lanes[i]))
			continue;
		r = take_run(w);
		if (r == NULL)
			return;
		w->jobs_taken += r->n;
		lane_start(&w->lanes[i], r);
	}
}

/* --stop-when-empty: no stream has an unread job, no delayed set a job, and nothing is held here. */
static bool is_empty(const struct worker *w)
{
	const struct mig *m;

	if (!w->named || !w->control.polled || w->settling > 0)
		return false;
	DL_FOREACH(w->migs, m) {
		if (m->nheld > 0 || m->busy > 0)
			return false;
		if ((m->state == MIG_RUNNING || m->state == MIG_OVER) && m->settings.is_enabled &&
		    m->broken_revision != m->revision_wanted && (m->stale || !m->found_empty || m->delayed_left != 0))
			return false;
	}
	return true;
}

static void see_whether_to_end(struct worker *w)
{
	bool idle = true;

	for (unsigned i = 0; i < w->nlanes; i++)
		idle = idle && w->lanes[i].run == NULL;
	if (w->draining || !idle)
		return;
	if (has_had_enough(w))
		drain_begin(w, w->options->once ? "once" : "max-jobs");
	else if (w->options->stop_when_empty && is_empty(w))
		drain_begin(w, "empty");
}

static void pump(void *arg)
{
	struct worker *w = arg;

	lane_allow_alone(w);
	hand_out(w);
	fetch_more(w);
	see_whether_to_end(w);
	drain_check(w);
}

void worker_pump(struct worker *w)
{
	if (w->pump_timer != NULL && !loop_timer_pending(w->pump_timer))
		loop_timer_start(w->pump_timer, 0);
}

void worker_fail(struct worker *w, int rc, const struct err *why)
{
	if (w->ended)
		return;
	w->ended = true;
	w->steward_stop = 1;
	w->rc = rc;
	if (w->err != NULL)
		*w->err = *why;
	uv_stop(&w->loop);
}

/* ------------------------------------------------------------ the connection for commands */

static void on_commands(void *arg, struct redis_link *link, bool up, const struct err *why)
{
	struct worker *w = arg;
	const struct redis_server *server = redis_link_server(link);
	struct buf warning = BUF_INIT(1024);

	if (!up && w->run_id[0] == '\0' && (why->code == ST_REFUSED || why->code == ST_REDIS || why->code == ST_CONFIG)) {
		worker_fail(w, why->code, why);
		return;
	}
	report_server(w, &w->redis, up, why);
	if (!up)
		return;
	if (w->run_id[0] == '\0' && redis_server_warning(server, &warning))
		log_warn("redis.policy", "cause=%s", warning.data);
	buf_free(&warning);
	/* Another process, or another history of its data: what it held may be gone. */
	if (w->run_id[0] != '\0' && (strcmp(w->run_id, server->run_id) != 0 || strcmp(w->replid, server->replid) != 0))
		tend_alarm(w);
	snprintf(w->run_id, sizeof(w->run_id), "%s", server->run_id);
	snprintf(w->replid, sizeof(w->replid), "%s", server->replid);
	for (size_t i = 0; i < ARRAY_SIZE(w->fetches); i++)
		w->fetches[i].missed = w->fetches[i].was_up; /* a take-over's answer may have been lost */
	lease_alive(w);
	worker_pump(w);
}

/* ------------------------------------------------------------ life */

/* Letters, digits, '.', '_' and '-': it stands in names of keys, in application_name, and in logs. */
static void set_name(struct worker *w)
{
	size_t n = sizeof(w->host);

	if (uv_os_gethostname(w->host, &n) != 0)
		snprintf(w->host, sizeof(w->host), "unknown");
	if (w->options->name != NULL)
		snprintf(w->name, sizeof(w->name), "%s", w->options->name);
	else
		snprintf(w->name, sizeof(w->name), "%.30s-%d", w->host, (int)getpid());
	for (char *p = w->name; *p != '\0'; p++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p) == NULL)
			*p = '_';
	snprintf(w->token, sizeof(w->token), "%016" PRIx64, rng_next(&w->rng));
}

static int open_parts(struct worker *w, struct err *err)
{
	int rc;

	w->pump_timer = loop_timer_new(&w->loop, pump, w);
	w->lanes = calloc(w->options->lanes, sizeof(*w->lanes));
	if (w->pump_timer == NULL || w->lanes == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	rc = serve_init(w, err); /* a port in use is said before anything is begun */
	if (rc != 0)
		return rc;
	rc = redis_link_new(&w->commands, &w->loop, w->options->redis_url, on_commands, w, err);
	for (size_t i = 0; i < ARRAY_SIZE(w->fetches) && rc == 0; i++)
		rc = fetch_init(&w->fetches[i], w, i == 1, err);
	if (rc == 0)
		rc = bell_init(w, err);
	if (rc == 0)
		rc = control_init(w, err);
	for (unsigned i = 0; i < w->options->lanes && rc == 0; i++, w->nlanes++)
		rc = lane_init(&w->lanes[i], w, i, err);
	if (rc == 0)
		rc = tend_init(w, err);
	if (rc != 0)
		return rc;
	reclaim_start(w);
	lease_start(w);
	drain_signals(w);
	return 0;
}

/* Links first: what was under way is answered (ST_CLOSING) while its owners are still there. */
static void close_parts(struct worker *w)
{
	struct mig *m, *next;

	serve_close(w);
	redis_link_free(w->commands);
	w->commands = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(w->fetches); i++)
		fetch_close(&w->fetches[i]);
	bell_close(w);
	for (unsigned i = 0; i < w->options->lanes && w->lanes != NULL; i++)
		lane_close(&w->lanes[i]);
	free(w->lanes);
	control_close(w);
	tend_close(w);
	DL_FOREACH_SAFE(w->migs, m, next)
		mig_free(m);
	counts_close(&w->counts);
	loop_timer_free(w->reclaim_timer);
	loop_timer_free(w->promote_timer);
	loop_timer_free(w->lease_timer);
	loop_timer_free(w->end_timer);
	loop_timer_free(w->pump_timer);
	for (size_t i = 0; i < ARRAY_SIZE(w->signals); i++)
		loop_signal_free(w->signals[i]);
}

int worker_run(const struct worker_options *options, struct err *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	int rc;

	if (w == NULL || uv_loop_init(&w->loop) != 0) {
		free(w);
		return err_set(err, ST_NOMEM, "out of memory");
	}
	w->options = options;
	w->err = err;
	w->started_ms = worker_now();
	w->postgres.name = "PostgreSQL";
	w->redis.name = "Redis";
	rng_seed_random(&w->rng);
	set_name(w);
	log_info("worker.start", "name=%s version=%s pid=%d lanes=%u", w->name, DROVER_VERSION, (int)getpid(), options->lanes);
	rc = open_parts(w, err);
	if (rc == 0) {
		uv_run(&w->loop, UV_RUN_DEFAULT);
		rc = w->rc;
		log_info("worker.stop", "name=%s jobs=%" PRIu64 " rows=%" PRIu64 " dead_letters=%" PRIu64 " ms=%" PRIu64, w->name,
			 w->jobs_done, w->rows_done, w->dead_letters, worker_now() - w->started_ms);
	}
	w->figures_stop = 1;
	while ((w->tend.running || figures_watch_busy(w->figures)) && uv_run(&w->loop, UV_RUN_ONCE) != 0)
		;
	close_parts(w);
	if (loop_finish(&w->loop) != 0)
		log_debug("worker.leak", "what=%s", "handles of the loop are still open");
	free(w);
	return rc;
}
