/*
 * reclaim.c - what nobody looks after: jobs of workers that went quiet are taken over, delayed jobs that are due go back to the stream,
 * and consumers that are gone for good are forgotten.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "core/log.h"
#include "worker/worker_private.h"

#define MORE_MS 50 /* between take-overs while there is more to take */
#define PROMOTE_MOST "500"
#define FORGET_MS 60000 /* between looks at the consumers of a migration */
#define FORGET_IDLE_MS 300000
#define FORGET_MOST 20 /* at a look */
#define UNSEEN_MOST "1000"

/* Every answer needs to know its migration, which may be gone by then: it is found by its id. */
struct call {
	struct worker *worker;
	int32_t mig;
	struct fetch *fetch; /* of a look for unseen entries */
	char consumer[128];  /* of a forgetting */
};

static struct call *call_new(struct worker *w, const struct mig *m)
{
	struct call *c = calloc(1, sizeof(*c));

	if (c != NULL) {
		c->worker = w;
		c->mig = m->id;
		w->reclaims++;
	}
	return c;
}

static void call_free(struct call *c)
{
	c->worker->reclaims--;
	free(c);
}

static bool is_array(const redisReply *r, size_t n)
{
	return r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements >= n;
}

/* ------------------------------------------------------------ taking over */

struct taken {
	struct call *call;
	struct mig *mig;
	const redisReply *deliveries;
	struct entry **entries;
	size_t n, at; /* at: of the reply's entries, foreign ones too */
};

static bool is_held(const struct mig *m, struct entry_id id)
{
	const struct entry *e;

	DL_FOREACH2(m->held, e, held_next)
	if (entry_id_compare(e->id, id) == 0)
		return true;
	return false;
}

static void on_entry(void *arg, struct entry *e, struct entry_id id, const char *why)
{
	struct taken *t = arg;
	const redisReply *d = t->at < t->deliveries->elements ? t->deliveries->element[t->at] : NULL;

	t->at++;
	if (settle_unknown(t->call->worker, t->mig, e, id, why, NULL))
		return;
	/* Our own, when renewing was late: it runs, or waits for a lane. */
	if (is_held(t->mig, id)) {
		free(e);
		return;
	}
	e->taken_over = true;
	e->deliveries = d != NULL && d->type == REDIS_REPLY_INTEGER && d->integer > 1 ? (unsigned)(d->integer < 100 ? d->integer : 100) : 2;
	mig_hold(t->mig, e);
	t->entries[t->n++] = e;
}

static void take_in(struct call *c, struct mig *m, const redisReply *reply)
{
	struct taken t = { .call = c, .mig = m, .deliveries = reply->element[2] };
	const redisReply *list = reply->element[1];

	m->more_to_take = list->elements > 0 || strcmp(m->cursor, "0-0") != 0;
	if (list->elements == 0) {
		if (m->taken_over > 0)
			log_info("job.taken_over", "migration=%s jobs=%" PRIu64, m->name, m->taken_over);
		m->taken_over = 0;
		return;
	}
	FAILPOINT(worker_taken_over);
	t.entries = calloc(list->elements, sizeof(*t.entries));
	if (t.entries == NULL)
		return;
	if (entry_read_list(list, on_entry, &t) != 0 || mig_queue_taken_over(m, t.entries, t.n) != 0)
		log_error("reclaim.memory", "migration=%s what=%s", m->name, "out of memory, some jobs wait for their leases to end");
	if (t.n > 0)
		m->found_empty = false;
	m->taken_over += t.n;
	c->worker->counts.taken_over += t.n;
	free(t.entries);
	if (!worker_may_run(c->worker, m) || c->worker->paused || c->worker->draining)
		settle_give_back(c->worker, m);
}

static void on_taken_over(void *arg, int status, const redisReply *reply)
{
	struct call *c = arg;
	struct worker *w = c->worker;
	struct mig *m = worker_find(w, c->mig);

	if (m != NULL)
		m->taking = false;
	if (status == 0 && m != NULL && is_array(reply, 3) && reply->element[0]->type == REDIS_REPLY_STRING &&
	    is_array(reply->element[1], 0) && is_array(reply->element[2], 0)) {
		snprintf(m->cursor, sizeof(m->cursor), "%s", reply->element[0]->str);
		take_in(c, m, reply);
	} else if (status == ST_REDIS && strstr(reply->str, "NOGROUP") != NULL && m != NULL) {
		fetch_make_group(w, m);
		tend_alarm(w);
	}
	call_free(c);
	if (status != ST_CLOSING)
		worker_pump(w);
}

static void take_over(struct worker *w, struct mig *m, unsigned free_lanes)
{
	size_t most = m->row_mode ? free_lanes * (size_t)mig_batch_size(m) : free_lanes;
	char idle[24], count[24];
	const char *const argv[] = { m->keys.jobs, JOB_GROUP, w->name, idle, m->cursor, count };
	struct call *c = call_new(w, m);

	snprintf(idle, sizeof(idle), "%" PRIu64, w->options->lease_ms);
	snprintf(count, sizeof(count), "%zu", most < 2000 ? most : 2000);
	m->taking = c != NULL && queue_call(w->commands, &queue_take_over, 1, ARRAY_SIZE(argv), argv, NULL, REDIS_LINK_DEADLINE_MS,
					    on_taken_over, c) == 0;
	if (c != NULL && !m->taking)
		call_free(c);
	redis_link_pass(w->commands, FAILPOINT_worker_take_over_sent);
}

static void on_reclaim_timer(void *arg)
{
	reclaim_now(arg);
}

void reclaim_now(struct worker *w)
{
	uint64_t every = w->options->lease_ms / 12;
	unsigned free_lanes = 0, up = 0;
	struct mig *m;

	for (unsigned i = 0; i < w->nlanes; i++) {
		free_lanes += lane_free(&w->lanes[i]);
		up += pg_link_up(w->lanes[i].link);
	}
	every = every < 500 ? 500 : every > 5000 ? 5000 : every;
	DL_FOREACH(w->migs, m)
		every = m->more_to_take ? MORE_MS : every; /* a dead worker leaves more than the lanes take at once */
	loop_timer_start(w->reclaim_timer, every);
	if (up == 0 || !w->named || w->draining || w->paused || w->alone || worker_held(w) >= WORKER_HELD_MAX)
		return;
	/* While all lanes are busy, for one of them: it comes before what is new, or it would wait until nothing new is left. */
	DL_FOREACH(w->migs, m)
		if (worker_may_run(w, m) && m->runs == NULL && !m->taking)
			take_over(w, m, free_lanes > 0 ? free_lanes : 1);
}

/* ------------------------------------------------------------ what is ours, unseen */

static void on_unseen_entry(void *arg, struct entry *e, struct entry_id id, const char *why)
{
	struct taken *t = arg;

	if (settle_unknown(t->call->worker, t->mig, e, id, why, NULL))
		return;
	if (is_held(t->mig, id)) { /* a take-over's answer came meanwhile */
		free(e);
	} else {
		e->taken_over = true; /* perhaps another's before */
		mig_hold(t->mig, e);
		mig_queue(t->mig, e);
		t->n++;
	}
}

static void on_unseen(void *arg, int status, const redisReply *reply)
{
	struct call *c = arg;
	struct worker *w = c->worker;
	struct fetch *f = c->fetch;
	struct taken t = { .call = c, .mig = worker_find(w, c->mig) };

	f->recovering--;
	if (status == 0 && t.mig != NULL && is_array(reply, 1)) {
		if (entry_read_list(reply, on_unseen_entry, &t) != 0)
			log_error("reclaim.no_memory", "migration=%s what=%s", t.mig->name,
				  "out of memory, some jobs wait for their leases to end");
		log_info("job.recovered", "migration=%s jobs=%zu", t.mig->name, t.n);
		t.mig->found_empty = false;
		f->missed = true; /* there may be more */
		if (!worker_may_run(w, t.mig))
			settle_give_back(w, t.mig);
	} else if (status == ST_DISCONNECTED || status == ST_TIMEOUT) {
		f->missed = true;
	}
	call_free(c);
	if (status != ST_CLOSING)
		worker_pump(w);
}

/* Of one migration. What is held is named in the question, since only Redis sees both sides at one moment. */
static void look_for_unseen(struct fetch *f, struct mig *m)
{
	size_t n = 4;
	const char **argv = calloc(n + m->nheld, sizeof(*argv));
	char(*ids)[ENTRY_ID_MAX] = calloc(m->nheld + 1, sizeof(*ids));
	struct call *c = argv != NULL && ids != NULL ? call_new(f->worker, m) : NULL;
	const struct entry *e;

	if (c != NULL) {
		c->fetch = f;
		argv[0] = m->keys.jobs;
		argv[1] = JOB_GROUP;
		argv[2] = f->worker->name;
		argv[3] = UNSEEN_MOST;
		DL_FOREACH2(m->held, e, held_next)
		{
			entry_id_print(e->id, ids[n - 4]);
			argv[n] = ids[n - 4];
			n++;
		}
		if (queue_call(f->link, &queue_unseen, 1, n, argv, NULL, REDIS_LINK_DEADLINE_MS, on_unseen, c) == 0)
			f->recovering++;
		else
			call_free(c);
	}
	free(argv);
	free(ids);
}

/*
 * After a connection was lost: entries that a read or a take-over gave to us, in an answer that never came. Asked on the reading connection
 * while no read is under way, so that none is on its way to us.
 */
void reclaim_unseen(struct fetch *f)
{
	struct mig *m;

	f->missed = false;
	DL_FOREACH(f->worker->migs, m)
		if (m->row_mode == f->rows && worker_may_run(f->worker, m))
			look_for_unseen(f, m);
}

/* ------------------------------------------------------------ delayed jobs */

static void on_promoted(void *arg, int status, const redisReply *reply)
{
	struct call *c = arg;
	struct worker *w = c->worker;
	struct mig *m = worker_find(w, c->mig);

	if (m != NULL)
		m->promoting = false;
	if (status == 0 && m != NULL && is_array(reply, 2) && reply->element[0]->type == REDIS_REPLY_INTEGER &&
	    reply->element[1]->type == REDIS_REPLY_INTEGER) {
		m->delayed_left = (uint64_t)reply->element[1]->integer;
		if (reply->element[0]->integer > 0) {
			FAILPOINT(worker_promoted);
			m->found_empty = false;
			loop_timer_start(w->promote_timer, reply->element[0]->integer >= atoi(PROMOTE_MOST) ? 0 : WORKER_PROMOTE_MS);
		}
	}
	call_free(c);
	if (status != ST_CLOSING && w->options->stop_when_empty)
		worker_pump(w);
}

/* Consumers pile up where each pod has a name of its own. */
static void on_forgotten(void *arg, int status, const redisReply *reply)
{
	struct call *c = arg;

	if (status == 0 && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1)
		log_info("consumer.forgotten", "consumer=%s", c->consumer);
	call_free(c);
}

static void on_exists(void *arg, int status, const redisReply *reply)
{
	struct call *c = arg;
	struct mig *m = worker_find(c->worker, c->mig);
	const char *const argv[] = { m != NULL ? m->keys.jobs : "", JOB_GROUP, c->consumer };

	if (status != 0 || m == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer != 0 ||
	    queue_call(c->worker->commands, &queue_forget_consumer, 1, 3, argv, NULL, REDIS_LINK_DEADLINE_MS, on_forgotten, c) != 0)
		call_free(c);
}

static long long field_number(const redisReply *consumer, const char *name)
{
	for (size_t i = 0; i + 1 < consumer->elements; i += 2)
		if (consumer->element[i]->type == REDIS_REPLY_STRING && strcmp(consumer->element[i]->str, name) == 0 &&
		    consumer->element[i + 1]->type == REDIS_REPLY_INTEGER)
			return consumer->element[i + 1]->integer;
	return -1;
}

static const char *field_text(const redisReply *consumer, const char *name)
{
	for (size_t i = 0; i + 1 < consumer->elements; i += 2)
		if (consumer->element[i]->type == REDIS_REPLY_STRING && strcmp(consumer->element[i]->str, name) == 0 &&
		    consumer->element[i + 1]->type == REDIS_REPLY_STRING)
			return consumer->element[i + 1]->str;
	return NULL;
}

static void on_consumers(void *arg, int status, const redisReply *reply)
{
	struct call *c = arg;
	struct worker *w = c->worker;
	struct mig *m = worker_find(w, c->mig);
	unsigned asked = 0;

	call_free(c);
	if (status != 0 || m == NULL || !is_array(reply, 1))
		return;
	for (size_t i = 0; i < reply->elements && asked < FORGET_MOST; i++) {
		const redisReply *consumer = reply->element[i];
		const char *name = is_array(consumer, 2) ? field_text(consumer, "name") : NULL;
		char key[JOB_KEY_NAME_MAX];
		const char *const argv[] = { "EXISTS", key };

		if (name == NULL || strcmp(name, w->name) == 0 || strlen(name) >= sizeof(c->consumer) ||
		    field_number(consumer, "pending") != 0 || field_number(consumer, "idle") < FORGET_IDLE_MS)
			continue;
		c = call_new(w, m);
		if (c == NULL)
			return;
		snprintf(c->consumer, sizeof(c->consumer), "%s", name);
		job_worker_key(key, w->installation, name);
		asked++;
		if (redis_link_send(w->commands, 2, argv, NULL, REDIS_LINK_DEADLINE_MS, on_exists, c) != 0)
			call_free(c);
	}
}

static void look_at_consumers(struct worker *w, struct mig *m)
{
	const char *const argv[] = { "XINFO", "CONSUMERS", m->keys.jobs, JOB_GROUP };
	struct call *c = call_new(w, m);

	m->consumers_ms = worker_now();
	if (c != NULL && redis_link_send(w->commands, ARRAY_SIZE(argv), argv, NULL, REDIS_LINK_DEADLINE_MS, on_consumers, c) != 0)
		call_free(c);
}

static void on_promote_timer(void *arg)
{
	struct worker *w = arg;
	struct mig *m;

	loop_timer_start(w->promote_timer, WORKER_PROMOTE_MS);
	if (!w->named || w->draining || !redis_link_up(w->commands))
		return;
	DL_FOREACH(w->migs, m) {
		const char *const argv[] = { m->keys.jobs, m->keys.delayed, PROMOTE_MOST };
		struct call *c;

		if (!worker_may_run(w, m) || m->promoting)
			continue;
		c = call_new(w, m);
		m->promoting = c != NULL &&
			       queue_call(w->commands, &queue_promote, 2, 3, argv, NULL, REDIS_LINK_DEADLINE_MS, on_promoted, c) == 0;
		if (c != NULL && !m->promoting)
			call_free(c);
		redis_link_pass(w->commands, FAILPOINT_worker_promote_sent);
		if (worker_now() - m->consumers_ms >= FORGET_MS)
			look_at_consumers(w, m);
	}
}

void reclaim_start(struct worker *w)
{
	w->reclaim_timer = loop_timer_new(&w->loop, on_reclaim_timer, w);
	w->promote_timer = loop_timer_new(&w->loop, on_promote_timer, w);
	if (w->reclaim_timer == NULL || w->promote_timer == NULL)
		return;
	loop_timer_start(w->reclaim_timer, 500);
	loop_timer_start(w->promote_timer, 500);
}
