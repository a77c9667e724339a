-- worker_failed_look: how often a replayed row failed so far, before this failure is written. $1 migration, $2 id, $3 kind of the failure.
-- Returns no row if it is not queued any more. The counts include the failure that is being judged.
SELECT state, 1 AS rows, attempts - conflicts + ($3 NOT IN ('conflict', 'wait', 'loss'))::integer AS attempts,
       conflicts + ($3 = 'conflict')::integer AS conflicts, losses,
       coalesce(extract(epoch FROM pg_catalog.now() - conflict_since), 0) AS conflict_s
  FROM drover.failed_jobs
 WHERE migration_id = $1::integer AND id = $2::bigint AND state IN ('queued', 'retrying')
