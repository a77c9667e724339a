-- verify_ledger: what the ledger says of a migration, beside what the proof finds in its table. Params: $1 migration id. Returns: one row.
-- waiting: rows of batches that are not done, at most (some of a window's rows may be).
SELECT m.ledger_only, m.row_limit IS NOT NULL AS limited, m.scan_done_at IS NOT NULL AS scan_done, m.rows_scanned,
       (SELECT coalesce(pg_catalog.sum(b.rows), 0)::bigint FROM drover.batches AS b
         WHERE b.migration_id = m.id AND b.number >= m.audit_floor AND b.state IN ('queued', 'open')) AS waiting,
       (SELECT pg_catalog.count(*) FROM drover.failed_jobs AS f
         WHERE f.migration_id = m.id AND f.state IN ('dead', 'queued', 'retrying')) AS dead,
       (SELECT pg_catalog.count(*) FROM drover.failed_jobs AS f WHERE f.migration_id = m.id AND f.state = 'ignored') AS ignored
  FROM drover.migrations AS m
 WHERE m.id = $1::integer
