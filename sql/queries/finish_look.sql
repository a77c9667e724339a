-- finish_look: how much is left once the scan is through. Params: $1 migration id, $2 count batches up to this many.
-- Returns: incomplete (batches and windows, $2 at most), waiting (replays and retries are on their way).
SELECT pg_catalog.count(*) AS incomplete,
       EXISTS (SELECT FROM drover.failed_jobs AS f WHERE f.migration_id = $1::integer AND f.state IN ('queued', 'retrying')) AS waiting
  FROM (SELECT FROM drover.batches
         WHERE migration_id = $1::integer AND state IN ('queued', 'open')
           AND number >= (SELECT audit_floor FROM drover.migrations WHERE id = $1::integer)
         LIMIT $2::integer) AS b
