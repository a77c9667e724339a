#include "job/policy.h"

#include <stddef.h>

#include "core/util.h"

#define IN(phase) (1u << POLICY_##phase)
#define ANY_PHASE (IN(ENTER) | IN(CLAIM) | IN(TRANSFORM) | IN(FINISH) | IN(COMMIT))
#define WORK (IN(TRANSFORM) | IN(COMMIT)) /* where rows are to blame */

typedef bool (*condition_fn)(const struct policy_facts *f);

static bool silent(const struct policy_facts *f)
{
	return f->silent;
}

static bool finished(const struct policy_facts *f)
{
	return f->finished;
}

static bool interrupted(const struct policy_facts *f)
{
	return f->interrupted;
}

static bool interrupted_for_good(const struct policy_facts *f)
{
	return f->interrupted && f->finished;
}

static bool ours(const struct policy_facts *f)
{
	return f->ours;
}

static bool ours_while_others_commit(const struct policy_facts *f)
{
	return f->ours && f->others_commit;
}

/* Nothing else commits: is it the server that is slow? It is asked with the same script over no rows. */
static bool ours_not_probed(const struct policy_facts *f)
{
	return f->ours && f->probe == POLICY_PROBE_NOT_YET;
}

/* Again and again: it is neither the rows nor the hour. */
static bool ours_over_no_rows(const struct policy_facts *f)
{
	return f->ours && f->probe == POLICY_PROBE_RAISED;
}

static bool ours_and_the_server_is_fine(const struct policy_facts *f)
{
	return f->ours && f->probe == POLICY_PROBE_FINE;
}

static bool tired(const struct policy_facts *f)
{
	return f->again >= POLICY_AGAIN_MAX;
}

static bool not_probed(const struct policy_facts *f)
{
	return f->probe == POLICY_PROBE_NOT_YET;
}

static bool probe_raised(const struct policy_facts *f)
{
	return f->probe == POLICY_PROBE_RAISED;
}

/*
 * The first rule that fits decides. What needs the ledger's answer ends in POLICY_NOTE, and goes on in judge_noted().
 * What fits none pauses the migration.
 */
static const struct rule {
	enum pg_class class;
	unsigned phases;
	condition_fn when; /* NULL: always */
	enum policy_act act;
	enum policy_note note;
	const char *why;
} rules[] = {
	{ PG_CLASS_OK, ANY_PHASE, NULL, POLICY_ACK, 0, "done" },

	/* what the claim says */
	{ PG_CLASS_DONE, IN(CLAIM), NULL, POLICY_ACK, 0, "done before" },
	{ PG_CLASS_STOPPED, IN(CLAIM), finished, POLICY_DROP, 0, "its migration is over" },
	{ PG_CLASS_STOPPED, IN(CLAIM), NULL, POLICY_RELEASE, 0, "its migration is not running" },
	{ PG_CLASS_REVISION, IN(CLAIM), tired, POLICY_RELEASE, 0, "its migration was amended" },
	{ PG_CLASS_REVISION, IN(CLAIM), NULL, POLICY_RELOAD, 0, "its migration was amended" },
	{ PG_CLASS_NO_JOB, IN(CLAIM), NULL, POLICY_DROP, 0, "the ledger knows no such job" },
	{ PG_CLASS_UNMARKED, IN(CLAIM), tired, POLICY_RELEASE, 0, "its start cannot be marked" },
	{ PG_CLASS_UNMARKED, IN(CLAIM), NULL, POLICY_MARK, 0, "taken over before" },
	{ PG_CLASS_DIVERGES, IN(FINISH), NULL, POLICY_PAUSE, 0, "it does not converge" },

	{ PG_CLASS_OUTAGE, ANY_PHASE, silent, POLICY_NOTE, POLICY_NOTE_LOSS, "the server crashed" },
	{ PG_CLASS_OUTAGE, ANY_PHASE, NULL, POLICY_WAIT, 0, "the server is away" },

	{ PG_CLASS_CONFLICT, IN(ENTER) | IN(CLAIM), tired, POLICY_DELAY, 0, "cannot be claimed for now" },
	{ PG_CLASS_CONFLICT, IN(ENTER) | IN(CLAIM), NULL, POLICY_UNBLOCK, 0, "the claim cannot lock" },
	{ PG_CLASS_CONFLICT, ANY_PHASE, NULL, POLICY_NOTE, POLICY_NOTE_CONFLICT, "conflict" },

	{ PG_CLASS_CANCELLED, ANY_PHASE, interrupted_for_good, POLICY_DROP, 0, "its migration was cancelled" },
	{ PG_CLASS_CANCELLED, ANY_PHASE, interrupted, POLICY_RELEASE, 0, "interrupted" },
	{ PG_CLASS_CANCELLED, IN(ENTER) | IN(CLAIM), ours, POLICY_DELAY, 0, "the claim took too long" },
	/* A time-out of the role or the database holds until the transaction has set its own. */
	{ PG_CLASS_CANCELLED, IN(ENTER), NULL, POLICY_DELAY, 0, "cancelled before it began" },
	{ PG_CLASS_CANCELLED, ANY_PHASE, ours_while_others_commit, POLICY_NOTE, POLICY_NOTE_TIMEOUT, "time-out" },
	{ PG_CLASS_CANCELLED, WORK, ours_not_probed, POLICY_PROBE, 0, "may be the server" },
	{ PG_CLASS_CANCELLED, WORK, ours_over_no_rows, POLICY_PAUSE, 0, "the script takes too long, over no rows as well" },
	{ PG_CLASS_CANCELLED, ANY_PHASE, ours_and_the_server_is_fine, POLICY_NOTE, POLICY_NOTE_TIMEOUT, "time-out" },
	{ PG_CLASS_CANCELLED, ANY_PHASE, ours, POLICY_NOTE, POLICY_NOTE_WAIT, "time-out" },
	{ PG_CLASS_CANCELLED, ANY_PHASE, NULL, POLICY_PAUSE, 0, "cancelled by someone" },

	{ PG_CLASS_STALE, ANY_PHASE, tired, POLICY_PAUSE, 0, "its statements cannot be prepared" },
	{ PG_CLASS_STALE, ANY_PHASE, NULL, POLICY_AGAIN, 0, "stale plan" },

	{ PG_CLASS_DATA, WORK, NULL, POLICY_NOTE, POLICY_NOTE_RETRY, "bad data" },

	{ PG_CLASS_SUSPECT, WORK, not_probed, POLICY_PROBE, 0, "may be the migration" },
	{ PG_CLASS_SUSPECT, WORK, probe_raised, POLICY_PAUSE, 0, "the migration is wrong" },
	{ PG_CLASS_SUSPECT, WORK, NULL, POLICY_NOTE, POLICY_NOTE_RETRY, "bad data" },

	{ PG_CLASS_WRONG, ANY_PHASE, NULL, POLICY_PAUSE, 0, "the migration is wrong" },
	{ PG_CLASS_DENIED, ANY_PHASE, NULL, POLICY_PAUSE, 0, "a right is missing" },
	{ PG_CLASS_SERVER, ANY_PHASE, NULL, POLICY_PAUSE, 0, "the server is in trouble" },
};

/* Codes of ours count only where our functions raise them: user code may raise any. */
static enum pg_class class_in_phase(const struct policy_facts *f)
{
	switch (f->class) {
	case PG_CLASS_DONE:
	case PG_CLASS_STOPPED:
	case PG_CLASS_REVISION:
	case PG_CLASS_NO_JOB:
	case PG_CLASS_UNMARKED:
		return f->phase == POLICY_CLAIM ? f->class : PG_CLASS_DATA;
	case PG_CLASS_DIVERGES:
		return f->phase == POLICY_FINISH ? f->class : PG_CLASS_DATA;
	default:
		return f->class;
	}
}

static struct policy_verdict verdict(enum policy_act act, const char *why)
{
	return (struct policy_verdict){ .act = act, .why = why };
}

/*
 * Dead letters are few: what ran together is run one by one at once. So a replay, which may not be able to pause anything, finds the row that
 * crashes the server with the second crash.
 */
static struct policy_verdict judge_loss(const struct policy_facts *f)
{
	struct policy_verdict v = verdict(POLICY_WAIT, "the server crashed");
	bool known = f->losses >= (f->replay && f->server_lived ? POLICY_LOSSES_SPLIT : POLICY_LOSSES_PAUSE) &&
		     (f->rows == 1 || !f->replay);

	/* A row that was alone is known: its dead letter keeps it from being run again when the migration is resumed. */
	if (known || (f->crashes >= POLICY_LOSSES_PAUSE && !f->over)) {
		v = verdict(known && f->rows == 1 ? POLICY_BURY : POLICY_PAUSE,
			    "the server crashed again and again while the same job ran");
		if (!known)
			v.why = "the server crashed again and again while jobs of this migration ran, at last this one";
		v.crashes = true;
		return v;
	}
	v.alone = f->losses >= POLICY_LOSSES_SPLIT || f->replay;
	if (v.alone && f->rows > 1)
		v.act = POLICY_SPLIT;
	return v;
}

static struct policy_verdict judge_conflict(const struct policy_facts *f, const struct policy_limits *l)
{
	bool in_budget = f->conflict_s * 1000 < (double)l->conflict_budget_ms;

	if (f->rows > 1 && (f->conflicts >= POLICY_CONFLICTS_SPLIT || !in_budget))
		return verdict(POLICY_SPLIT, "conflict");
	if (in_budget)
		return verdict(POLICY_RETRY, "conflict");
	return verdict(POLICY_BURY, "conflicts for longer than the budget");
}

static struct policy_verdict judge_timeout(const struct policy_facts *f, const struct policy_limits *l)
{
	unsigned tries = l->tries > POLICY_TIMEOUT_TRIES ? l->tries : POLICY_TIMEOUT_TRIES;

	if (f->rows > 1)
		return verdict(f->crowded ? POLICY_DELAY : POLICY_SPLIT, "time-out");
	if (!f->others_commit && f->probe != POLICY_PROBE_FINE)
		return verdict(POLICY_DELAY, "time-out, and nothing else commits");
	return verdict(f->attempts >= tries ? POLICY_BURY : POLICY_RETRY, "time-out");
}

static struct policy_verdict judge_noted(const struct policy_facts *f, const struct policy_limits *l)
{
	if (f->settled)
		return verdict(POLICY_ACK, "done meanwhile");
	switch (f->class) {
	case PG_CLASS_OUTAGE:
		return judge_loss(f);
	case PG_CLASS_CONFLICT:
		return judge_conflict(f, l);
	case PG_CLASS_CANCELLED:
		return judge_timeout(f, l);
	default:
		if (f->rows > 1)
			return verdict(POLICY_SPLIT, "bad data");
		return verdict(f->attempts < l->tries ? POLICY_RETRY : POLICY_BURY, "bad data");
	}
}

struct policy_verdict policy_judge(const struct policy_facts *f, const struct policy_limits *l)
{
	enum pg_class class = class_in_phase(f);
	struct policy_verdict v = verdict(POLICY_PAUSE, "an error that Drover does not know");

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const struct rule *r = &rules[i];

		if (r->class == class && (r->phases & 1u << f->phase) != 0 && (r->when == NULL || r->when(f))) {
			v = (struct policy_verdict){ .act = r->act, .note = r->note, .why = r->why };
			break;
		}
	}
	if (v.act == POLICY_NOTE && f->noted)
		v = judge_noted(f, l);
	/* A complete migration cannot be paused for a replay of one row: that row's dead letter says it. */
	if (v.act == POLICY_PAUSE && f->over && f->replay)
		v.act = POLICY_BURY;
	return v;
}

enum policy_start policy_start(unsigned starts, unsigned rows)
{
	if (starts < 3)
		return POLICY_START_RUN;
	if (starts == 3)
		return POLICY_START_ALONE;
	if (rows > 1)
		return POLICY_START_SPLIT;
	return starts > 5 ? POLICY_START_BURY : POLICY_START_ALONE;
}

const char *policy_act_name(enum policy_act act)
{
	static const char *const names[POLICY_NR] = {
		[POLICY_ACK] = "ack",   [POLICY_DROP] = "drop",       [POLICY_AGAIN] = "again",     [POLICY_RELOAD] = "reload",
		[POLICY_MARK] = "mark", [POLICY_UNBLOCK] = "unblock", [POLICY_PROBE] = "probe",     [POLICY_NOTE] = "note",
		[POLICY_WAIT] = "wait", [POLICY_DELAY] = "delay",     [POLICY_RETRY] = "retry",     [POLICY_SPLIT] = "split",
		[POLICY_BURY] = "bury", [POLICY_PAUSE] = "pause",     [POLICY_RELEASE] = "release",
	};

	return names[act];
}

const char *policy_note_name(enum policy_note note)
{
	static const char *const names[] = {
		[POLICY_NOTE_NONE] = "none",         [POLICY_NOTE_WAIT] = "wait",       [POLICY_NOTE_RETRY] = "retry",
		[POLICY_NOTE_CONFLICT] = "conflict", [POLICY_NOTE_TIMEOUT] = "timeout", [POLICY_NOTE_LOSS] = "loss",
	};

	return names[note];
}
