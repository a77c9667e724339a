/*
 * A job's life in every order: in small worlds, one for each kind of job, everything that can happen next is tried, wherever it leads
 * (explore.h).
 *
 * With every set of so many faults as there are: one of each kind unless DROVER_SIM_FAULTS says more, and then some pairs. What it
 * looked at is printed. And each way to break Drover that the world knows is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "explore.h"
#include "table.h"

#define STATES_MOST 20000000 /* of one search; about 100 bytes each */

/* Two workers with a lane each, two rows unless told; good and poison, free and locked, alone and together. */
static const struct setup kinds[] = {
	{ .name = "a batch that splits", .ledger_only = true, .poison = 2 },
	{ .name = "a batch in slices", .ledger_only = true, .poison = 2, .slices = true },
	{ .name = "batches, and a producer", .batch_rows = 1, .ledger_only = true, .producer = true },
	{ .name = "row jobs with receipts", .row_mode = true, .ledger_only = true, .poison = 2 },
	{ .name = "row jobs with a predicate", .row_mode = true, .poison = 2, .suspect = 2 },
	{ .name = "a row that is tried twice", .rows = 1, .row_mode = true, .ledger_only = true, .poison = 1, .tries = 2 },
	{ .name = "a row that is mended", .rows = 1, .ledger_only = true, .poison = 1, .mended = true },
	{ .name = "a replay of dead letters", .ledger_only = true, .replay = true, .poison = 2 },
	{ .name = "a batch with a locked row", .ledger_only = true, .locked = 1 },
	{ .name = "a row job with a locked row", .rows = 1, .row_mode = true, .ledger_only = true, .locked = 1 },
};

static struct report report; /* too large for the stack */

static struct {
	uint64_t searches, states, transitions;
	unsigned depth;
	double seconds;
} sum;

static void search(const struct setup *s)
{
	explore(s, STATES_MOST, NULL, &report);
	sum.searches++;
	sum.states += report.states;
	sum.transitions += report.transitions;
	sum.seconds += report.seconds;
	sum.depth = report.depth > sum.depth ? report.depth : sum.depth;
	if (report.wrong[0] != '\0')
		fail_msg("%s: %s, after\n%s", s->name, report.wrong, report.trace);
	if (report.cut)
		fail_msg("%s: more than %d states", s->name, STATES_MOST);
	assert_true(report.ends > 0);
}

/* All sets of @n faults from @first on. */
static void with_faults(const struct setup *s, unsigned n, unsigned first)
{
	if (n == 0) {
		search(s);
		return;
	}
	for (unsigned f = first; f < FAULTS; f++) {
		struct setup more = *s;

		more.left[f]++;
		with_faults(&more, n - 1, f);
	}
}

static void print_sum(const char *name)
{
	printf("%-28s %5llu searches %9llu states %10llu transitions depth %4u %7.1f s\n", name, (unsigned long long)sum.searches,
	       (unsigned long long)sum.states, (unsigned long long)sum.transitions, sum.depth, sum.seconds);
	memset(&sum, 0, sizeof(sum));
}

/* One world alone, by hand: DROVER_SIM_WORLD is a part of its name. */
static bool is_wanted(const struct setup *s)
{
	const char *text = getenv("DROVER_SIM_WORLD");

	return text == NULL || strstr(s->name, text) != NULL;
}

static void no_order_loses_doubles_or_blocks_a_row(void **state)
{
	const char *faults = getenv("DROVER_SIM_FAULTS");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!is_wanted(&kinds[i]))
			continue;
		with_faults(&kinds[i], faults != NULL ? (unsigned)strtoul(faults, NULL, 10) : 1, 0);
		print_sum(kinds[i].name);
	}
}

/* The pairs that have most to do with each other. */
static void nor_does_one_fault_on_top_of_another(void **state)
{
	static const enum fault pairs[][2] = { { FAULT_CRASH, FAULT_LEASE }, { FAULT_CRASH, FAULT_FLUSH }, { FAULT_LEASE, FAULT_LINK_PG } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct setup s = kinds[0];

		s.left[pairs[i][0]]++;
		s.left[pairs[i][1]]++;
		search(&s);
	}
	print_sum("pairs of faults");
}

/* ------------------------------------------------------------ that it can fail */

static void is_found(const char *what, struct setup s, enum broken how)
{
	s.broken = how;
	explore(&s, STATES_MOST, NULL, &report);
	printf("found after %6llu states: %s\n", (unsigned long long)report.states, report.wrong);
	if (strstr(report.wrong, what) == NULL)
		fail_msg("'%s' was to be found, and was not: %s", what, report.wrong);
}

#define FOUND(promise, what, how, ...)                              \
	static void promise(void **state)                           \
	{                                                           \
		(void)state;                                        \
		is_found(what, (struct setup){ __VA_ARGS__ }, how); \
	}

#define BATCH .ledger_only = true
#define ROWS .row_mode = true

FOUND(an_acknowledgement_before_the_commit_is_found, "acknowledged before it is settled", BROKEN_ACK_FIRST, BATCH)
FOUND(a_claim_without_a_lock_is_found, "changed a second time", BROKEN_CLAIM_UNLOCKED, BATCH, .left = { [FAULT_LEASE] = 1 })
FOUND(a_claim_that_takes_what_is_done_is_found, "changed a second time", BROKEN_CLAIM_DONE, BATCH, .left = { [FAULT_LINK_PG] = 1 })
FOUND(a_commit_without_an_answer_taken_for_one_is_found, "acknowledged before it is settled", BROKEN_LOSS_IS_DONE, BATCH,
      .left = { [FAULT_LINK_PG] = 1 })
FOUND(a_predicate_tested_before_the_lock_is_found, "changed a second time", BROKEN_PREDICATE_EARLY, ROWS, .left = { [FAULT_LEASE] = 1 })
FOUND(receipts_pruned_too_early_are_found, "changed a second time", BROKEN_PRUNE_EARLY, ROWS, .ledger_only = true,
      .left = { [FAULT_LEASE] = 1 })
FOUND(a_split_that_leaves_its_batch_queued_is_found, "acknowledged before it is settled", BROKEN_SPLIT_OPEN, BATCH, .poison = 2)
FOUND(a_burial_without_a_claim_is_found, "is buried, and was changed", BROKEN_BURY_UNCLAIMED, BATCH, .rows = 1, .poison = 1, .mended = true,
      .left = { [FAULT_LEASE] = 1 })
FOUND(an_audit_that_passes_over_a_batch_is_found, "stuck", BROKEN_FLOOR, BATCH, .poison = 2, .left = { [FAULT_FLUSH] = 1 })
FOUND(an_audit_that_forgets_replays_is_found, "stuck", BROKEN_AUDIT_NO_REPLAYS, BATCH, .replay = true, .left = { [FAULT_PRODUCER] = 1 })
FOUND(a_take_over_that_never_comes_is_found, "stuck", BROKEN_NO_TAKE_OVER, BATCH, .left = { [FAULT_CRASH] = 1 })
FOUND(a_survived_start_taken_for_a_death_is_found, "nothing is wrong with it", BROKEN_STARTS_KEPT, BATCH, .rows = 1, .locked = 1,
      .left = { [FAULT_CRASH] = 1 })

FOUND(a_start_given_back_taken_for_a_death_is_found, "nothing is wrong with it", BROKEN_BACK_KEPT, BATCH, .rows = 1, .workers = 1,
      .left = { [FAULT_CRASH] = 1, [FAULT_PAUSE] = 6 })

FOUND(a_slice_that_is_done_again_is_found, "changed a second time", BROKEN_SLICE_KEPT, BATCH, .slices = true)
FOUND(a_slice_taken_for_the_whole_is_found, "changed 0 times", BROKEN_SLICE_IS_ALL, BATCH, .slices = true)
FOUND(a_window_that_counts_a_row_twice_is_found, "changed 0 times", BROKEN_COUNT_JOBS, ROWS,
      .left = { [FAULT_LEASE] = 1, [FAULT_FLUSH] = 1 })

/* Pauses, drains and lost answers between a job's mark and its claim: as many as it would take if they counted. */
static void whoever_gives_a_job_back_has_not_died_of_it(void **state)
{
	static const enum fault backs[] = { FAULT_PAUSE, FAULT_DRAIN, FAULT_LINK_PG, FAULT_LOCK_WAIT };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(backs); i++)
		for (int replay = 0; replay < 2; replay++) {
			struct setup s = { .name = "given back", BATCH, .rows = 1, .workers = 1, .replay = replay != 0 };

			s.left[FAULT_CRASH] = 1;
			s.left[backs[i]] = 6;
			search(&s);
		}
	print_sum("given back, again and again");
}

/* ------------------------------------------------------------ the crash table */

static void the_crash_table_of_the_docs_is_fresh(void **state)
{
	const char *source = getenv("DROVER_SOURCE_DIR");
	char path[512];

	(void)state;
	if (source == NULL)
		skip();
	snprintf(path, sizeof(path), "%s/docs/delivery.md", source);
	if (!table_is_in(path))
		fail_msg("the crash table of %s is stale: put what `sim_every_order --table` prints between its marks", path);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_order_loses_doubles_or_blocks_a_row),
		cmocka_unit_test(nor_does_one_fault_on_top_of_another),
		cmocka_unit_test(an_acknowledgement_before_the_commit_is_found),
		cmocka_unit_test(a_claim_without_a_lock_is_found),
		cmocka_unit_test(a_claim_that_takes_what_is_done_is_found),
		cmocka_unit_test(a_commit_without_an_answer_taken_for_one_is_found),
		cmocka_unit_test(a_predicate_tested_before_the_lock_is_found),
		cmocka_unit_test(receipts_pruned_too_early_are_found),
		cmocka_unit_test(a_split_that_leaves_its_batch_queued_is_found),
		cmocka_unit_test(a_burial_without_a_claim_is_found),
		cmocka_unit_test(an_audit_that_passes_over_a_batch_is_found),
		cmocka_unit_test(an_audit_that_forgets_replays_is_found),
		cmocka_unit_test(a_take_over_that_never_comes_is_found),
		cmocka_unit_test(a_survived_start_taken_for_a_death_is_found),
		cmocka_unit_test(a_start_given_back_taken_for_a_death_is_found),
		cmocka_unit_test(a_slice_that_is_done_again_is_found),
		cmocka_unit_test(a_slice_taken_for_the_whole_is_found),
		cmocka_unit_test(a_window_that_counts_a_row_twice_is_found),
		cmocka_unit_test(whoever_gives_a_job_back_has_not_died_of_it),
		cmocka_unit_test(the_crash_table_of_the_docs_is_fresh),
	};

	if (argc == 2 && strcmp(argv[1], "--table") == 0) {
		table_print(stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
