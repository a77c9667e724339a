/*
 * doctor_private.h - the checks, by what they look at. The tables that call them: doctor.c.
 */
#ifndef DROVER_PRODUCER_DOCTOR_PRIVATE_H
#define DROVER_PRODUCER_DOCTOR_PRIVATE_H

#include "producer/console.h"
#include "producer/doctor.h"

/* Errors of a check are PostgreSQL's; ST_SQL (a right that is missing, say) becomes a note, and the next check is made. */
typedef int (*doctor_check_fn)(struct doctor *d, struct err *err);

/* doctor_server.c */
int doctor_server(struct doctor *d, struct err *err);
int doctor_ledger_locks(struct doctor *d, struct err *err);

/* doctor_redis.c */
int doctor_redis(struct doctor *d, struct err *err);
int doctor_queue(struct doctor *d, struct err *err);

/* doctor_fleet.c */
int doctor_workers(struct doctor *d, struct err *err);
int doctor_workers_of(struct doctor *d, struct err *err);

/* doctor_locks.c */
int doctor_table_locks(struct doctor *d, struct err *err);
int doctor_sweep(struct doctor *d, struct err *err);

/* doctor_migration.c */
int doctor_state(struct doctor *d, struct err *err);
int doctor_settings(struct doctor *d, struct err *err);
int doctor_scan(struct doctor *d, struct err *err);
int doctor_progress(struct doctor *d, struct err *err);
int doctor_pace(struct doctor *d, struct err *err);
int doctor_dead(struct doctor *d, struct err *err);

/* The sessions that lock the tables of @name (a table or a schema, quoted), as findings. */
MUST_CHECK int doctor_say_locks(struct doctor *d, const char *name, bool met, struct err *err);

static inline bool doctor_runs(const struct doctor *d)
{
	return standing_is(d->now, "running");
}

/* There is something for workers to do. */
static inline bool doctor_has_work(const struct doctor *d)
{
	return (doctor_runs(d) && d->now->incomplete > 0) || (d->now->waiting > 0 && !standing_is(d->now, "cancelled"));
}

#endif
