-- tend_list: migrations that a steward looks after: without a producer, and running or with dead letters on their way.
-- Params: $1 who, $2 names, or NULL for all. Returns: id, of those whose audit lease is free, ours, or a dead worker's
-- (audit_lease_take.sql).
SELECT m.id
  FROM drover.migrations AS m
 WHERE (m.producer_until IS NULL OR m.producer_until < pg_catalog.now())
   AND (m.auditor = $1 OR m.auditor_until IS NULL OR m.auditor_until < pg_catalog.now()
        OR EXISTS (SELECT FROM drover.workers AS w WHERE w.name = m.auditor AND w.heartbeat_at < pg_catalog.now() - interval '12 s'))
   AND (m.state = 'running'
        OR m.state IN ('complete', 'limited')
           AND EXISTS (SELECT FROM drover.failed_jobs AS f WHERE f.migration_id = m.id AND f.state IN ('queued', 'retrying')))
   AND ($2::text[] IS NULL OR m.name = ANY ($2::text[]))
 ORDER BY m.id
