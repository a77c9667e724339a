/*
 * A job's life at random: in a world of many rows (world.h), a seeded die decides what happens next, for much longer than every order
 * could be tried. test_every_order.c does that in worlds of few rows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rng.h"
#include "world.h"

#define ROUNDS 2000
#define STEPS_WITH_FAULTS 1500 /* then without, until all is over */
#define STEPS_WITHOUT 100000

struct die {
	struct chooser chooser;
	struct rng rng;
	unsigned fault_percent;
};

static unsigned throw_die(struct chooser *c, unsigned n, const char *what, bool fault)
{
	struct die *d = container_of(c, struct die, chooser);

	(void)what;
	return fault ? rng_below(&d->rng, 100) < d->fault_percent : (unsigned)rng_below(&d->rng, n);
}

/* Steps of which there are few: rarer than work, or there would be none. */
static bool is_fault(struct step s)
{
	static const bool faults[STEPS] = {
		[STEP_LOSE] = true,  [STEP_LOCK_WAIT] = true, [STEP_DRAIN] = true,  [STEP_FULL] = true,
		[STEP_CRASH] = true, [STEP_LEASE] = true,     [STEP_WALK] = true,   [STEP_FLUSH] = true,
		[STEP_SAVE] = true,  [STEP_RESTORE] = true,   [STEP_FORGET] = true, [STEP_PAUSE] = true,
		[STEP_AUDIT] = true, [STEP_UNLOCK] = true,    [STEP_RESUME] = true, [STEP_PRODUCER_DIES] = true,
	};

	return faults[s.kind];
}

static struct step draw(const struct world *w, struct die *d)
{
	struct step all[STEPS_MAX], of_kind[STEPS_MAX];
	unsigned n = world_steps(w, all), k = 0;
	bool fault = rng_below(&d->rng, 100) < d->fault_percent;

	for (unsigned i = 0; i < n; i++)
		if (is_fault(all[i]) == fault)
			of_kind[k++] = all[i];
	return k > 0 ? of_kind[rng_below(&d->rng, k)] : all[rng_below(&d->rng, n)];
}

/* A set of rows: each is in it one time in eight. */
static uint32_t few(struct rng *rng)
{
	uint32_t a = (uint32_t)rng_next(rng), b = (uint32_t)rng_next(rng), c = (uint32_t)rng_next(rng);

	return a & b & c;
}

static struct setup draw_setup(struct rng *rng)
{
	struct setup s = { .name = "random",
			   .row_mode = rng_below(rng, 2) == 0,
			   .ledger_only = rng_below(rng, 2) == 0,
			   .producer = rng_below(rng, 2) == 0,
			   .replay = rng_below(rng, 4) == 0,
			   .slices = rng_below(rng, 2) == 0,
			   .workers = 2,
			   .lanes = 3,
			   .rows = 32,
			   .batch_rows = (uint8_t)(4 + 4 * rng_below(rng, 4)),
			   .tries = (uint8_t)(1 + rng_below(rng, 2)) };

	s.poison = few(rng);
	s.suspect = (uint32_t)rng_next(rng);
	s.locked = few(rng);
	/* Drover gives up at rows that kill workers, crash servers or take too long; those have tests of their own. */
	s.marks_most = 3;
	s.left[FAULT_SILENT] = 1;
	s.left[FAULT_TIMEOUT] = s.locked == 0 ? 2 : 0;
	return s;
}

/* Of the others enough at any time, while there are any. */
static void allow(struct world *w, bool faults)
{
	for (unsigned f = 0; f < FAULTS; f++)
		w->left[f] = !faults ? 0 : w->setup.left[f] > 0 || f == FAULT_TIMEOUT ? w->left[f] : 100;
}

/* Returns how often something went wrong. */
static unsigned round_of(uint64_t seed)
{
	struct die d = { .chooser = { throw_die } };
	unsigned steps = 0, faults = 0;
	struct setup s;
	struct world *w;

	rng_seed(&d.rng, seed);
	d.fault_percent = 2 + (unsigned)rng_below(&d.rng, 30);
	s = draw_setup(&d.rng);
	w = world_new(&s, &d.chooser);
	while (!world_is_over(w) && w->violation[0] == '\0') {
		if (++steps > STEPS_WITH_FAULTS + STEPS_WITHOUT)
			violation(w, "stuck");
		allow(w, steps < STEPS_WITH_FAULTS);
		world_do(w, draw(w, &d));
		faults += w->faulty;
	}
	if (w->violation[0] == '\0')
		world_check_end(w);
	if (w->violation[0] != '\0')
		fail_msg("seed %llu: %s", (unsigned long long)seed, w->violation);
	world_free(w);
	return faults;
}

static void every_row_meets_its_fate_once(void **state)
{
	const char *rounds = getenv("DROVER_SIM_ROUNDS"); /* more of them, by hand */
	uint64_t most = rounds != NULL ? strtoull(rounds, NULL, 10) : ROUNDS, faults = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= most; seed++)
		faults += round_of(seed);
	printf("%llu rounds, %llu faults\n", (unsigned long long)most, (unsigned long long)faults);
	assert_true(faults > 10 * most); /* the die was thrown */
}

/* The moves of the table itself: no state without a way to the end, none that is never reached. */
static void every_state_leads_to_done(void **state)
{
	bool reaches[JOB_STATES] = { [JOB_DONE] = true }, reached[JOB_STATES] = { [JOB_TAKEN] = true };

	(void)state;
	for (int round = 0; round < JOB_STATES; round++)
		for (int from = 0; from < JOB_STATES; from++)
			for (int to = 0; to < JOB_STATES; to++)
				if (job_state_may((enum job_state)from, (enum job_state)to)) {
					reaches[from] = reaches[from] || reaches[to];
					reached[to] = reached[to] || reached[from];
				}
	for (int s = 0; s < JOB_STATES; s++) {
		if (!reaches[s] || !reached[s])
			fail_msg("%s: reaches the end %d, is reached %d", job_state_name((enum job_state)s), reaches[s], reached[s]);
		assert_false(job_state_may(JOB_DONE, (enum job_state)s));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_leads_to_done),
		cmocka_unit_test(every_row_meets_its_fate_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
