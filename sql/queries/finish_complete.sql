-- finish_complete: end a migration of which nothing is left. Params: $1 migration id, $2 epoch, $3 auditor, $4 the new state, $5 actor, $6 detail.
-- Returns: one row, done, if it may be.
SELECT drover.set_state(m.id, ARRAY['running'], $4, $5, $6) AS done
  FROM drover.migrations AS m
 WHERE m.id = $1::integer AND m.producer_epoch = $2::bigint AND m.auditor = $3 AND m.state = 'running' AND m.scan_done_at IS NOT NULL
   AND (m.row_limit IS NOT NULL OR m.ledger_only OR m.sweep_done_at IS NOT NULL AND m.sweep_found = 0)
   AND NOT EXISTS (SELECT FROM drover.batches AS b
                    WHERE b.migration_id = m.id AND b.number >= m.audit_floor AND b.state IN ('queued', 'open'))
   AND NOT EXISTS (SELECT FROM drover.failed_jobs AS f WHERE f.migration_id = m.id AND f.state IN ('queued', 'retrying'))
