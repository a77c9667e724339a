-- grants: the least that each role needs, besides what its migrations touch. `drover init --worker-role NAME --producer-role NAME
-- --reader-role NAME` runs it for the roles named; with psql: psql -v worker=NAME -v producer=NAME -v reader=NAME -f grants.sql
--
-- On the application's tables grant by hand: to the workers SELECT and UPDATE on the migrated table, and whatever a backfill section or a
-- procedure touches; to the producer SELECT on the migrated table (row-level security must not apply to either).
-- Whoever may write migrations.source or migrations.plan runs SQL as the workers: give the producer role to operators alone.
-- Safe to run twice. The marks `-- role:` part it into sections.

-- role: worker
GRANT USAGE ON SCHEMA drover TO :"worker";
GRANT SELECT ON ALL TABLES IN SCHEMA drover TO :"worker";
-- Finishing (in slices: first_key, keys, rows), splitting and burying jobs; the audit, sweeps and completion when no producer runs. Never name, source, plan or options.
GRANT UPDATE (state, state_reason, state_by, state_at, halted, completed_at, crashes, crash_seen, crash_paused, breaker_from, breaker_base, breaker_dead, rows_scanned,
              rows_found, sweep, sweep_cursor, sweep_found, sweep_last, sweep_stuck, sweep_done_at, sweep_xid, producer, producer_epoch,
              producer_until, auditor, auditor_until, audit_floor, push_seq)
   ON drover.migrations TO :"worker";
GRANT INSERT ON drover.batches TO :"worker";
GRANT UPDATE (state, first_key, keys, rows, retry_count, conflicts, marks, losses, lost, rows_changed, rows_skipped, rows_failed, started_at, completed_at,
              failed_at, conflict_since, worker, last_error, closed_xid)
   ON drover.batches TO :"worker";
GRANT USAGE ON SEQUENCE drover.batch_number TO :"worker";
GRANT INSERT, UPDATE ON drover.failed_jobs TO :"worker";
GRANT INSERT, DELETE ON drover.row_receipts, drover.window_counts TO :"worker";
GRANT INSERT, UPDATE ON drover.lane_counts TO :"worker";
GRANT INSERT, UPDATE, DELETE ON drover.workers TO :"worker";
GRANT INSERT, UPDATE ON drover.throttle TO :"worker";
GRANT INSERT ON drover.events TO :"worker";

-- role: producer
GRANT USAGE ON SCHEMA drover TO :"producer";
GRANT SELECT ON ALL TABLES IN SCHEMA drover TO :"producer";
GRANT INSERT, UPDATE ON drover.migrations TO :"producer";
GRANT INSERT, UPDATE ON drover.batches TO :"producer";
GRANT USAGE ON SEQUENCE drover.batch_number TO :"producer";
GRANT INSERT, UPDATE, DELETE ON drover.failed_jobs TO :"producer";
GRANT DELETE ON drover.row_receipts, drover.window_counts TO :"producer";
GRANT INSERT, UPDATE, DELETE ON drover.worker_config TO :"producer";
GRANT UPDATE (restart_asked) ON drover.workers TO :"producer";
GRANT DELETE ON drover.workers TO :"producer";
GRANT INSERT ON drover.events TO :"producer";

-- role: reader
GRANT USAGE ON SCHEMA drover TO :"reader";
GRANT SELECT ON ALL TABLES IN SCHEMA drover TO :"reader";
