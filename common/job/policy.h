/*
 * policy.h - what becomes of a job after an error. Pure: facts in, verdict out; nothing is done here.
 *
 * The rules are one table (policy.c), in the order in which they are tried. An error that needs to be noted in the ledger before it can be
 * judged (how many rows, how many conflicts so far) gets POLICY_NOTE first, and is judged again with what the ledger answered.
 */
#ifndef DROVER_JOB_POLICY_H
#define DROVER_JOB_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "pg/pg_status.h"

enum policy_phase {               /* where in a job's transaction it happened */
		    POLICY_ENTER, /* begin, settings */
		    POLICY_CLAIM,
		    POLICY_TRANSFORM, /* the plan's script, and the constraints that were put off to its end */
		    POLICY_FINISH,    /* the ledger's part */
		    POLICY_COMMIT,
};

enum policy_act {
	POLICY_ACK,     /* the work is done, here or elsewhere: acknowledge */
	POLICY_DROP,    /* nothing of ours: acknowledge, count it */
	POLICY_AGAIN,   /* the same once more, shortly; no attempt used */
	POLICY_RELOAD,  /* the same once more when the migration has been loaded again */
	POLICY_MARK,    /* mark the start, then the same once more */
	POLICY_UNBLOCK, /* see whether a dead lane of ours holds the claim; then the same once more */
	POLICY_PROBE,   /* run the script over no rows, then judge again */
	POLICY_NOTE,    /* note the failure in the ledger, then judge again */
	POLICY_WAIT,    /* wait for the server, then the same once more */
	POLICY_DELAY,   /* the same later, as it is: the delayed set; nothing is counted */
	POLICY_RETRY,   /* a next attempt later: the delayed set; counted in the ledger */
	POLICY_SPLIT,
	POLICY_BURY,    /* a dead letter */
	POLICY_PAUSE,   /* pause the migration with the reason, give the job back */
	POLICY_RELEASE, /* give the job back */
	POLICY_NR,
};

/* What is noted; the ledger counts them apart. */
enum policy_note {
	POLICY_NOTE_NONE,
	POLICY_NOTE_WAIT,  /* nothing is counted, only asked */
	POLICY_NOTE_RETRY, /* rows failed */
	POLICY_NOTE_CONFLICT,
	POLICY_NOTE_TIMEOUT,
	POLICY_NOTE_LOSS, /* the server crashed while it ran */
};

enum policy_probe { POLICY_PROBE_NOT_YET, POLICY_PROBE_FINE, POLICY_PROBE_RAISED };

struct policy_facts {
	enum pg_class class;
	enum policy_phase phase;
	/* of the error */
	bool silent;       /* PG_CLASS_OUTAGE: the connection ended without a word and the server has crashed: the job itself may be why */
	bool server_lived; /* the same, and the server as a whole lived: one of its backends died, and it was the job's */
	bool ours;         /* PG_CLASS_CANCELLED: after our own deadline */
	bool interrupted;  /* PG_CLASS_CANCELLED: we asked, because the migration was stopped */
	bool finished;     /* PG_CLASS_STOPPED: the migration is complete or cancelled, not paused */
	enum policy_probe probe;
	/* of the job */
	bool replay;    /* a dead letter replayed, or a row's next attempt */
	bool over;      /* its migration is complete: it cannot be paused */
	unsigned again; /* times it was run once more without a note */
	/* from the ledger */
	bool noted;
	bool settled; /* it is not queued any more */
	unsigned rows;
	unsigned attempts;  /* failures of its rows so far, this one included */
	unsigned conflicts; /* so far, this one included */
	unsigned losses;    /* crashes so far, this one included, of all that was split off the same batch */
	unsigned crashes;   /* that the server as a whole survived, under any job or scan of the migration, this one included */
	double conflict_s;  /* since the first of the conflicts in a row */
	bool crowded;       /* too many splits are under way already */
	bool others_commit; /* other jobs of this worker committed meanwhile */
};

struct policy_limits {
	unsigned tries; /* failures of a lone row until it is dead-lettered; at least 1 */
	uint64_t conflict_budget_ms;
};

struct policy_verdict {
	enum policy_act act;
	enum policy_note note; /* with POLICY_NOTE */
	bool alone;            /* with AGAIN, SPLIT: nothing else on this worker meanwhile */
	bool crashes;          /* with PAUSE, BURY: it crashed the server too often: pause, and handle it with care from now on */
	const char *why;       /* static text; the reason of a pause, a word for the log otherwise */
};

#define POLICY_AGAIN_MAX 3       /* runs once more without a note, then it waits in the delayed set */
#define POLICY_CONFLICTS_SPLIT 2 /* conflicts until a job is split, so that only the locked row waits */
#define POLICY_TIMEOUT_TRIES 3   /* at least, for a lone row: time-outs are not deterministic */
#define POLICY_LOSSES_SPLIT 2    /* crashes of the server until a job runs alone and split ... */
#define POLICY_LOSSES_PAUSE 3    /* ... and until its migration is paused; or crashes under any of its jobs */
#define POLICY_SPLIT_WAYS 4      /* parts of a split: fewest transactions for one bad row, fewer for many */
#define POLICY_SPLITS_MAX 64     /* unfinished parts of split batches in a migration, before time-outs split no more */

struct policy_verdict policy_judge(const struct policy_facts *f, const struct policy_limits *l);

/* A job whose start was marked for the @starts-th time, since workers died under it. */
enum policy_start { POLICY_START_RUN, POLICY_START_ALONE, POLICY_START_SPLIT, POLICY_START_BURY };

enum policy_start policy_start(unsigned starts, unsigned rows);

const char *policy_act_name(enum policy_act act);
const char *policy_note_name(enum policy_note note); /* as drover.note_batch() wants it */

#endif
