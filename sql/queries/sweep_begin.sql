-- sweep_begin: start the next sweep. Params: $1 migration id, $2 epoch, $3 auditor. Returns: one row, or none if the time is not right.
UPDATE drover.migrations
   SET sweep = sweep + 1, sweep_cursor = NULL, sweep_found = 0, sweep_done_at = NULL
 WHERE id = $1::integer AND producer_epoch = $2::bigint AND auditor = $3 AND state = 'running' AND scan_done_at IS NOT NULL
   AND (sweep = 0 OR sweep_done_at IS NOT NULL)
   AND (sweep_xid IS NULL OR sweep_xid <= pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))
RETURNING sweep
