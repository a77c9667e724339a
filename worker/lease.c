/*
 * lease.c - shows that this worker lives: renews the leases of everything it holds, and its liveness key.
 *
 * A renewal is fenced: what another consumer has taken over is not taken back. Such a job is said to be lost, once; if it runs, it runs on: the
 * ledger lets one of the two change the rows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "core/log.h"
#include "worker/worker_private.h"

#define RENEW_MOST 500 /* entries of a call */
#define YOUNG 12       /* a lease of which less than this part is over is renewed the next time: of what is done by then, nobody has to */

/* ------------------------------------------------------------ the liveness key */

static void on_alive(void *arg, int status, const redisReply *reply)
{
	struct worker *w = arg;

	if (status != 0 || w->named)
		return;
	if (reply->type == REDIS_REPLY_NIL) {
		/* Two of one name would be one consumer: neither could tell its jobs from the other's. */
		char name[WORKER_NAME_MAX];

		snprintf(name, sizeof(name), "%.*s-%04" PRIx64, WORKER_NAME_MAX - 6, w->name, rng_next(&w->rng) & 0xffff);
		log_warn("worker.renamed", "name=%s to=%s cause='%s'", w->name, name,
			 "another worker of this name is alive, or died just now");
		memcpy(w->name, name, sizeof(name));
		lease_alive(w);
		return;
	}
	w->named = true;
	log_info("worker.ready", "name=%s lanes=%u installation=%s", w->name, w->nlanes, w->installation);
	control_urge(w);
	worker_pump(w);
}

void lease_alive(struct worker *w)
{
	char key[JOB_KEY_NAME_MAX], ttl[24];
	const char *const argv[] = { "SET", key, w->token, "PX", ttl, "NX" };

	if (w->installation[0] == '\0')
		return;
	job_worker_key(key, w->installation, w->name);
	snprintf(ttl, sizeof(ttl), "%" PRIu64, w->options->lease_ms);
	if (redis_link_send(w->commands, w->named ? 5 : 6, argv, NULL, REDIS_LINK_DEADLINE_MS, on_alive, w) != 0)
		return; /* Redis is away: tried again when it is back */
}

void lease_let_go(struct worker *w)
{
	char key[JOB_KEY_NAME_MAX];
	const char *const argv[] = { "DEL", key };

	job_worker_key(key, w->installation, w->name);
	if (w->named && redis_link_send(w->commands, 2, argv, NULL, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL) != 0)
		return; /* it ends by itself */
}

/* ------------------------------------------------------------ leases */

/* Of one migration, in as many calls as it takes. */
struct renewal {
	struct worker *worker;
	int32_t mig;
	unsigned answers; /* still to come, and one for the asker */
	size_t lost;
	struct job first_lost;
};

static void renewal_done(struct renewal *n)
{
	const struct mig *m = worker_find(n->worker, n->mig);

	if (--n->answers > 0)
		return;
	n->worker->counts.lease_lost += n->lost;
	if (n->lost > 0 && m != NULL)
		log_warn("lease.lost", "migration=%s jobs=%zu first=%c%" PRId64, m->name, n->lost, (char)n->first_lost.kind,
			 n->first_lost.number);
	free(n);
}

static int compare(const void *a, const void *b)
{
	return entry_id_compare(*(const struct entry_id *)a, *(const struct entry_id *)b);
}

/* Of what is held, those among @ids, in their order, are another's by now. */
static void lose(struct renewal *n, struct mig *m, const struct entry_id *ids, size_t nids)
{
	struct entry *e;

	DL_FOREACH2(m->held, e, held_next)
	{
		if (e->lost || e->settling || bsearch(&e->id, ids, nids, sizeof(*ids), compare) == NULL)
			continue;
		e->lost = true;
		if (n->lost++ == 0)
			n->first_lost = e->job;
	}
}

static void on_renewed(void *arg, int status, const redisReply *reply)
{
	struct renewal *n = arg;
	struct mig *m = worker_find(n->worker, n->mig);
	struct entry_id *ids = NULL;
	size_t nids = 0;

	if (status == 0)
		FAILPOINT(worker_renewed);
	if (status == 0 && m != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0)
		ids = malloc(reply->elements * sizeof(*ids));
	for (size_t i = 0; ids != NULL && i < reply->elements; i++) {
		const redisReply *r = reply->element[i];

		nids += r->type == REDIS_REPLY_STRING && entry_id_parse(r->str, r->len, &ids[nids]);
	}
	if (nids > 0) {
		qsort(ids, nids, sizeof(*ids), compare);
		lose(n, m, ids, nids);
	}
	free(ids);
	renewal_done(n);
}

static void renew_some(struct renewal *r, struct worker *w, struct mig *m, const struct entry_id *ids, size_t n)
{
	char(*texts)[ENTRY_ID_MAX] = calloc(n, sizeof(*texts));
	const char **argv = calloc(n + 3, sizeof(*argv));

	if (texts != NULL && argv != NULL) {
		argv[0] = m->keys.jobs;
		argv[1] = JOB_GROUP;
		argv[2] = w->name;
		for (size_t i = 0; i < n; i++) {
			entry_id_print(ids[i], texts[i]);
			argv[3 + i] = texts[i];
		}
		if (queue_call(w->commands, &queue_renew, 1, n + 3, argv, NULL, REDIS_LINK_DEADLINE_MS, on_renewed, r) == 0)
			r->answers++;
		redis_link_pass(w->commands, FAILPOINT_worker_renew_sent);
	}
	free(argv);
	free(texts);
}

static void renew(struct worker *w, struct mig *m)
{
	struct entry_id *ids = calloc(m->nheld, sizeof(*ids));
	struct renewal *r = calloc(1, sizeof(*r));
	uint64_t now = worker_now();
	const struct entry *e;
	size_t n = 0;

	if (ids == NULL || r == NULL) {
		free(ids);
		free(r);
		return;
	}
	*r = (struct renewal){ .worker = w, .mig = m->id, .answers = 1 };
	DL_FOREACH2(m->held, e, held_next)
	if (!e->lost && now - e->read_ms >= w->options->lease_ms / YOUNG)
		ids[n++] = e->id;
	qsort(ids, n, sizeof(*ids), compare);
	for (size_t i = 0; i < n; i += RENEW_MOST)
		renew_some(r, w, m, ids + i, n - i < RENEW_MOST ? n - i : RENEW_MOST);
	renewal_done(r);
	free(ids);
}

static void on_timer(void *arg)
{
	struct worker *w = arg;
	struct mig *m;

	loop_timer_start(w->lease_timer, w->options->lease_ms / 3);
	lease_alive(w);
	DL_FOREACH(w->migs, m)
		if (m->nheld > 0)
			renew(w, m);
}

void lease_start(struct worker *w)
{
	w->lease_timer = loop_timer_new(&w->loop, on_timer, w);
	if (w->lease_timer != NULL)
		loop_timer_start(w->lease_timer, w->options->lease_ms / 3);
}
