-- close: close the windows of row jobs in which no row is left. $1 and $2 first and last number, $3 whether failed rows exist.
-- Returns the numbers closed.
UPDATE drover.batches AS b
   SET state = 'closed', completed_at = pg_catalog.clock_timestamp(), closed_xid = pg_catalog.pg_current_xact_id(),
       rows_failed = CASE WHEN $3::boolean THEN (SELECT pg_catalog.count(*) FROM drover.failed_jobs f
                                                  WHERE f.migration_id = b.migration_id AND f.root = b.number) ELSE 0 END
 WHERE b.migration_id = {migration} AND b.number BETWEEN $1::bigint AND $2::bigint AND b.state = 'open'
   AND NOT EXISTS ({left:$3})
RETURNING b.number
