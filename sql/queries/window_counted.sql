-- window_counted: close the windows of row jobs all of whose rows were counted as changed, and drop the lines of those that are not open any more.
-- A row that the application put back meanwhile may be counted twice, and another not yet: its job runs all the same, or a sweep finds it.
-- Params: $1 migration id. Returns: one row: closed, how many.
WITH counted AS MATERIALIZED (
  SELECT c.batch, pg_catalog.sum(c.rows) AS rows FROM drover.window_counts AS c WHERE c.migration_id = $1::integer GROUP BY c.batch
), closed AS (
  UPDATE drover.batches AS b SET state = 'closed', completed_at = pg_catalog.clock_timestamp()
    FROM counted WHERE b.migration_id = $1::integer AND b.number = counted.batch AND b.state = 'open' AND b.rows <= counted.rows
  RETURNING b.number
), dropped AS (
  DELETE FROM drover.window_counts AS c USING counted JOIN drover.batches AS b ON b.migration_id = $1::integer AND b.number = counted.batch
   WHERE c.migration_id = $1::integer AND c.batch = counted.batch AND (b.state <> 'open' OR b.rows <= counted.rows)
)
SELECT pg_catalog.count(*) AS closed FROM closed
