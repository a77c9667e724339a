-- charge_counts: the numbers of the progress bar. Grows with the dead letters, so it is asked less often than charge_look.
-- Params: $1 migration id. Returns: one row.
SELECT (SELECT coalesce(pg_catalog.sum(rows_changed), 0)::bigint FROM drover.lane_counts WHERE migration_id = $1::integer) AS changed,
       (SELECT coalesce(pg_catalog.sum(rows_skipped), 0)::bigint FROM drover.lane_counts WHERE migration_id = $1::integer) AS skipped,
       (SELECT pg_catalog.count(*) FROM drover.failed_jobs WHERE migration_id = $1::integer AND state = 'dead') AS dead,
       (SELECT pg_catalog.count(*) FROM drover.failed_jobs WHERE migration_id = $1::integer AND state = 'ignored') AS ignored,
       (SELECT pg_catalog.count(*) FROM drover.failed_jobs WHERE migration_id = $1::integer AND state IN ('queued', 'retrying')) AS waiting,
       (SELECT pg_catalog.count(*) FROM drover.workers WHERE heartbeat_at > pg_catalog.now() - interval '15 s') AS workers
