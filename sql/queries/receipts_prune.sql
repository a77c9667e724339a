-- receipts_prune: drop receipts of closed windows that nobody can ask for any more. Params: $1 migration id, $2 windows at most.
-- Returns: nothing; the number of rows is the command's. Windows are found by skipping along the index.
-- The first run that sees a window closed notes its own transaction id: whoever claimed rows when the window could still be seen open
-- has a smaller one, for a claim takes an id before it looks. A later run deletes once all of those are gone.
WITH RECURSIVE seen(batch) AS (
  (SELECT r.batch FROM drover.row_receipts AS r WHERE r.migration_id = $1::integer ORDER BY r.batch LIMIT 1)
  UNION ALL
  SELECT (SELECT r.batch FROM drover.row_receipts AS r WHERE r.migration_id = $1::integer AND r.batch > seen.batch ORDER BY r.batch LIMIT 1)
    FROM seen WHERE seen.batch IS NOT NULL
), noted AS (
  UPDATE drover.batches AS b SET closed_xid = pg_catalog.pg_current_xact_id()
    FROM seen WHERE b.migration_id = $1::integer AND b.number = seen.batch AND b.state = 'closed' AND b.closed_xid IS NULL
), gone AS (
  SELECT b.number
    FROM seen JOIN drover.batches AS b ON b.migration_id = $1::integer AND b.number = seen.batch
   WHERE b.state = 'closed' AND b.closed_xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())
   LIMIT $2::integer
)
DELETE FROM drover.row_receipts AS r USING gone WHERE r.migration_id = $1::integer AND r.batch = gone.number
