#include "worker/mig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "core/buf.h"

#define LIST_SLICES_MAX 40
#define PIECES_LEAST 5      /* fewer are no more than a transaction without pauses may take */
#define PIECE_LEAST_ROWS 20 /* with fewer, what each piece costs is more than what it does */

struct mig *mig_new(int32_t id, const char *name, const char *installation)
{
	struct mig *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->id = id;
	snprintf(m->id_text, sizeof(m->id_text), "%" PRId32, id);
	snprintf(m->name, sizeof(m->name), "%s", name);
	job_keys_make(&m->keys, installation, id);
	snprintf(m->cursor, sizeof(m->cursor), "0-0");
	settings_defaults(&m->settings);
	m->stale = true;
	m->delayed_left = UINT64_MAX;
	return m;
}

static void unload(struct mig *m)
{
	plan_unref(m->plan);
	m->plan = NULL;
	free(m->set_sql);
	free(m->set_params);
	json_decref(m->set_root);
	m->set_sql = NULL;
	m->set_params = NULL;
	m->set_root = NULL;
	m->set_n = 0;
}

void mig_free(struct mig *m)
{
	struct job_run *r, *next_run;
	struct entry *e, *next;

	if (m == NULL)
		return;
	DL_FOREACH_SAFE(m->runs, r, next_run)
		job_run_free(r);
	DL_FOREACH_SAFE2(m->held, e, next, held_next)
	free(e);
	unload(m);
	free(m->settings_text);
	free(m->left);
	free(m);
}

/* ------------------------------------------------------------ plan and settings */

/* Names that are set for every transaction, beside what was captured. "": the value is found elsewhere. */
static const char *const ours[] = { "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "row_security",
				    "application_name" };

static bool is_ours(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (strcmp(ours[i], name) == 0)
			return true;
	return false;
}

/* One SELECT of set_config() for all of them. */
static int make_set(struct mig *m, const char *settings, struct err *err)
{
	const char *values[] = { m->lock_timeout, m->query_timeout, "10000", "off", NULL };
	struct buf sql = BUF_INIT(64 * 1024);
	const char *name;
	json_error_t why;
	json_t *value;

	m->set_root = json_loads(settings, 0, &why);
	if (!json_is_object(m->set_root))
		return err_set(err, ST_INPUT, "the captured settings are not a JSON object");
	m->set_params = calloc(2 * (json_object_size(m->set_root) + ARRAY_SIZE(ours)), sizeof(*m->set_params));
	if (m->set_params == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	json_object_foreach(m->set_root, name, value) {
		if (is_ours(name) || !json_is_string(value))
			continue;
		m->set_params[m->set_n++] = name;
		m->set_params[m->set_n++] = json_string_value(value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		m->set_params[m->set_n++] = ours[i];
		m->set_params[m->set_n++] = values[i];
	}
	buf_puts(&sql, "SELECT ");
	for (unsigned i = 1; i < m->set_n; i += 2)
		buf_printf(&sql, "%spg_catalog.set_config($%u, $%u, true)", i > 1 ? ", " : "", i, i + 1);
	m->set_sql = buf_detach(&sql);
	return m->set_sql != NULL ? 0 : err_set(err, ST_NOMEM, "out of memory");
}

int mig_load(struct mig *m, int32_t revision, bool ledger_only, const char *plan, const char *settings, struct err *err)
{
	int rc;

	unload(m);
	rc = plan_read(&m->plan, plan, err);
	if (rc == 0)
		rc = make_set(m, settings, err);
	if (rc != 0) {
		unload(m);
		return rc;
	}
	m->revision = revision;
	snprintf(m->revision_text, sizeof(m->revision_text), "%" PRId32, revision);
	m->ledger_only = ledger_only;
	m->stale = false;
	return 0;
}

int mig_configure(struct mig *m, const struct settings *defaults, const char *text, struct err *err)
{
	struct settings s = *defaults;
	char *copy;
	int rc;

	if (m->settings_text != NULL && strcmp(m->settings_text, text) == 0)
		return 0;
	copy = strdup(text);
	if (copy == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	free(m->settings_text);
	m->settings_text = copy;
	rc = settings_apply(&s, text, err);
	if (rc == 0) {
		m->settings = s;
		m->configured = true;
		m->throttle.guess = true; /* by these limits: the next look tells */
	}
	snprintf(m->lock_timeout, sizeof(m->lock_timeout), "%" PRIu64, m->settings.lock_timeout_ms);
	snprintf(m->query_timeout, sizeof(m->query_timeout), "%" PRIu64, m->settings.query_timeout_ms);
	return rc;
}

uint64_t mig_batch_size(const struct mig *m)
{
	if (settings_given(&m->settings, SETTING_BATCH_SIZE) || m->default_batch_size == 0)
		return m->settings.batch_size;
	return m->default_batch_size;
}

const struct throttle_response *mig_response(const struct mig *m)
{
	return throttle_response(m->settings.throttle ? m->rung : 0);
}

/* Rows that take target_ms, or @most_ms if that is less (0: no less); a size that somebody has set is left alone. */
static uint64_t paced_rows(const struct mig *m, double most_ms)
{
	double target = (double)m->settings.target_ms;

	if (settings_given(&m->settings, SETTING_BATCH_SIZE))
		return mig_batch_size(m);
	return pace_rows(&m->pace, most_ms > 0 && most_ms < target ? most_ms : target);
}

uint64_t mig_group_rows(const struct mig *m)
{
	uint64_t size = mig_batch_size(m), rows = paced_rows(m, mig_response(m)->target_ms);

	return rows < size ? rows : size;
}

/* Rows of a transaction that pauses between *@pieces, a multiple of these; 0 rows: it is not to be divided. A server far away makes for long pauses. */
static uint64_t divided_rows(const struct mig *m, unsigned *pieces)
{
	uint64_t n = mig_response(m)->pieces, most = m->settings.target_ms * 1000 / THROTTLE_PIECE_US, rows;
	uint64_t held = THROTTLE_HELD_MS * 1000 / (THROTTLE_PIECE_US + m->pause_us);

	if (m->plan->pieces_range == NULL || settings_given(&m->settings, SETTING_BATCH_SIZE))
		return 0;
	n = n < most ? n : most;
	n = n < held ? n : held;
	rows = paced_rows(m, (double)(n * THROTTLE_PIECE_US) / 1000);
	n = n < rows / PIECE_LEAST_ROWS ? n : rows / PIECE_LEAST_ROWS;
	if (n < PIECES_LEAST)
		return 0;
	*pieces = (unsigned)n;
	return rows / n * n;
}

void mig_note_pauses(struct mig *m, unsigned pieces, uint64_t us)
{
	m->pause_us = pieces > 0 ? (m->pause_us + us / pieces) / 2 : m->pause_us - m->pause_us / 8;
}

/* A batch that takes a little longer than it should is done at once; a list is written anew after each slice, so there are few of those. */
uint64_t mig_slice_rows(const struct mig *m, enum job_kind kind, unsigned *pieces)
{
	uint64_t size = mig_batch_size(m), rows;

	*pieces = 0;
	rows = kind == JOB_BATCH ? divided_rows(m, pieces) : 0;
	if (rows > 0)
		return rows;
	rows = paced_rows(m, mig_response(m)->target_ms);
	if ((kind != JOB_BATCH && kind != JOB_LIST) || rows + rows / 2 >= size)
		return 0;
	return kind == JOB_LIST && rows < size / LIST_SLICES_MAX ? size / LIST_SLICES_MAX : rows;
}

/* ------------------------------------------------------------ jobs held */

void mig_hold(struct mig *m, struct entry *e)
{
	DL_APPEND2(m->held, e, held_prev, held_next);
	m->nheld++;
}

void mig_unhold(struct mig *m, struct entry *e)
{
	DL_DELETE2(m->held, e, held_prev, held_next);
	m->nheld--;
	free(e);
}

void mig_queue(struct mig *m, struct entry *e)
{
	if (e->job.kind == JOB_ROW) {
		DL_APPEND(m->rows, e);
		m->nrows++;
	} else if (e->job.kind == JOB_FAILED) {
		DL_APPEND(m->failed, e);
		m->nfailed++;
	} else {
		DL_APPEND(m->batches, e);
		m->nbatches++;
	}
}

bool mig_has_work(const struct mig *m)
{
	return m->runs != NULL || m->batches != NULL || m->rows != NULL || m->failed != NULL;
}

static bool follows(const struct entry *e, const struct entry *before)
{
	return e->job.kind == JOB_ROW && e->job.number == before->job.number && before->job.position > 0 &&
	       e->job.position - 1 == before->job.position; /* anybody may have written the largest number there is */
}

bool mig_is_run(struct entry *const *entries, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (!follows(entries[i], entries[i - 1]))
			return false;
	return n >= MIG_RUN_LEAST;
}

/* A unit of the first of a queue, as many as @max and the ceiling of bytes allow; of rows, a run of them if there is one. */
static struct job_run *take_from(struct mig *m, struct entry **queue, size_t *count, size_t max)
{
	size_t n = 0, bytes = 0;
	bool run = true; /* all so far follow one another */
	struct entry **entries, *e;
	struct job_run *r;

	if (max > *count)
		max = *count;
	entries = max > 0 ? calloc(max, sizeof(*entries)) : NULL;
	if (entries == NULL)
		return NULL;
	r = job_run_new(m, (*queue)->job.kind, entries, 0);
	if (r == NULL) {
		free(entries);
		return NULL;
	}
	while (n < max && *queue != NULL && (n == 0 || bytes + (*queue)->payload_bytes <= MIG_GROUP_BYTES_MAX)) {
		e = *queue;
		if (run && n > 0 && !follows(e, entries[n - 1])) {
			if (n >= MIG_RUN_LEAST)
				break;
			run = false;
		}
		bytes += e->payload_bytes;
		DL_DELETE(*queue, e);
		entries[n++] = e;
		r->want_mark = r->want_mark || e->taken_over;
	}
	*count -= n;
	r->n = n;
	return r;
}

struct job_run *mig_take(struct mig *m)
{
	size_t group = (size_t)mig_group_rows(m);
	struct job_run *r = m->runs;

	if (r != NULL) {
		DL_DELETE(m->runs, r);
		return r;
	}
	if (m->failed != NULL)
		return take_from(m, &m->failed, &m->nfailed, group);
	if (m->batches != NULL)
		return take_from(m, &m->batches, &m->nbatches, 1);
	return m->rows != NULL ? take_from(m, &m->rows, &m->nrows, group) : NULL;
}

struct job_run *mig_take_any(struct mig *m)
{
	struct job_run *r = m->runs;

	if (r != NULL) {
		DL_DELETE(m->runs, r);
		return r;
	}
	if (m->failed != NULL)
		return take_from(m, &m->failed, &m->nfailed, 1000);
	if (m->batches != NULL)
		return take_from(m, &m->batches, &m->nbatches, 1000);
	return m->rows != NULL ? take_from(m, &m->rows, &m->nrows, 1000) : NULL;
}

/* ------------------------------------------------------------ runs that wait */

static struct job_run *run_of(struct mig *m, struct entry *const *from, size_t n)
{
	struct entry **entries = calloc(n, sizeof(*entries));
	struct job_run *r = entries != NULL ? job_run_new(m, from[0]->job.kind, entries, n) : NULL;

	if (r == NULL) {
		free(entries);
		return NULL;
	}
	memcpy(entries, from, n * sizeof(*entries));
	return r;
}

/* The more often it was delivered, the fewer at once: what kills its workers is found, and the others go through. */
static size_t group_for(const struct mig *m, const struct entry *e)
{
	size_t n = e->job.kind == JOB_BATCH || e->job.kind == JOB_LIST ? 1 : (size_t)mig_batch_size(m);

	for (unsigned d = 2; d < e->deliveries && n > 1; d++)
		n /= POLICY_SPLIT_WAYS;
	return n > 0 ? n : 1;
}

int mig_queue_taken_over(struct mig *m, struct entry **entries, size_t n)
{
	for (size_t i = 0, k; i < n; i = k) {
		size_t group = group_for(m, entries[i]), bytes = 0;
		struct job_run *r;

		for (k = i; k < n && k - i < group && entries[k]->job.kind == entries[i]->job.kind &&
			    entries[k]->deliveries == entries[i]->deliveries && (k == i || bytes < MIG_GROUP_BYTES_MAX);
		     k++)
			bytes += entries[k]->payload_bytes;
		r = run_of(m, entries + i, k - i);
		if (r == NULL)
			return ST_NOMEM;
		r->want_mark = true;
		r->alone = entries[i]->deliveries > 6;
		DL_APPEND(m->runs, r);
	}
	return 0;
}

void mig_divide(struct mig *m, struct job_run *r)
{
	size_t parts = r->n < POLICY_SPLIT_WAYS ? r->n : POLICY_SPLIT_WAYS;

	for (size_t p = parts; p > 0; p--) {
		size_t from = r->n * (p - 1) / parts, to = r->n * p / parts;
		struct job_run *part = run_of(m, r->entries + from, to - from);

		if (part == NULL) {
			for (size_t i = from; i < to; i++)
				mig_unhold(m, r->entries[i]);
			continue;
		}
		part->losses = r->losses;
		part->conflicts = r->conflicts > 0 ? POLICY_CONFLICTS_SPLIT - 1 : 0;
		part->alone = r->alone;
		part->want_mark = r->want_mark;
		part->probe = r->probe;
		DL_PREPEND(m->runs, part);
	}
	r->n = 0;
}
