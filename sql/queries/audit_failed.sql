-- audit_failed: replays and retries of rows that were pushed before a moment. Params as audit_batches, $2 an id.
-- Returns: id, delay_ms until it is due; in the order of ids.
SELECT id, greatest(coalesce(pg_catalog.date_part('epoch', due_at - pg_catalog.now()) * 1000, 0), 0)::bigint AS delay_ms
  FROM drover.failed_jobs
 WHERE migration_id = $1::integer AND id > $2::bigint AND state IN ('queued', 'retrying')
   AND greatest(queued_at, last_failed_at) < $3::timestamptz - $4::bigint * interval '1 ms'
 ORDER BY id LIMIT $5::integer
