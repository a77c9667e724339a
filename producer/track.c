#include "producer/track.h"

#include <stdlib.h>

#include "core/clock.h"

static uint64_t committed_ms(const struct standing *s, uint64_t now_ms)
{
	return s->idle_ms < 0 || (uint64_t)s->idle_ms > now_ms ? now_ms : now_ms - (uint64_t)s->idle_ms;
}

static struct track *track_of(struct tracks *t, const struct standing *s, uint64_t now_ms)
{
	struct track *grown;

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].id == s->id)
			return &t->v[i];
	grown = realloc(t->v, (t->n + 1) * sizeof(*grown));
	if (grown == NULL)
		return NULL;
	t->v = grown;
	grown = &grown[t->n++];
	*grown = (struct track){ .id = s->id, .first_finished = s->finished, .first_ms = now_ms, .commit_ms = committed_ms(s, now_ms) };
	progress_init(&grown->progress, s->name, now_ms);
	return grown;
}

/*
 * The pace since the first look, from one commit to another: lanes that pause, or have large batches, commit now and then, and looks fall in
 * between.
 */
static double pace(const struct standing *s, const struct track *t, uint64_t now_ms)
{
	uint64_t commit_ms = committed_ms(s, now_ms);
	double ms = commit_ms > t->commit_ms ? (double)(commit_ms - t->commit_ms) : (double)(now_ms - t->first_ms);

	return ms > 0 ? (double)(s->finished - t->first_finished) * 1000 / ms : 0;
}

/* The range: by that, and by the windows of the last half minute once there are some. */
static void estimate(struct standing *s, struct track *t, uint64_t now_ms)
{
	double rate = pace(s, t, now_ms);
	struct progress_eta eta = progress_eta(&t->progress);
	double left = (double)standing_left(s);

	if (t->progress.nwindows > 0)
		rate = progress_rate(&t->progress);
	s->rate_per_s = rate > 0 ? rate : 0;
	if (eta.known) {
		s->eta_known = true;
		s->eta_open = eta.open;
		s->eta_low_ms = eta.low_ms;
		s->eta_high_ms = eta.high_ms;
	} else if (rate > 0 && left > 0) {
		s->eta_known = true;
		s->eta_low_ms = (uint64_t)(left * 700 / rate);
		s->eta_high_ms = (uint64_t)(left * 1500 / rate);
	}
}

int tracks_look(struct tracks *t, struct standing *s, struct track **ret, struct err *err)
{
	uint64_t now_ms = clock_now_ms(clock_system());
	const struct progress_counts counts = {
		.done = (uint64_t)s->finished,
		.total = (uint64_t)s->expected,
		.share = s->share,
		.failed = (uint64_t)s->dead,
		.halted = standing_is(s, "paused"),
	};
	struct track *track = track_of(t, s, now_ms);

	if (track == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	progress_update(&track->progress, now_ms, &counts);
	if (track->looks > 0 && standing_is(s, "running"))
		estimate(s, track, now_ms);
	track->looks++;
	*ret = track;
	return 0;
}

void tracks_free(struct tracks *t)
{
	free(t->v);
	*t = (struct tracks){ .v = NULL };
}
