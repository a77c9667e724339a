/*
 * settle.c - what is said to Redis about jobs: done, later, back.
 *
 * An acknowledgement comes after a commit and needs no fence: the job is done whoever holds it by now. Its entry has to be deleted, too,
 * since an acknowledged entry is not freed by itself: everything before the oldest entry that is pending is trimmed at once. Entries behind one
 * that takes its time are remembered here, and deleted one by one when they become too many. What goes back is fenced: another may have it already.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "job/codec.h"
#include "worker/worker_private.h"

#define LEFT_MAX 4000 /* entries that are acknowledged and left for a later trim */
#define LEAVE_MS "5000"
#define LEFT_BYTES_MAX 1024 /* of a payload, on average: larger ones are not left */

/* ------------------------------------------------------------ arguments */

struct args {
	const char **v;
	size_t *lens;
	size_t n;
	char (*ids)[ENTRY_ID_MAX]; /* texts of entries */
};

static void args_free(struct args *a)
{
	free(a->v);
	free(a->lens);
	free(a->ids);
}

/* Room for @max arguments, of these @nids entries. */
static bool args_init(struct args *a, size_t max, size_t nids)
{
	memset(a, 0, sizeof(*a));
	a->v = malloc(max * sizeof(*a->v));
	a->lens = malloc(max * sizeof(*a->lens));
	a->ids = malloc((nids + 1) * sizeof(*a->ids));
	if (a->v == NULL || a->lens == NULL || a->ids == NULL) {
		args_free(a);
		return false;
	}
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

static void add_id(struct args *a, size_t i, struct entry_id id)
{
	add_n(a, a->ids[i], entry_id_print(id, a->ids[i]));
}

/* ------------------------------------------------------------ what is asked of Redis */

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
	struct worker *worker;
	struct job_run *run;
	enum settle_kind kind;
	bool acked; /* by a command before the script, which only trims */
	settle_fn cb;
	void *arg;
};

/* ------------------------------------------------------------ what is left in the stream */

/* So many that they cannot keep the producer waiting, all workers' together. */
static size_t left_most(const struct mig *m)
{
	uint64_t alive = m->alive > 0 ? m->alive : 1, most = m->settings.max_backlog / (4 * alive);

	return most < LEFT_MAX ? (size_t)most : LEFT_MAX;
}

static void delete_left(struct worker *w, struct mig *m)
{
	struct args a;

	if (!args_init(&a, m->nleft + 2, m->nleft))
		return; /* with the next ones */
	add(&a, "XDEL");
	add(&a, m->keys.jobs);
	for (size_t i = 0; i < m->nleft; i++)
		add_id(&a, i, m->left[i]);
	if (redis_link_send(w->commands, a.n, a.v, a.lens, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL) == 0)
		m->nleft = 0;
	args_free(&a);
}

/* The run's entries are acknowledged. Those before @oldest are gone, and so are all that were left before it; none if nothing is pending. */
static void keep_left(struct worker *w, const struct job_run *r, const char *oldest, size_t len)
{
	struct mig *m = r->mig;
	struct entry_id id;
	struct entry_id *left;
	size_t n = 0, bytes = 0;

	if (!entry_id_parse(oldest, len, &id)) {
		m->nleft = 0;
		return;
	}
	for (size_t i = 0; i < m->nleft; i++)
		if (entry_id_compare(m->left[i], id) > 0)
			m->left[n++] = m->left[i];
	m->nleft = n;
	left = realloc(m->left, (n + r->n) * sizeof(*left));
	if (left == NULL)
		return; /* trimmed when what is pending is gone */
	m->left = left;
	for (size_t i = 0; i < r->n; i++) {
		bytes += r->entries[i]->payload_bytes;
		if (entry_id_compare(r->entries[i]->id, id) > 0)
			m->left[m->nleft++] = r->entries[i]->id;
	}
	if (m->nleft > left_most(m) || (m->nleft > 0 && bytes > r->n * LEFT_BYTES_MAX))
		delete_left(w, m);
}

/* ------------------------------------------------------------ the kinds */

static int encode(struct buf *out, enum job_kind kind, int64_t number)
{
	const struct job job = { .kind = kind, .number = number };

	return job_encode(&job, out);
}

static void on_answer(void *arg, int status, const redisReply *reply);

/*
 * All entries go; what they leave behind goes in with that: the parts of a split batch, the next attempt at a row, or a part that has no
 * entry yet.
 */
static int send_settled(struct worker *w, struct job_run *r, enum settle_kind kind, struct pending *p)
{
	struct buf payloads = BUF_INIT(4096);
	size_t from[TX_PARTS_MAX + 1] = { 0 };
	unsigned n = kind == SETTLE_ACK ? 0 : kind == SETTLE_PARTS ? r->nparts : 1;
	char entries[24], count[12], delay[24];
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
	if (rc != 0 || !args_init(&a, 8 + r->n + 2 * n, r->n)) {
		buf_free(&payloads);
		return ST_NOMEM;
	}
	snprintf(entries, sizeof(entries), "%zu", r->n);
	snprintf(count, sizeof(count), "%u", kind == SETTLE_PARTS || kind == SETTLE_BACK ? n : 0);
	snprintf(delay, sizeof(delay), "%" PRIu64, r->delay_ms);
	add(&a, r->mig->keys.jobs);
	add(&a, r->mig->keys.delayed);
	add(&a, JOB_GROUP);
	add(&a, entries);
	for (size_t i = 0; i < r->n; i++)
		add_id(&a, i, r->entries[i]->id);
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

/*
 * Entries that leave nothing behind are acknowledged by a command of their own, which costs Redis half of what a script takes for it, and the script
 * trims. Between the two they are as entries behind one that is pending: acknowledged, and there until somebody trims.
 */
static int send_acked(struct worker *w, struct job_run *r, struct pending *p)
{
	const char *const trim[] = { r->mig->keys.jobs, r->mig->keys.delayed, JOB_GROUP, "0", "0" };
	struct args a;
	int rc;

	if (!args_init(&a, 3 + r->n, r->n))
		return ST_NOMEM;
	add(&a, "XACK");
	add(&a, r->mig->keys.jobs);
	add(&a, JOB_GROUP);
	for (size_t i = 0; i < r->n; i++)
		add_id(&a, i, r->entries[i]->id);
	rc = redis_link_send(w->commands, a.n, a.v, a.lens, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL);
	args_free(&a);
	p->acked = true;
	if (rc == 0)
		rc = queue_call(w->commands, &queue_settle, 2, ARRAY_SIZE(trim), trim, NULL, REDIS_LINK_DEADLINE_MS, on_answer, p);
	return rc;
}

static int send_back(struct worker *w, struct job_run *r, enum settle_kind kind, struct pending *p)
{
	char delay[24] = "";
	struct args a;
	int rc;

	if (!args_init(&a, 5 + 2 * r->n, r->n))
		return ST_NOMEM;
	if (kind == SETTLE_DELAY)
		snprintf(delay, sizeof(delay), "%" PRIu64, r->delay_ms);
	add(&a, r->mig->keys.jobs);
	add(&a, r->mig->keys.delayed);
	add(&a, JOB_GROUP);
	add(&a, w->name);
	add(&a, delay);
	for (size_t i = 0; i < r->n; i++) {
		add_id(&a, i, r->entries[i]->id);
		add_n(&a, r->entries[i]->payload, r->entries[i]->payload_bytes);
	}
	rc = queue_call(w->commands, &queue_give_back, 2, a.n, a.v, a.lens, REDIS_LINK_DEADLINE_MS, on_answer, p);
	args_free(&a);
	return rc;
}

static void on_answer(void *arg, int status, const redisReply *reply)
{
	struct pending *p = arg;

	if (status == 0 && reply->type == REDIS_REPLY_NIL && p->acked) {
		p->acked = false; /* there is no group: its entries have to be named to be deleted */
		status = send_settled(p->worker, p->run, p->kind, p);
		if (status == 0)
			return;
	}
	if (status == 0)
		FAILPOINT_AT(points[p->kind].answered);
	if (status == 0 && reply->type == REDIS_REPLY_STRING)
		keep_left(p->worker, p->run, reply->str, reply->len);
	else if (status == 0 && reply->type == REDIS_REPLY_NIL)
		p->run->mig->nleft = 0;
	p->cb(p->arg, status);
	free(p);
}

int settle_send(struct worker *w, struct job_run *r, enum settle_kind kind, settle_fn cb, void *arg)
{
	struct pending *p = malloc(sizeof(*p));
	int rc;

	if (p == NULL)
		return ST_NOMEM;
	*p = (struct pending){ .worker = w, .run = r, .kind = kind, .cb = cb, .arg = arg };
	FAILPOINT_AT(points[kind].before);
	if (kind == SETTLE_ACK)
		rc = send_acked(w, r, p);
	else if (kind == SETTLE_PARTS || kind == SETTLE_RETRY || r->loose)
		rc = send_settled(w, r, kind, p);
	else
		rc = send_back(w, r, kind, p);
	if (rc != 0) {
		free(p);
		return rc;
	}
	for (size_t i = 0; i < r->n; i++)
		r->entries[i]->settling = true;
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

static bool is_over(const struct mig *m)
{
	return m->state == MIG_CANCELLED || m->state == MIG_OVER;
}

void settle_give_back(struct worker *w, struct mig *m)
{
	enum settle_kind kind = is_over(m) ? SETTLE_ACK : SETTLE_BACK;
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

/* As it is, for a worker that understands it; after a while, or it would be read here again and again. */
static void leave(struct worker *w, struct mig *m, const struct entry *e, const char *why)
{
	struct args a;

	if (!m->newer_said)
		log_warn("job.newer", "migration=%s cause='%s' hint='left to newer workers; use the newer drover-worker'", m->name, why);
	m->newer_said = true;
	if (args_init(&a, 7, 1)) {
		add(&a, m->keys.jobs);
		add(&a, m->keys.delayed);
		add(&a, JOB_GROUP);
		add(&a, w->name);
		add(&a, LEAVE_MS);
		add_id(&a, 0, e->id);
		add_n(&a, e->payload, e->payload_bytes);
		/* If Redis does not hear it, it is pending here, is not renewed, and goes to another with the end of its lease. */
		if (queue_call(w->commands, &queue_give_back, 2, a.n, a.v, a.lens, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL) != 0)
			log_debug("job.newer_kept", "migration=%s", m->name);
		args_free(&a);
	}
	m->delayed_left = UINT64_MAX;
}

static void drop(struct worker *w, struct mig *m, struct entry_id id, const char *why)
{
	char text[ENTRY_ID_MAX];
	const char *const argv[] = { m->keys.jobs, m->keys.delayed, JOB_GROUP, "1", text, "0" };
	const char *const del[] = { "XDEL", m->keys.jobs, text };
	uint64_t now = worker_now();

	entry_id_print(id, text);
	m->foreign++;
	w->counts.foreign++;
	if (m->foreign_said_ms == 0 || now - m->foreign_said_ms >= 60000) {
		m->foreign_said_ms = now;
		log_warn("job.foreign", "migration=%s entry=%s count=%" PRIu64 " cause=%s", m->name, text, m->foreign, why);
	}
	/* In this order: an entry that is in the stream, was delivered and is nobody's would be taken for a lost one. */
	if (redis_link_send(w->commands, ARRAY_SIZE(del), del, NULL, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL) != 0 ||
	    queue_call(w->commands, &queue_settle, 2, ARRAY_SIZE(argv), argv, NULL, REDIS_LINK_DEADLINE_MS, redis_reply_ignore, NULL) != 0)
		log_debug("job.foreign_kept", "entry=%s", text); /* dropped when it is read or taken over again */
}

bool settle_unknown(struct worker *w, struct mig *m, struct entry *e, struct entry_id id, const char *why, size_t *left)
{
	if (e != NULL && !e->newer)
		return false;
	/* What is still due of a migration that is over, the ledger knows. */
	if (e == NULL || is_over(m)) {
		drop(w, m, id, why);
	} else {
		leave(w, m, e, why);
		if (left != NULL)
			*left += 1;
	}
	free(e);
	return true;
}
