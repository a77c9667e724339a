-- produce_begin: put a migration on its way as its new producer wants it. Params: $1 migration id, $2 epoch, $3 row limit or NULL (all),
-- $4 batch size or NULL (as it is). Returns: its state; none if another took over.
-- A batch size is kept as one of the file's would be: workers leave it alone.
-- A scan that ended at its limit may go on from there; sweeps may try anew.
UPDATE drover.migrations
   SET row_limit = CASE WHEN $3::bigint IS NULL OR state = 'complete' THEN NULL                 -- nothing is left to be limited
                        WHEN state = 'running' AND row_limit IS NOT NULL THEN row_limit  -- resumed: the limit it was started with
                        WHEN state = 'limited' THEN rows_found + $3::bigint              -- so many more
                        ELSE $3::bigint END,
       scan_done_at = CASE WHEN row_limit IS NULL THEN scan_done_at END,
       batch_size = coalesce($4::integer, batch_size), sweep_stuck = 0,
       options = CASE WHEN $4::integer IS NULL THEN options
                      ELSE options || pg_catalog.jsonb_build_object('batch_size', $4::integer::text) END
 WHERE id = $1::integer AND producer_epoch = $2::bigint
RETURNING state
