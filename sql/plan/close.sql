-- close: close the windows of row jobs in which no row is left. $1 and $2 first and last number, $3 whether failed rows exist.
-- Returns the numbers closed. "IS TRUE" has each window searched by its bounds, rather than joined.
UPDATE drover.batches AS drover_b
   SET state = 'closed', completed_at = pg_catalog.clock_timestamp(),
       rows_failed = CASE WHEN $3::boolean THEN (SELECT pg_catalog.count(*) FROM drover.failed_jobs drover_f
                                                  WHERE drover_f.migration_id = drover_b.migration_id AND drover_f.root = drover_b.number) ELSE 0 END
 WHERE drover_b.migration_id = {migration} AND drover_b.number BETWEEN $1::bigint AND $2::bigint AND drover_b.state = 'open'
   AND (NOT EXISTS ({left:$3})) IS TRUE
RETURNING drover_b.number
