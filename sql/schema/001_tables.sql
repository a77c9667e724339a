-- 001_tables: what Drover keeps in PostgreSQL. The ledger (batches) is the truth; Redis only carries numbers of its rows.
-- Keys are text[]: one element per key column, as the column's type prints them under the migration's own settings.

CREATE TABLE drover.meta (
  only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  schema_version    integer NOT NULL,
  installation      text NOT NULL,             -- names this installation's keys in Redis
  system_identifier text NOT NULL,             -- of the server and ...
  database_oid      oid NOT NULL               -- ... the database it was made in: a clone differs and must be re-keyed
);

CREATE TABLE drover.migrations (
  id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name            text NOT NULL UNIQUE,
  revision        integer NOT NULL DEFAULT 1,
  checksum        text NOT NULL,               -- sha256 of source, hex
  source          text NOT NULL,               -- the file as it was registered
  plan            jsonb NOT NULL,              -- the SQL made from it; see sql/plan/README.md
  settings        jsonb NOT NULL,              -- session settings captured at registration, set locally in every transaction
  options         jsonb NOT NULL DEFAULT '{}', -- defaults from the file's directives (tries, backoff, timeout ...)
  table_name      text NOT NULL,               -- qualified, quoted
  key_columns     text[] NOT NULL,
  mode            text NOT NULL CHECK (mode IN ('batch', 'row')),
  ledger_only     boolean NOT NULL,
  batch_size      integer NOT NULL CHECK (batch_size > 0),
  state           text NOT NULL DEFAULT 'running'
                  CHECK (state IN ('running', 'paused', 'cancelled', 'complete', 'limited')),
  state_reason    text,                        -- why it is paused or cancelled
  state_by        text,
  state_at        timestamptz NOT NULL DEFAULT now(),
  halted          boolean NOT NULL DEFAULT false, -- paused, and by no operator
  -- the scan
  estimated_rows  bigint NOT NULL DEFAULT 0,   -- from pg_class when registered
  row_limit       bigint,                      -- of --limit; NULL: all
  scan_cursor     text[],                      -- last key scanned; NULL: not begun
  scan_done_at    timestamptz,
  rows_scanned    bigint NOT NULL DEFAULT 0,
  rows_found      bigint NOT NULL DEFAULT 0,   -- put into batches, by the scan and the sweeps
  sweep           integer NOT NULL DEFAULT 0,  -- number of the sweep under way or last done
  sweep_cursor    text[],
  sweep_found     bigint NOT NULL DEFAULT 0,   -- by the sweep under way
  sweep_last      bigint,                      -- by the one before; NULL: none yet
  sweep_stuck     integer NOT NULL DEFAULT 0,  -- sweeps in a row that found no less than the one before
  sweep_done_at   timestamptz,                 -- when that sweep was through; NULL: it is under way
  sweep_xid       xid8,                        -- transactions older than this may still hide rows from the last sweep, or from the scan
  -- who produces and who audits
  producer        text,
  producer_epoch  bigint NOT NULL DEFAULT 0,
  producer_until  timestamptz,
  auditor         text,
  auditor_until   timestamptz,
  audit_floor     bigint NOT NULL DEFAULT 0,   -- every batch with a smaller number is finished
  push_seq        bigint NOT NULL DEFAULT 0,   -- committed before each push; Redis's marker repeats it after the push
  crashes         integer NOT NULL DEFAULT 0,  -- of the server under its statements, each counted once; from the third on each pauses it
  crash_seen      timestamptz DEFAULT pg_stat_get_bgwriter_stat_reset_time(), -- the server's last crash that is known of, as it tells it
  crash_paused    timestamptz,                 -- the last one that it was paused for
  -- the circuit breaker's window, counted in finished rows
  breaker_from    bigint NOT NULL DEFAULT 0,
  breaker_base    bigint NOT NULL DEFAULT 0,   -- finished rows when it last began to run
  breaker_dead    bigint NOT NULL DEFAULT 0,
  created_at      timestamptz NOT NULL DEFAULT now(),
  created_by      text NOT NULL DEFAULT session_user,
  completed_at    timestamptz
) WITH (fillfactor = 50);

-- One sequence for all batches: a number names a batch in logs and in Redis without its migration.
CREATE SEQUENCE drover.batch_number;

CREATE TABLE drover.batches (
  migration_id   integer NOT NULL REFERENCES drover.migrations ON DELETE CASCADE,
  number         bigint NOT NULL DEFAULT nextval('drover.batch_number'),
  parent         bigint,                       -- the batch it was split off
  root           bigint,                       -- the batch that the first split began with
  first_key      text[] NOT NULL,              -- of what is left to do, if it is done in slices
  last_key       text[] NOT NULL,              -- inclusive
  keys           text[],                       -- the keys themselves, column after column within row after row, where a range will not do
  rows           integer NOT NULL,             -- found by the scan; less those of slices that are done
  state          text NOT NULL DEFAULT 'queued'
                 CHECK (state IN ('queued',    -- a batch that waits for a worker, or runs
                                  'done',      -- finished: changed, skipped or dead-lettered
                                  'split',     -- its children have its rows now
                                  'open',      -- a window of row jobs
                                  'closed')),  -- a window none of whose rows is left
  retry_count    integer NOT NULL DEFAULT 0,   -- failures after which it was tried again
  conflicts      integer NOT NULL DEFAULT 0,   -- those among them that were conflicts: they use up time, not tries
  marks          text[],                       -- runs of it that began and of which nobody has heard that they ended; NULL: it was never taken over
  losses         integer NOT NULL DEFAULT 0,   -- crashes of the server while it ran
  lost           integer NOT NULL DEFAULT 0,   -- of a window: audits that found rows of it neither done nor in Redis
  rows_changed   integer NOT NULL DEFAULT 0,
  rows_skipped   integer NOT NULL DEFAULT 0,
  rows_failed    integer NOT NULL DEFAULT 0,
  created_at     timestamptz NOT NULL DEFAULT now(),
  started_at     timestamptz,
  completed_at   timestamptz,
  failed_at      timestamptz,                  -- its last failure
  conflict_since timestamptz,                  -- first of the conflicts in a row
  worker         text,
  last_error     text,
  closed_xid     xid8,                         -- noted once it was seen closed: receipts may go when no older transaction is left
  PRIMARY KEY (migration_id, number)
) WITH (fillfactor = 70);                      -- updates stay HOT: no index on anything that changes

ALTER SEQUENCE drover.batch_number OWNED BY drover.batches.number;
CREATE INDEX batches_root ON drover.batches (migration_id, root) WHERE root IS NOT NULL;

CREATE TABLE drover.failed_jobs (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration_id    integer NOT NULL REFERENCES drover.migrations ON DELETE CASCADE,
  batch           bigint NOT NULL,             -- the batch or window it failed in
  root            bigint NOT NULL,             -- the batch that the splits began with
  key             text[] NOT NULL,
  key_hash        uuid NOT NULL,               -- drover.key_hash(key): keys may be larger than an index takes
  state           text NOT NULL
                  CHECK (state IN ('retrying', 'dead', 'queued', 'done', 'gone', 'not pending', 'ignored')),
  attempts        integer NOT NULL DEFAULT 1,  -- since it was last queued
  conflicts       integer NOT NULL DEFAULT 0,  -- those among them that met a conflict: they use up time, not tries
  sqlstate        text,
  message         text,
  detail          text,
  hint            text,
  context         text,
  constraint_name text,
  statement       text,                        -- the SQL that failed
  "row"           text,                        -- the row as it was, as JSON; capped
  fingerprint     text,                        -- groups failures of one kind
  worker          text,
  first_failed_at timestamptz NOT NULL DEFAULT now(),
  last_failed_at  timestamptz NOT NULL DEFAULT now(),
  conflict_since  timestamptz,
  due_at          timestamptz,                 -- of the next attempt, while retrying
  queued_at       timestamptz,                 -- of the last replay
  replays         integer NOT NULL DEFAULT 0,
  losses          integer NOT NULL DEFAULT 0,
  marks           text[],                      -- as a batch's
  history         jsonb NOT NULL DEFAULT '[]', -- what became of it before: [{at, event, sqlstate, message, worker}], the last 50
  UNIQUE (migration_id, key_hash)
) WITH (fillfactor = 70);

CREATE INDEX failed_jobs_waiting ON drover.failed_jobs (migration_id, id) WHERE state IN ('queued', 'retrying');
-- Counted again and again, by the index alone. No query finds rows by it: under another collation than the comparisons' it is no choice for
-- those that walk all dead letters in the order of their ids, chunk by chunk, and that would read and sort the rest of them for each.
CREATE INDEX failed_jobs_state ON drover.failed_jobs (migration_id, state COLLATE "C");
CREATE INDEX failed_jobs_root ON drover.failed_jobs (migration_id, root);

-- A row of a ledger-only migration in row mode whose fate is settled: changed, or handed to failed_jobs.
CREATE TABLE drover.row_receipts (
  migration_id integer NOT NULL,
  batch        bigint NOT NULL,
  key_hash     uuid NOT NULL,
  PRIMARY KEY (migration_id, batch, key_hash)
);

-- Rows changed by runs of row jobs, a line for each transaction: a window all of whose rows are counted is closed unseen, and its lines go.
CREATE TABLE drover.window_counts (
  migration_id integer NOT NULL,
  batch        bigint NOT NULL,
  rows         integer NOT NULL
);
CREATE INDEX window_counts_batch ON drover.window_counts (migration_id, batch);

-- What each lane has done, counted in the transaction that did it. A lane writes its own row alone.
CREATE TABLE drover.lane_counts (
  migration_id integer NOT NULL REFERENCES drover.migrations ON DELETE CASCADE,
  lane         text NOT NULL,
  rows_changed bigint NOT NULL DEFAULT 0,
  rows_skipped bigint NOT NULL DEFAULT 0,
  jobs         bigint NOT NULL DEFAULT 0,
  updated_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (migration_id, lane)
) WITH (fillfactor = 30);

CREATE TABLE drover.worker_config (
  migration_id integer NOT NULL DEFAULT 0,     -- 0: all migrations
  key          text NOT NULL,
  value        text NOT NULL,
  updated_at   timestamptz NOT NULL DEFAULT now(),
  updated_by   text NOT NULL DEFAULT session_user,
  PRIMARY KEY (migration_id, key)
);

-- How far the fleet gives way to others, as the worker that watches found.
CREATE TABLE drover.throttle (
  migration_id  integer PRIMARY KEY REFERENCES drover.migrations ON DELETE CASCADE,
  watcher       text NOT NULL,
  watched_until timestamptz NOT NULL,          -- then another may
  rung          integer NOT NULL DEFAULT 0,    -- worker/throttle.c: what workers do on it. 0: full speed
  signal        text,                          -- that holds it; NULL on rung 0
  detail        text,
  since         timestamptz,
  unseen        text                           -- what could not be seen, and what would help; NULL: nothing
) WITH (fillfactor = 30);

CREATE TABLE drover.workers (
  name         text PRIMARY KEY,
  host         text NOT NULL,
  pid          integer NOT NULL,
  version      text NOT NULL,
  lanes        integer NOT NULL,
  state        text NOT NULL,                  -- running, paused, draining; waiting: for Redis or for a connection of a lane; outdated: the schema is newer
  migrations   text[],                         -- names of those that it may work on; NULL: all
  doing        jsonb NOT NULL DEFAULT '[]',    -- per busy lane: {lane, migration, job, rows, ms}
  jobs_done    bigint NOT NULL DEFAULT 0,
  rows_done    bigint NOT NULL DEFAULT 0,
  rows_per_s   double precision NOT NULL DEFAULT 0, -- changed between its last two heartbeats
  cannot       jsonb NOT NULL DEFAULT '[]',    -- what it leaves alone, and why: {migration, why}
  restart_asked boolean NOT NULL DEFAULT false,
  started_at   timestamptz NOT NULL DEFAULT now(),
  heartbeat_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE drover.events (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  migration_id integer,
  migration    text,                           -- its name then
  actor        text NOT NULL,
  action       text NOT NULL,                  -- register, pause, resume, cancel, complete, retry, forget, config, amend ...
  detail       text
);
CREATE INDEX events_migration ON drover.events (migration_id, id);
