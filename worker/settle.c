/*
 * settle.c - what is said to Redis about jobs: done, later, back.
 *
 * An acknowledgement comes after a commit and needs no fence: the job is done whoever holds it by now. XACK and XDEL go together,
 * since an acknowledged entry is not freed by itself. What goes back is fenced: another may have it already.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "job/codec.h"
#include "worker/worker_private.h"

/* ------------------------------------------------------------ arguments */

struct args {
	const char **v;
	size_t *lens;
	size_t n;
	char (*ids)[ENTRY_ID_MAX]; /* of the run's entries */
};

static void args_free(struct args *a)
{
	free(a->v);
	free(a->lens);
	free(a->ids);
}

static bool args_init(struct args *a, size_t max, const struct job_run *r)
{
	memset(a, 0, sizeof(*a));
	a->v = calloc(max, sizeof(*a->v));
	a->lens = calloc(max, sizeof(*a->lens));
	a->ids = calloc(r->n > 0 ? r->n : 1, sizeof(*a->ids));
	if (a->v == NULL || a->lens == NULL || a->ids == NULL) {
		args_free(a);
		return false;
	}
	for (size_t i = 0; i < r->n; i++)
		entry_id_print(r->entries[i]->id, a->ids[i]);
	return true;
}

static void add_n(struct args *a, const char *s, size_t n)
{
	a->v[a->n] = s;
	a->lens[a->n++] = n;
}

static void add(struct args *a, const char *s)
{
	add_n(a, s, strlen(s));
}

/* ------------------------------------------------------------ answers */

static const struct {
	enum failpoint before, sent, answered;
} points[SETTLE_NR] = {
	[SETTLE_ACK] = { FAILPOINT_none, FAILPOINT_worker_ack_sent, FAILPOINT_worker_acked },
	[SETTLE_PARTS] = { .sent = FAILPOINT_worker_parts_sent },
	[SETTLE_RETRY] = { .sent = FAILPOINT_worker_retry_pushed },
	[SETTLE_DELAY] = { FAILPOINT_worker_before_delay, FAILPOINT_worker_delay_sent, FAILPOINT_none },
	[SETTLE_BACK] = { FAILPOINT_worker_before_give_back, FAILPOINT_worker_give_back_sent, FAILPOINT_worker_gave_back },
};

struct pending {
	enum settle_kind kind;
	settle_fn cb;
	void *arg;
	unsigned answers; /* still to come */
	int status;       /* the worst so far */
};

static void on_answer(void *arg, int status, const redisReply *reply)
{
	struct pending *p = arg;

	(void)reply;
	if (status != 0 && p->status == 0)
		p->status = status;
	if (--p->answers > 0)
		return;
	if (p->status == 0)
		FAILPOINT_AT(points[p->kind].answered);
	p->cb(p->arg, p->status);
	free(p);
}

static struct pending *pending_new(enum settle_kind kind, settle_fn cb, void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (p != NULL)
		*p = (struct pending){ .kind = kind, .cb = cb, .arg = arg, .answers = kind == SETTLE_ACK ? 4 : 1 };
	return p;
}

/* ------------------------------------------------------------ the kinds */

/* MULTI, XACK, XDEL, EXEC in one write. A link that breaks in between answers all of them. */
static int send_ack(struct worker *w, struct job_run *r, struct pending *p)
{
	static const char *const multi[] = { "MULTI" }, *const exec[] = { "EXEC" };
	struct args a;
	int rc = 0;

	if (!args_init(&a, r->n + 3, r))
		return ST_NOMEM;
	if (!redis_link_up(w->commands)) {
		args_free(&a);
		return ST_DISCONNECTED;
	}
	/* The link is up, so all four are taken; if memory fails in between, the transaction is never executed and the leases run out. */
	rc = redis_link_send(w->commands, 1, multi, NULL, REDIS_LINK_DEADLINE_MS, on_answer, p);
	if (rc == 0) {
		add(&a, "XACK");
		add(&a, r->mig->keys.jobs);
		add(&a, JOB_GROUP);
		for (size_t i = 0; i < r->n; i++)
			add(&a, a.ids[i]);
		if (redis_link_send(w->commands, a.n, a.v, a.lens, REDIS_LINK_DEADLINE_MS, on_answer, p) != 0)
			p->answers--;
		redis_link_pass(w->commands, FAILPOINT_worker_ack_halfway);
		/* XDEL: the same without the group. */
		a.v[1] = "XDEL";
		a.lens[1] = 4;
		a.v[2] = r->mig->keys.jobs;
		a.lens[2] = strlen(r->mig->keys.jobs);
		if (redis_link_send(w->commands, a.n - 1, a.v + 1, a.lens + 1, REDIS_LINK_DEADLINE_MS, on_answer, p) != 0)
			p->answers--;
		if (redis_link_send(w->commands, 1, exec, NULL, REDIS_LINK_DEADLINE_MS, on_answer, p) != 0)
			p->answers--;
	}
	args_free(&a);
	return rc;
}

static int encode(struct buf *out, enum job_kind kind, int64_t number)
{
	const struct job job = { .kind = kind, .number = number };

	return job_encode(&job, out);
}

/* What it leaves behind goes in as it goes out: the parts of a split batch, the next attempt at a row, or a part that has no entry yet. */
static int send_with(struct worker *w, struct job_run *r, enum settle_kind kind, struct pending *p)
{
	struct buf payloads = BUF_INIT(4096);
	size_t from[TX_PARTS_MAX + 1] = { 0 };
	unsigned n = kind == SETTLE_PARTS ? r->nparts : 1;
	char count[12], delay[24];
	struct args a;
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++) {
		if (kind == SETTLE_PARTS)
			rc = encode(&payloads, r->parts[i].listed ? JOB_LIST : JOB_BATCH, r->parts[i].number);
		else if (kind != SETTLE_RETRY)
			rc = encode(&payloads, r->kind, r->entries[0]->job.number);
		else
			rc = encode(&payloads, JOB_FAILED, r->failed_id);
		from[i + 1] = payloads.len;
	}
	if (rc != 0 || !args_init(&a, 8 + 2 * n, r)) {
		buf_free(&payloads);
		return ST_NOMEM;
	}
	snprintf(count, sizeof(count), "%u", kind == SETTLE_PARTS || kind == SETTLE_BACK ? n : 0);
	snprintf(delay, sizeof(delay), "%" PRIu64, r->delay_ms);
	add(&a, r->mig->keys.jobs);
	add(&a, r->mig->keys.delayed);
	add(&a, JOB_GROUP);
	add(&a, a.ids[0]);
	add(&a, count);
	for (unsigned i = 0; i < n; i++) {
		if (kind == SETTLE_RETRY || kind == SETTLE_DELAY)
			add(&a, delay);
		add_n(&a, payloads.data + from[i], from[i + 1] - from[i]);
	}
	rc = queue_call(w->commands, &queue_settle, 2, a.n, a.v, a.lens, REDIS_LINK_DEADLINE_MS, on_answer, p);
	args_free(&a);
	buf_free(&payloads);
	return rc;
}

static int send_back(struct worker *w, struct job_run *r, enum settle_kind kind, struct pending *p)
{
	char delay[24] = "";
	struct args a;
	int rc;

	if (!args_init(&a, 5 + 2 * r->n, r))
		return ST_NOMEM;
	if (kind == SETTLE_DELAY)
		snprintf(delay, sizeof(delay), "%" PRIu64, r->delay_ms);
	add(&a, r->mig->keys.jobs);
	add(&a, r->mig->keys.delayed);
	add(&a, JOB_GROUP);
	add(&a, w->name);
	add(&a, delay);
	for (size_t i = 0; i < r->n; i++) {
		add(&a, a.ids[i]);
		add_n(&a, r->entries[i]->payload, r->entries[i]->payload_bytes);
	}
	rc = queue_call(w->commands, &queue_give_back, 2, a.n, a.v, a.lens, REDIS_LINK_DEADLINE_MS, on_answer, p);
	args_free(&a);
	return rc;
}

int settle_send(struct worker *w, struct job_run *r, enum settle_kind kind, settle_fn cb, void *arg)
{
	struct pending *p = pending_new(kind, cb, arg);
	int rc;

	if (p == NULL)
		return ST_NOMEM;
	FAILPOINT_AT(points[kind].before);
	if (kind == SETTLE_ACK)
		rc = send_ack(w, r, p);
	else if (kind == SETTLE_PARTS || kind == SETTLE_RETRY || r->loose)
		rc = send_with(w, r, kind, p);
	else
		rc = send_back(w, r, kind, p);
	if (rc != 0) {
		free(p);
		return rc;
	}
	/* What --stop-when-empty knows of Redis is out of date now. */
	if (kind == SETTLE_DELAY || kind == SETTLE_RETRY)
		r->mig->delayed_left = UINT64_MAX;
	else if (kind != SETTLE_ACK)
		r->mig->found_empty = false;
	redis_link_pass(w->commands, points[kind].sent); /* last: if the link breaks here, its callback may free the run */
	return 0;
}

/* ------------------------------------------------------------ what was not started */

static void forget(struct job_run *r)
{
	struct mig *m = r->mig;

	for (size_t i = 0; i < r->n; i++)
		mig_unhold(m, r->entries[i]);
	job_run_free(r);
}

struct give_back {
	struct worker *worker;
	struct job_run *run;
};

static void on_given_back(void *arg, int status)
{
	struct give_back *g = arg;
	struct worker *w = g->worker;

	/* If Redis did not hear it, the leases run out: they are not renewed any more. */
	g->run->mig->busy--;
	forget(g->run);
	free(g);
	w->settling--;
	if (status != ST_CLOSING)
		worker_pump(w);
}

void settle_give_back(struct worker *w, struct mig *m)
{
	enum settle_kind kind = m->state == MIG_CANCELLED || m->state == MIG_OVER ? SETTLE_ACK : SETTLE_BACK;
	struct job_run *r;

	while ((r = mig_take_any(m)) != NULL) {
		struct give_back *g = calloc(1, sizeof(*g));

		if (g != NULL)
			*g = (struct give_back){ w, r };
		if (g == NULL || settle_send(w, r, kind, on_given_back, g) != 0) {
			free(g);
			forget(r);
			continue;
		}
		m->busy++;
		w->settling++;
	}
}

/* ------------------------------------------------------------ what is not ours */

static void ignore(void *arg, int status, const redisReply *reply)
{
	(void)arg;
	(void)status;
	(void)reply;
}

void settle_drop_foreign(struct worker *w, struct mig *m, struct entry_id id, const char *why)
{
	char text[ENTRY_ID_MAX];
	const char *const ack[] = { "XACK", m->keys.jobs, JOB_GROUP, text };
	const char *const del[] = { "XDEL", m->keys.jobs, text };
	uint64_t now = worker_now();

	entry_id_print(id, text);
	m->foreign++;
	if (m->foreign_said_ms == 0 || now - m->foreign_said_ms >= 60000) {
		m->foreign_said_ms = now;
		log_warn("job.foreign", "migration=%s entry=%s count=%" PRIu64 " cause=%s", m->name, text, m->foreign, why);
	}
	/* In this order: an entry that is in the stream, was delivered and is nobody's would be taken for a lost one. */
	if (redis_link_send(w->commands, 3, del, NULL, REDIS_LINK_DEADLINE_MS, ignore, NULL) != 0 ||
	    redis_link_send(w->commands, 4, ack, NULL, REDIS_LINK_DEADLINE_MS, ignore, NULL) != 0)
		log_debug("job.foreign_kept", "entry=%s", text); /* dropped when it is read or taken over again */
}
