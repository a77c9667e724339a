-- audit_batches: incomplete batches that were pushed before a moment. Params: $1 migration id, $2 above this number, $3 the moment, $4 grace in ms,
-- $5 at most. Returns: number, whether it is a window of row jobs, whether its keys are listed; in the order of numbers.
SELECT number, state = 'open' AS window, keys IS NOT NULL AS listed
  FROM drover.batches
 WHERE migration_id = $1::integer AND number > $2::bigint AND state IN ('queued', 'open')
   AND created_at < $3::timestamptz - $4::bigint * interval '1 ms'
 ORDER BY number LIMIT $5::integer
