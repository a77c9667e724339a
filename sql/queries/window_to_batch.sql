-- window_to_batch: make an open window a batch, for the predicate raises on some row of it, or a key is too long for a job of its own: what
-- is left of it is split by the workers until such rows are alone; or because jobs of its rows are done again and again, and the rows are not.
-- Params: $1 migration id, $2 number. Returns: listed, if it was open.
UPDATE drover.batches SET state = 'queued'
 WHERE migration_id = $1::integer AND number = $2::bigint AND state = 'open'
RETURNING keys IS NOT NULL AS listed
