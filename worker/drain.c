/*
 * drain.c - how a worker ends: nothing new is taken, what is not started is given back at once, what runs is finished.
 *
 *   TERM, INT   drain, exit 0; a second one, or the drain's deadline: exit at once, the leases hand the rest on
 *   USR2, CONT  pause and resume this worker alone
 *   HUP         load plans and settings anew
 */
#include <inttypes.h>
#include <signal.h>

#include <utlist.h>

#include "core/log.h"
#include "worker/worker_private.h"

static void end_now(struct worker *w, int rc, const char *why)
{
	struct err err = ERR_INIT;

	err_set(&err, rc, "%s", why);
	worker_fail(w, rc, &err);
}

static void on_deadline(void *arg)
{
	struct worker *w = arg;

	if (w->draining)
		end_now(w, ST_TIMEOUT, "the drain took too long: what still ran is left to other workers");
	else
		drain_begin(w, "max-time");
}

void drain_begin(struct worker *w, const char *why)
{
	struct mig *m;

	if (w->draining)
		return;
	w->draining = true;
	w->steward_stop = 1;
	log_info("worker.drain", "name=%s why=%s", w->name, why);
	for (unsigned i = 0; i < w->nlanes; i++)
		if (w->lanes[i].run != NULL) {
			job_run_drain(w->lanes[i].run);
			lane_wake(&w->lanes[i]);
		}
	DL_FOREACH(w->migs, m)
		settle_give_back(w, m);
	control_urge(w); /* others take its part of the lanes */
	if (w->end_timer != NULL)
		loop_timer_start(w->end_timer, w->options->drain_ms);
	worker_pump(w);
}

void drain_check(struct worker *w)
{
	if (!w->draining || w->gone_asked || w->ended || w->settling > 0 || w->reclaims > 0 || w->tend.running)
		return;
	for (unsigned i = 0; i < w->nlanes; i++)
		if (w->lanes[i].run != NULL)
			return;
	for (size_t i = 0; i < ARRAY_SIZE(w->fetches); i++)
		if (w->fetches[i].reading)
			return; /* what it brings is given back */
	control_say_gone(w);
}

static void pause_worker(struct worker *w)
{
	struct mig *m;

	if (w->paused || w->draining)
		return;
	w->paused = true;
	log_info("worker.paused", "name=%s", w->name);
	DL_FOREACH(w->migs, m)
		settle_give_back(w, m);
	control_urge(w);
}

static void reload(struct worker *w)
{
	struct mig *m;

	log_info("worker.reload", "name=%s", w->name);
	DL_FOREACH(w->migs, m) {
		m->stale = true;
		m->broken_revision = 0;
	}
	control_urge(w);
}

static void on_signal(void *arg, int signum)
{
	struct worker *w = arg;

	if (signum == SIGTERM || signum == SIGINT) {
		if (w->draining)
			end_now(w, ST_INTERRUPTED, "told to end at once: what still ran is left to other workers");
		else
			drain_begin(w, signum == SIGTERM ? "SIGTERM" : "SIGINT");
	} else if (signum == SIGUSR2) {
		pause_worker(w);
	} else if (signum == SIGCONT && w->paused) {
		w->paused = false;
		log_info("worker.resumed", "name=%s", w->name);
		control_urge(w);
		worker_pump(w);
	} else if (signum == SIGHUP) {
		reload(w);
	}
}

void drain_signals(struct worker *w)
{
	static const int signums[] = { SIGTERM, SIGINT, SIGUSR2, SIGCONT, SIGHUP };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(signums); i++)
		w->signals[i] = loop_signal_new(&w->loop, signums[i], on_signal, w);
	w->end_timer = loop_timer_new(&w->loop, on_deadline, w);
	if (w->end_timer != NULL && w->options->max_time_ms > 0)
		loop_timer_start(w->end_timer, w->options->max_time_ms);
}
