/* What becomes of a job after an error: the table of the design, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/util.h"
#include "job/policy.h"

#define FACTS(...)            \
	(struct policy_facts) \
	{                     \
		__VA_ARGS__   \
	}
/* of a backend; the server as a whole lived */
#define CRASH(...) FACTS(.class = PG_CLASS_OUTAGE, .silent = true, .server_lived = true, .noted = true, __VA_ARGS__)

static void every_error_has_one_fate(void **state)
{
	const struct {
		const char *why;
		struct policy_facts f;
		enum policy_act want;
	} rows[] = {
		{ "committed", FACTS(.class = PG_CLASS_OK), POLICY_ACK },
		/* the claim */
		{ "done before", FACTS(.class = PG_CLASS_DONE, .phase = POLICY_CLAIM), POLICY_ACK },
		{ "paused", FACTS(.class = PG_CLASS_STOPPED, .phase = POLICY_CLAIM), POLICY_RELEASE },
		{ "complete", FACTS(.class = PG_CLASS_STOPPED, .phase = POLICY_CLAIM, .finished = true), POLICY_DROP },
		{ "amended", FACTS(.class = PG_CLASS_REVISION, .phase = POLICY_CLAIM), POLICY_RELOAD },
		{ "no such job", FACTS(.class = PG_CLASS_NO_JOB, .phase = POLICY_CLAIM), POLICY_DROP },
		{ "taken over before", FACTS(.class = PG_CLASS_UNMARKED, .phase = POLICY_CLAIM), POLICY_MARK },
		{ "cannot lock", FACTS(.class = PG_CLASS_CONFLICT, .phase = POLICY_CLAIM), POLICY_UNBLOCK },
		{ "cannot lock for long", FACTS(.class = PG_CLASS_CONFLICT, .phase = POLICY_CLAIM, .again = POLICY_AGAIN_MAX),
		  POLICY_DELAY },
		{ "the ledger's table is gone", FACTS(.class = PG_CLASS_SUSPECT, .phase = POLICY_CLAIM), POLICY_PAUSE },
		{ "a setting is refused", FACTS(.class = PG_CLASS_DATA, .phase = POLICY_ENTER), POLICY_PAUSE },
		/* our codes, raised by the user's code */
		{ "DR001 in the transform", FACTS(.class = PG_CLASS_DONE, .phase = POLICY_TRANSFORM), POLICY_NOTE },
		{ "DR005 in the transform", FACTS(.class = PG_CLASS_DIVERGES, .phase = POLICY_TRANSFORM), POLICY_NOTE },
		{ "does not converge", FACTS(.class = PG_CLASS_DIVERGES, .phase = POLICY_FINISH), POLICY_PAUSE },
		/* outages */
		{ "shut down", FACTS(.class = PG_CLASS_OUTAGE, .phase = POLICY_TRANSFORM), POLICY_WAIT },
		{ "lost without a word", FACTS(.class = PG_CLASS_OUTAGE, .silent = true), POLICY_NOTE },
		{ "lost once", FACTS(.class = PG_CLASS_OUTAGE, .silent = true, .noted = true, .rows = 9, .losses = 1), POLICY_WAIT },
		{ "lost twice", FACTS(.class = PG_CLASS_OUTAGE, .silent = true, .noted = true, .rows = 9, .losses = 2), POLICY_SPLIT },
		{ "a row lost twice", FACTS(.class = PG_CLASS_OUTAGE, .silent = true, .noted = true, .rows = 1, .losses = 2), POLICY_WAIT },
		{ "a script that takes too long over no rows",
		  FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .ours = true, .probe = POLICY_PROBE_RAISED), POLICY_PAUSE },
		{ "lost three times", FACTS(.class = PG_CLASS_OUTAGE, .silent = true, .noted = true, .rows = 9, .losses = 3),
		  POLICY_PAUSE },
		{ "a row lost three times", FACTS(.class = PG_CLASS_OUTAGE, .silent = true, .noted = true, .rows = 1, .losses = 3),
		  POLICY_BURY },
		{ "the third crash of a migration's", CRASH(.rows = 9, .losses = 1, .crashes = 3), POLICY_PAUSE },
		{ "the second", CRASH(.rows = 9, .losses = 1, .crashes = 2), POLICY_WAIT },
		{ "replays lost once", CRASH(.replay = true, .rows = 9, .losses = 1, .crashes = 1), POLICY_SPLIT },
		{ "a replay lost twice", CRASH(.replay = true, .rows = 1, .losses = 2, .crashes = 2), POLICY_BURY },
		{ "a replay lost once, and nothing can be paused",
		  CRASH(.replay = true, .over = true, .rows = 1, .losses = 1, .crashes = 3), POLICY_WAIT },
		{ "lost, and done meanwhile", FACTS(.class = PG_CLASS_OUTAGE, .silent = true, .noted = true, .settled = true), POLICY_ACK },
		/* conflicts */
		{ "a conflict", FACTS(.class = PG_CLASS_CONFLICT, .phase = POLICY_TRANSFORM), POLICY_NOTE },
		{ "the first", FACTS(.class = PG_CLASS_CONFLICT, .phase = POLICY_TRANSFORM, .noted = true, .rows = 9, .conflicts = 1),
		  POLICY_RETRY },
		{ "the second", FACTS(.class = PG_CLASS_CONFLICT, .phase = POLICY_TRANSFORM, .noted = true, .rows = 9, .conflicts = 2),
		  POLICY_SPLIT },
		{ "a row's hundredth",
		  FACTS(.class = PG_CLASS_CONFLICT, .phase = POLICY_TRANSFORM, .noted = true, .rows = 1, .conflicts = 100,
			.conflict_s = 3599),
		  POLICY_RETRY },
		{ "a row's, over the budget",
		  FACTS(.class = PG_CLASS_CONFLICT, .phase = POLICY_COMMIT, .noted = true, .rows = 1, .conflict_s = 3600), POLICY_BURY },
		/* time-outs and cancels */
		{ "interrupted for a pause", FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .interrupted = true),
		  POLICY_RELEASE },
		{ "interrupted for a cancel",
		  FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .interrupted = true, .finished = true), POLICY_DROP },
		{ "a time-out of the role, before ours is set", FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_ENTER), POLICY_DELAY },
		{ "cancelled by someone", FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM), POLICY_PAUSE },
		{ "a time-out while others commit",
		  FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .ours = true, .others_commit = true), POLICY_NOTE },
		{ "of many",
		  FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .ours = true, .others_commit = true, .noted = true,
			.rows = 9),
		  POLICY_SPLIT },
		{ "of many, crowded",
		  FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .ours = true, .others_commit = true, .noted = true,
			.rows = 9, .crowded = true),
		  POLICY_DELAY },
		{ "of a row, the first",
		  FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .ours = true, .others_commit = true, .noted = true,
			.rows = 1, .attempts = 1),
		  POLICY_RETRY },
		{ "of a row, the third",
		  FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_TRANSFORM, .ours = true, .others_commit = true, .noted = true,
			.rows = 1, .attempts = 3),
		  POLICY_BURY },
		{ "in the claim", FACTS(.class = PG_CLASS_CANCELLED, .phase = POLICY_CLAIM, .ours = true), POLICY_DELAY },
		/* plans, data, the migration */
		{ "a stale plan", FACTS(.class = PG_CLASS_STALE, .phase = POLICY_TRANSFORM), POLICY_AGAIN },
		{ "stale for ever", FACTS(.class = PG_CLASS_STALE, .phase = POLICY_TRANSFORM, .again = POLICY_AGAIN_MAX), POLICY_PAUSE },
		{ "bad data", FACTS(.class = PG_CLASS_DATA, .phase = POLICY_TRANSFORM), POLICY_NOTE },
		{ "in many rows", FACTS(.class = PG_CLASS_DATA, .phase = POLICY_TRANSFORM, .noted = true, .rows = 2, .attempts = 1),
		  POLICY_SPLIT },
		{ "in one row", FACTS(.class = PG_CLASS_DATA, .phase = POLICY_TRANSFORM, .noted = true, .rows = 1, .attempts = 1),
		  POLICY_BURY },
		{ "class 42", FACTS(.class = PG_CLASS_SUSPECT, .phase = POLICY_TRANSFORM), POLICY_PROBE },
		{ "class 42 over no rows", FACTS(.class = PG_CLASS_SUSPECT, .phase = POLICY_TRANSFORM, .probe = POLICY_PROBE_RAISED),
		  POLICY_PAUSE },
		{ "class 42 over rows alone", FACTS(.class = PG_CLASS_SUSPECT, .phase = POLICY_TRANSFORM, .probe = POLICY_PROBE_FINE),
		  POLICY_NOTE },
		{ "a procedure that commits", FACTS(.class = PG_CLASS_WRONG, .phase = POLICY_TRANSFORM), POLICY_PAUSE },
		{ "no right", FACTS(.class = PG_CLASS_DENIED, .phase = POLICY_CLAIM), POLICY_PAUSE },
		{ "disk full", FACTS(.class = PG_CLASS_SERVER, .phase = POLICY_COMMIT), POLICY_PAUSE },
		{ "never heard of", FACTS(.class = PG_CLASS_UNKNOWN, .phase = POLICY_TRANSFORM), POLICY_PAUSE },
		/* a replay of a migration that is complete cannot pause it */
		{ "a replay, over", FACTS(.class = PG_CLASS_WRONG, .phase = POLICY_TRANSFORM, .replay = true, .over = true), POLICY_BURY },
		{ "a replay, running", FACTS(.class = PG_CLASS_WRONG, .phase = POLICY_TRANSFORM, .replay = true), POLICY_PAUSE },
	};
	const struct policy_limits l = { .tries = 1, .conflict_budget_ms = 3600000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct policy_verdict v = policy_judge(&rows[i].f, &l);

		if (v.act != rows[i].want || v.why == NULL)
			fail_msg("%s: %s, should be %s", rows[i].why, policy_act_name(v.act), policy_act_name(rows[i].want));
		if (v.act == POLICY_NOTE)
			assert_int_not_equal(v.note, POLICY_NOTE_NONE);
	}
}

static void tries_are_for_lone_rows(void **state)
{
	const struct policy_limits l = { .tries = 3 };
	struct policy_facts f = { .class = PG_CLASS_DATA, .phase = POLICY_TRANSFORM, .noted = true, .rows = 1 };

	(void)state;
	for (f.attempts = 1; f.attempts < 3; f.attempts++)
		assert_int_equal(policy_judge(&f, &l).act, POLICY_RETRY);
	assert_int_equal(policy_judge(&f, &l).act, POLICY_BURY);
	f.rows = 2;
	assert_int_equal(policy_judge(&f, &l).act, POLICY_SPLIT);
}

static void whatever_happens_there_is_an_end(void **state)
{
	const struct policy_limits l = { .tries = 1, .conflict_budget_ms = 1000 };

	(void)state;
	/* All facts as bad as can be: nothing but a burial, a pause or an acknowledgement may remain for one row in a running migration. */
	for (int class = 0; class < PG_CLASS_NR; class ++) {
		for (int phase = POLICY_ENTER; phase <= POLICY_COMMIT; phase++) {
			struct policy_facts f = { .class = (enum pg_class) class,
						  .phase = (enum policy_phase)phase,
						  .again = 99,
						  .silent = true,
						  .ours = true,
						  .others_commit = true,
						  .probe = POLICY_PROBE_FINE,
						  .noted = true,
						  .rows = 1,
						  .attempts = 99,
						  .conflicts = 99,
						  .conflict_s = 1e9,
						  .losses = 99 };
			enum policy_act act = policy_judge(&f, &l).act;

			if (act == POLICY_NOTE || act == POLICY_PROBE || act == POLICY_AGAIN || act == POLICY_MARK ||
			    act == POLICY_RELOAD || act == POLICY_UNBLOCK || act == POLICY_RETRY || act == POLICY_SPLIT)
				fail_msg("%s in phase %d goes on for ever: %s", pg_class_name((enum pg_class) class), phase,
					 policy_act_name(act));
		}
	}
}

static void starts_end_in_a_dead_letter(void **state)
{
	(void)state;
	assert_int_equal(policy_start(1, 1000), POLICY_START_RUN);
	assert_int_equal(policy_start(2, 1000), POLICY_START_RUN);
	assert_int_equal(policy_start(3, 1000), POLICY_START_ALONE);
	assert_int_equal(policy_start(4, 1000), POLICY_START_SPLIT);
	assert_int_equal(policy_start(4, 1), POLICY_START_ALONE);
	assert_int_equal(policy_start(5, 1), POLICY_START_ALONE);
	assert_int_equal(policy_start(6, 1), POLICY_START_BURY);
}

static void names_are_there(void **state)
{
	(void)state;
	for (int a = 0; a < POLICY_NR; a++)
		assert_non_null(policy_act_name((enum policy_act)a));
	assert_string_equal(policy_note_name(POLICY_NOTE_CONFLICT), "conflict");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_error_has_one_fate),
		cmocka_unit_test(tries_are_for_lone_rows),
		cmocka_unit_test(whatever_happens_there_is_an_end),
		cmocka_unit_test(starts_end_in_a_dead_letter),
		cmocka_unit_test(names_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
