-- doctor_jobs: what the ledger says of a migration's jobs that do not get done. Params: $1 migration id. Returns one row: conflicts (batches and rows
-- whose last attempts met locks and the like), conflict_s (since the first of them did), retrying (rows that wait for their next attempt),
-- next_s, last_s (until the first and the last of these is due), last_error (of a batch that is tried again).
WITH left_over AS MATERIALIZED (
  SELECT b.conflict_since, b.last_error, b.failed_at
    FROM drover.batches AS b JOIN drover.migrations AS m ON m.id = b.migration_id
   WHERE b.migration_id = $1::integer AND b.number >= m.audit_floor AND b.state = 'queued' AND b.retry_count > 0
), rows AS MATERIALIZED (
  SELECT conflict_since, due_at FROM drover.failed_jobs WHERE migration_id = $1::integer AND state = 'retrying'
)
SELECT (SELECT pg_catalog.count(conflict_since) FROM left_over) + (SELECT pg_catalog.count(conflict_since) FROM rows) AS conflicts,
       extract(epoch FROM pg_catalog.now() - least((SELECT pg_catalog.min(conflict_since) FROM left_over),
                                                  (SELECT pg_catalog.min(conflict_since) FROM rows)))::bigint AS conflict_s,
       (SELECT pg_catalog.count(*) FROM rows) AS retrying,
       (SELECT extract(epoch FROM pg_catalog.min(due_at) - pg_catalog.now())::bigint FROM rows) AS next_s,
       (SELECT extract(epoch FROM pg_catalog.max(due_at) - pg_catalog.now())::bigint FROM rows) AS last_s,
       (SELECT pg_catalog.left(last_error, 300) FROM left_over WHERE last_error IS NOT NULL ORDER BY failed_at DESC NULLS LAST LIMIT 1) AS last_error
