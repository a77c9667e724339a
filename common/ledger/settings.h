/*
 * settings.h - the run-time settings of a migration, as both programs read them.
 *
 * Pure: text in, struct out; no database. `drover.settings_of(id)` brings the text: what is set for the migration beats
 * what its file says, which beats what is set for all; the defaults are here and nowhere else. settings.def is the table.
 *
 *   struct settings s;
 *   settings_defaults(&s);				(a worker may settings_set() its own options here)
 *   rc = settings_apply(&s, PQgetvalue(...), err);	(on top of it)
 */
#ifndef DROVER_LEDGER_SETTINGS_H
#define DROVER_LEDGER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/util.h"

#define SETTINGS_BACKOFF_MAX 16 /* waits in a backoff list */

enum setting_type {
	SETTING_IS_BOOL,
	SETTING_IS_U64,
	SETTING_IS_DURATIONS, /* "1,5,30" or "500ms,5s": each within min..max ms */
	SETTING_IS_BREAKER,   /* "20%/1000" or "off" */
};

enum setting_id {
#define X(id, name, type, member, def, min, max, unit, help) SETTING_##id,
#include "ledger/settings.def"
#undef X
	SETTING_NR,
};

struct setting {
	const char *name;
	enum setting_type type;
	const char *def; /* as it would be typed */
	uint64_t min, max;
	const char *unit; /* of a number; "" for the others */
	const char *help; /* one sentence, no capital, no full stop */
	size_t offset;    /* of its member in struct settings */
};

/* In the order of the enum. */
extern const struct setting setting_table[SETTING_NR];

struct settings_durations {
	uint64_t ms[SETTINGS_BACKOFF_MAX];
	size_t n; /* at least 1 */
};

struct settings_breaker {
	bool on;
	unsigned percent;     /* 1..100 */
	unsigned window_rows; /* the last so many finished rows */
};

struct settings {
	bool is_enabled;
	bool keep_row_image;
	uint64_t batch_size;     /* rows */
	uint64_t target_ms;      /* of a transaction */
	uint64_t max_backlog;    /* jobs in Redis */
	uint64_t max_lanes;      /* of the fleet; 0: no limit */
	uint64_t max_rows_per_s; /* of the fleet; 0: no limit */
	uint64_t processing_interval_ms;
	uint64_t query_timeout_ms;
	uint64_t lock_timeout_ms;
	uint64_t tries;
	uint64_t conflict_budget_s;
	bool synchronous_commit;
	bool throttle;
	bool throttle_vacuum;
	/* limits; 0: none */
	uint64_t throttle_sessions;
	uint64_t throttle_active;
	uint64_t throttle_lock_waits;
	uint64_t throttle_slowdown;
	uint64_t throttle_lag_ms;
	uint64_t throttle_lag_mb;
	uint64_t throttle_slot_mb;
	uint64_t throttle_archive_mb;
	uint64_t throttle_dead_percent;
	struct settings_durations backoff;
	struct settings_breaker breaker;
	uint32_t given; /* bit per setting_id: set by settings_set() or settings_apply(), not the default */
};

static inline bool settings_given(const struct settings *s, enum setting_id id)
{
	return (s->given & (1u << id)) != 0;
}

void settings_defaults(struct settings *s);

/* By name; NULL if there is none. */
const struct setting *settings_find(const char *name);

/* Set one by name. ST_NOT_FOUND (naming the nearest), ST_INPUT (saying what was expected); @s is unchanged then. */
MUST_CHECK int settings_set(struct settings *s, const char *name, const char *value, struct err *err);

/**
 * Set all that the text of a jsonb object names, on top of what @s holds: values are texts or, as files' directives may leave them, numbers
 * and booleans. Names that this program does not know are passed over: a newer console may have set them.
 * ST_INPUT for anything else that is wrong, all of it checked before @s is touched.
 */
MUST_CHECK int settings_apply(struct settings *s, const char *json, struct err *err);

/* Append the value as it would be typed ("1,5,30", "20%/1000", "on"). */
int settings_print(const struct settings *s, enum setting_id id, struct buf *out);

#endif
