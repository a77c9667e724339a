/*
 * table.c - see table.h. Each scenario is explored with one worker and one death. Wherever somebody dies, what is in the ledger and in
 * Redis is written down; then the world goes on calmly, with another worker, until the job is settled, and tells how.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "explore.h"

#define TEXT_MAX 400
#define LINES_MAX 64
#define CALM_STEPS 200
#define BEGIN_MARK "<!-- crash table: sim_every_order --table -->\n"
#define END_MARK "<!-- end of the crash table -->\n"

enum who { PRODUCER, RETRY, REDIS, BATCH, ROW_JOB, REPLAY, WHOS };

static const char *const who_names[WHOS] = {
	[PRODUCER] = "producer",   [RETRY] = "`drover retry`",    [REDIS] = "Redis",
	[BATCH] = "worker, batch", [ROW_JOB] = "worker, row job", [REPLAY] = "worker, replay or next attempt",
};

/* In the order of a job's life. */
enum where {
	COMMITTED, /* the producer's */
	EMPTIED,
	SAVED,
	FETCHED,
	MARKED,
	IN_WORK,
	SENT,
	DONE,
	FAILED,
	NOTED,
	SPLITTING,
	SPLIT,
	PARTS,
	DESCENDS,
	BURYING,
	BURIED,
	RETRYING,
	RETRIED,
	UNDELAYED,
	PUTTING_OFF,
	WHERES,
};

static const char *const where_names[WHERES] = {
	[COMMITTED] = "after its commit, before the push",
	[EMPTIED] = "emptied",
	[SAVED] = "back with an old snapshot",
	[FETCHED] = "fetched, not started",
	[MARKED] = "taken over and its start marked, not run yet",
	[IN_WORK] = "in its transaction",
	[SENT] = "`COMMIT` sent; it went through, unheard",
	[DONE] = "after the commit, before the acknowledgement",
	[FAILED] = "a row failed, which is not noted yet",
	[NOTED] = "a failure noted, nothing done about it yet",
	[SPLITTING] = "before a split's commit",
	[SPLIT] = "a split's `COMMIT` sent; it went through",
	[PARTS] = "after a split, before its parts were pushed",
	[DESCENDS] = "after a split, going on with its first part",
	[BURYING] = "before a dead letter's commit",
	[BURIED] = "a dead letter's `COMMIT` sent; it went through",
	[RETRYING] = "before a next attempt is written down",
	[RETRIED] = "a next attempt's `COMMIT` sent; it went through",
	[UNDELAYED] = "a next attempt written down, not put off yet",
	[PUTTING_OFF] = "to be put off, which Redis did not hear",
};

struct line {
	unsigned scenario;
	enum who who;
	enum where where;
	char ledger[TEXT_MAX], redis[TEXT_MAX], then[TEXT_MAX];
};

struct table {
	struct observer observer;
	unsigned scenario;
	struct line lines[LINES_MAX];
	unsigned n;
};

struct story {
	struct listener listener;
	struct chooser chooser;
	char text[TEXT_MAX];
	const char *last;
};

static void add(char text[TEXT_MAX], const char *more, const char *between)
{
	size_t n = strlen(text);

	snprintf(text + n, TEXT_MAX - n, "%s%s", n > 0 ? between : "", more);
}

static void tell_story(struct listener *l, const char *what)
{
	struct story *s = container_of(l, struct story, listener);

	if (s->last == NULL || strcmp(s->last, what) != 0)
		add(s->text, what, "; ");
	s->last = what;
}

static unsigned choose_first(struct chooser *c, unsigned n, const char *what, bool fault)
{
	(void)c;
	(void)n;
	(void)what;
	(void)fault;
	return 0;
}

/* ------------------------------------------------------------ where */

/* What a dead worker was about to do, and whether it came to that; WHERES: the same as somewhere else. */
static enum where where_worker(const struct slot *s, bool goes_on)
{
	const struct job_run *r = s->run;
	bool begun = s->req.asked == BEGUN_TX;

	if (s->req.asked != ASKED_SETTLE && s->req.asked != ASKED_TX && !begun)
		return WHERES;
	if (r->loose)
		return r->state == JOB_RUNNING && !begun && !goes_on ? DESCENDS : WHERES;
	switch (r->state) {
	case JOB_MARKING:
		return goes_on ? MARKED : WHERES;
	case JOB_RUNNING:
		return goes_on ? SENT : begun ? IN_WORK : FETCHED;
	case JOB_NOTING:
		return goes_on ? NOTED : FAILED;
	case JOB_SPLITTING:
		return goes_on ? SPLIT : SPLITTING;
	case JOB_BURYING:
		return goes_on ? BURIED : BURYING;
	case JOB_RETRYING:
		return goes_on ? RETRIED : RETRYING;
	case JOB_ACKING: /* acknowledged all the same: it is over */
		return goes_on ? WHERES : r->settle == SETTLE_PARTS ? PARTS : r->settle == SETTLE_RETRY ? UNDELAYED : DONE;
	case JOB_DELAYING:
		return goes_on ? WHERES : PUTTING_OFF;
	default:
		return WHERES;
	}
}

/* ------------------------------------------------------------ what is there */

static void count(char text[TEXT_MAX], unsigned n, const char *what)
{
	if (n > 0 && strstr(text, what) == NULL)
		add(text, what, ", ");
}

static void describe_ledger(const struct world *w, char text[TEXT_MAX])
{
	static const char *const batches[] = { "batch `queued`", "batch `split`", "batch `done`", NULL, NULL };
	static const char *const failed[] = { "dead letter `retrying`", "dead letter `queued`", "dead letter `dead`", "dead letter `done`",
					      "dead letter `not pending`" };
	unsigned parts = 0, changed = 0, rows = 0;

	for (unsigned i = 1; i <= w->nbatches; i++) {
		if (i == 1 || !w->setup.poison)
			count(text, batches[w->batches[i].state] != NULL, batches[w->batches[i].state]);
		else
			parts += w->batches[i].state == BATCH_QUEUED;
	}
	count(text, parts, "its parts `queued`");
	for (unsigned i = 0; i < w->setup.rows; i++) {
		changed += w->rows[i].changed > 0;
		rows += w->rows[i].window > 0 || w->setup.replay;
	}
	count(text, w->setup.row_mode && changed == 0 && w->nfailed == 0 && rows > 0, "rows as they were");
	count(text, w->setup.row_mode && changed > 0, w->setup.ledger_only ? "rows changed, with receipts" : "rows changed");
	for (unsigned i = 1; i <= w->nfailed; i++)
		count(text, 1, failed[w->failed[i].state]);
	count(text, rows == 0, "nothing of the window");
}

static void describe_redis(const struct world *w, char text[TEXT_MAX])
{
	for (unsigned i = 0; i < w->redis.nstream; i++)
		count(text, 1,
		      w->redis.stream[i].owner == GONE ? "pending for the dead worker" :
		      w->redis.stream[i].owner < 0     ? "in the stream, not read yet" :
							 "pending for a worker that forgot it");
	count(text, w->redis.ndelayed, "in the delayed set");
	if (text[0] == '\0')
		add(text, "nothing of it", "");
}

/* ------------------------------------------------------------ what then happens */

/* Nothing left of the death: all that is to be done is in Redis, for whoever is there, or done. */
static bool is_mended(const struct world *w)
{
	struct queued job;
	unsigned at = 0;

	for (unsigned i = 0; i < w->redis.nstream; i++)
		if (w->redis.stream[i].owner >= 0)
			return false;
	for (unsigned i = 0; i < w->nslots; i++)
		if (w->slots[i].run != NULL)
			return false;
	return w->norphans == 0 && w->push_from == w->push_to && !missing(w, &at, &job);
}

/* The likeliest of the steps: who is at work goes on, then what is left is taken over, and at last the audit comes. */
static bool calm_step(struct world *w)
{
	static const uint8_t order[] = { STEP_CLAIM,     STEP_COMMIT, STEP_SETTLE, STEP_TIME, STEP_ALONE, STEP_START,
					 STEP_TAKE_OVER, STEP_AUDIT,  STEP_FETCH,  STEP_DUE,  STEP_FIND,  STEP_CLOSE };
	struct step all[STEPS_MAX];
	unsigned n = world_steps(w, all);

	for (size_t k = 0; k < sizeof(order); k++)
		for (unsigned i = 0; i < n; i++)
			if (all[i].kind == order[k]) {
				world_do(w, all[i]);
				return true;
			}
	return false;
}

/* How far from the plain case. A worker may die over what another has done; that says the less about it. */
static size_t oddity(const struct line *l)
{
	bool is_done = strstr(l->ledger, "done") != NULL, may_be = l->where == SAVED;

	return strlen(l->ledger) + strlen(l->redis) + strlen(l->then) + (is_done == may_be ? 0 : TEXT_MAX);
}

/* The same point is reached in many ways: the first scenario is the one for it, and the plainest way there. */
static void add_line(struct table *t, const struct line *l)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct line *have = &t->lines[i];

		if (have->who != l->who || have->where != l->where)
			continue;
		if (have->scenario == l->scenario && oddity(l) < oddity(have))
			*have = *l;
		return;
	}
	if (t->n < LINES_MAX)
		t->lines[t->n++] = *l;
}

/* After a death: as it left the world, or with what it had asked for done all the same. */
static void follow(struct table *t, const struct world *dead, enum who who, enum where where, bool goes_on)
{
	struct story story = { .listener = { tell_story }, .chooser = { choose_first } };
	struct line l = { .scenario = t->scenario, .who = who, .where = where };
	struct world *w = world_copy(dead);

	w->chooser = &story.chooser;
	while (w->norphans > 0)
		world_do(w, (struct step){ goes_on ? STEP_ORPHAN_GOES : STEP_ORPHAN_DIES, 0 });
	describe_ledger(w, l.ledger);
	describe_redis(w, l.redis);
	w->listener = &story.listener;
	for (unsigned i = 0; i < CALM_STEPS && !is_mended(w) && calm_step(w);)
		i++;
	add(l.then, story.text, "");
	if (l.then[0] != '\0')
		add_line(t, &l);
	world_free(w);
}

static void on_step(struct observer *o, const struct world *before, struct step s, const struct world *after)
{
	struct table *t = container_of(o, struct table, observer);
	const struct job_run *r = before->slots[0].run;

	if (s.kind == STEP_PRODUCER_DIES)
		follow(t, after, before->setup.replay ? RETRY : PRODUCER, COMMITTED, false);
	else if (s.kind == STEP_FLUSH && r == NULL)
		follow(t, after, REDIS, EMPTIED, false);
	else if (s.kind == STEP_RESTORE && r == NULL)
		follow(t, after, REDIS, SAVED, false);
	else if (s.kind == STEP_CRASH && before->norphans == 0)
		for (int goes_on = 0; goes_on < 2; goes_on++) {
			enum where where = where_worker(&before->slots[0], goes_on != 0);

			if (where != WHERES)
				follow(t, after, r->kind == JOB_BATCH ? BATCH : r->kind == JOB_ROW ? ROW_JOB : REPLAY, where, goes_on != 0);
		}
}

static int compare_lines(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->who != y->who ? (int)x->who - (int)y->who : (int)x->where - (int)y->where;
}

static struct table *draw(void)
{
	static const struct setup scenarios[] = {
		{ .ledger_only = true, .producer = true, .left = { [FAULT_PRODUCER] = 1 } },
		{ .ledger_only = true, .rows = 1, .replay = true, .left = { [FAULT_PRODUCER] = 1 } },
		{ .ledger_only = true, .rows = 1, .left = { [FAULT_FLUSH] = 1 } },
		{ .ledger_only = true, .rows = 1, .left = { [FAULT_SAVED] = 1 } },
		{ .ledger_only = true, .rows = 1, .left = { [FAULT_CRASH] = 1 } },
		{ .ledger_only = true, .rows = 1, .left = { [FAULT_CRASH] = 2 } },
		{ .ledger_only = true, .rows = 1, .poison = 1, .left = { [FAULT_CRASH] = 1 } },
		{ .ledger_only = true, .rows = 1, .locked = 1, .left = { [FAULT_CRASH] = 1 } },
		{ .ledger_only = true, .poison = 2, .left = { [FAULT_CRASH] = 1 } },
		{ .row_mode = true, .ledger_only = true, .rows = 1, .left = { [FAULT_CRASH] = 1 } },
		{ .row_mode = true, .ledger_only = true, .rows = 1, .poison = 1, .left = { [FAULT_CRASH] = 1 } },
		{ .ledger_only = true, .rows = 1, .replay = true, .left = { [FAULT_CRASH] = 1 } },
		{ .ledger_only = true, .rows = 1, .replay = true, .poison = 1, .left = { [FAULT_CRASH] = 1 } },
		{ .row_mode = true, .ledger_only = true, .rows = 1, .locked = 1, .left = { [FAULT_CRASH] = 1 } },
	};
	struct table *t = calloc(1, sizeof(*t));
	struct report *r = calloc(1, sizeof(*r));

	if (t == NULL || r == NULL)
		abort();
	t->observer.step = on_step;
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
		struct setup s = scenarios[i];

		s.workers = 1;
		t->scenario = (unsigned)i;
		explore(&s, 1000000, &t->observer, r);
	}
	free(r);
	qsort(t->lines, t->n, sizeof(*t->lines), compare_lines);
	return t;
}

void table_print(FILE *out)
{
	struct table *t = draw();

	fputs(BEGIN_MARK "| who | died here | in the ledger | in Redis | what then happens |\n| --- | --- | --- | --- | --- |\n", out);
	for (unsigned i = 0; i < t->n; i++) {
		const struct line *l = &t->lines[i];

		fprintf(out, "| %s | %s | %s | %s | %s |\n", who_names[l->who], where_names[l->where], l->ledger, l->redis, l->then);
	}
	fputs(END_MARK, out);
	free(t);
}

bool table_is_in(const char *path)
{
	char *made = NULL, *have = NULL;
	size_t n = 0, m = 0;
	FILE *out = open_memstream(&made, &n), *in = fopen(path, "r");
	bool is = false;

	if (out != NULL && in != NULL) {
		table_print(out);
		fflush(out);
		is = getdelim(&have, &m, '\0', in) > 0 && strstr(have, made) != NULL;
	}
	if (out != NULL)
		fclose(out);
	if (in != NULL)
		fclose(in);
	free(made);
	free(have);
	return is;
}
