/*
 * pg_status.h - what an SQLSTATE means for a job, in one table.
 *
 * A class says what kind of thing happened; what becomes of the job is decided by job/policy.h.
 */
#ifndef DROVER_PG_PG_STATUS_H
#define DROVER_PG_PG_STATUS_H

enum pg_class {
	PG_CLASS_OK,        /* no error */
	PG_CLASS_OUTAGE,    /* the server is away, going down, full of connections or read-only; or the link was lost */
	PG_CLASS_CONFLICT,  /* another transaction was in the way */
	PG_CLASS_CANCELLED, /* 57014: a time-out of ours, or somebody's cancel request */
	PG_CLASS_STALE,     /* a plan or prepared statement that is no more */
	PG_CLASS_DATA,      /* the rows, or code of the user's that looks at them */
	PG_CLASS_SUSPECT,   /* class 42: the migration may be wrong, or its rows make dynamic SQL wrong */
	PG_CLASS_WRONG,     /* the migration cannot work whatever the rows are */
	PG_CLASS_DENIED,    /* our role lacks a right */
	PG_CLASS_SERVER,    /* out of disk or memory, corruption */
	PG_CLASS_DONE,      /* DR001: finished already */
	PG_CLASS_STOPPED,   /* DR002: the migration is not running */
	PG_CLASS_REVISION,  /* DR003: the worker's copy of the migration is out of date */
	PG_CLASS_NO_JOB,    /* DR004: there is no such job */
	PG_CLASS_DIVERGES,  /* DR005: changed rows are still pending */
	PG_CLASS_UNMARKED,  /* DR006: taken over before, its start has to be marked first */
	PG_CLASS_UNKNOWN,   /* none of these */
	PG_CLASS_NR,
};

/**
 * @sqlstate  five characters; NULL or "" (no answer at all) is an outage.
 * @message   the primary message, for the two codes that say too little; may be NULL.
 */
enum pg_class pg_classify(const char *sqlstate, const char *message);

/* "outage", "conflict" ...: for logs. */
const char *pg_class_name(enum pg_class c);

#endif
