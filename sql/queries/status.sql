-- status: where a migration stands, from the ledger alone. Params: $1 migration id (0: all). One row per migration, oldest first.
-- rows_finished: changed, skipped, or given up (dead, ignored). share: of the work, 0 to 1, by the part of the table scanned and the part
-- of what was found there that is finished; NULL while the scan has not begun.
-- rung, signal, detail, since, unseen: how far the fleet gives way to others (worker/throttle.h), while somebody watches.
-- Dead letters are counted in one pass for all migrations: one each would look so dear that the server compiles it first.
SELECT s.*,
       CASE WHEN s.state IN ('complete', 'limited') THEN 1
            WHEN s.scan_done_at IS NULL AND s.rows_scanned = 0 THEN NULL
            ELSE CASE WHEN s.scan_done_at IS NOT NULL THEN 1
                      ELSE s.rows_scanned / greatest(s.estimated_rows, s.rows_scanned * 1.02, 1) END
               * CASE WHEN s.rows_found = 0 THEN 1 ELSE s.rows_finished::numeric / s.rows_found END
       END::double precision AS share,
       CASE WHEN s.scan_done_at IS NOT NULL OR s.rows_scanned = 0 THEN s.rows_found
            ELSE s.rows_found * greatest(s.estimated_rows::numeric, s.rows_scanned) / s.rows_scanned END::bigint AS rows_expected
  FROM (
    SELECT m.id, m.name, m.revision, m.mode, m.ledger_only, m.state, m.state_reason, m.state_by, m.state_at, m.halted,
           extract(epoch FROM now() - m.state_at) AS state_s, m.table_name,
           m.batch_size, m.estimated_rows, m.row_limit, m.created_at, m.created_by, m.completed_at,
           m.scan_done_at, m.rows_scanned, m.rows_found, m.sweep, m.sweep_found, m.sweep_last, m.sweep_stuck,
           m.producer, coalesce(m.producer_until > now(), false) AS producing,
           m.auditor, coalesce(m.auditor_until > now(), false) AS auditing,
           coalesce(m.sweep_xid > pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), false) AS sweep_waits,
           CASE WHEN t.detail IS NOT NULL THEN t.rung ELSE 0 END AS rung, t.signal, t.detail, t.since AS held_since, extract(epoch FROM now() - t.since) AS held_s, t.unseen,
           c.rows_changed, c.rows_skipped, c.jobs_done, c.last_commit_at, extract(epoch FROM now() - c.last_commit_at) AS idle_s,
           coalesce(f.dead, 0) AS dead, coalesce(f.waiting, 0) AS waiting, coalesce(f.ignored, 0) AS ignored,
           coalesce(f.settled, 0) AS settled, b.incomplete,
           least(c.rows_changed + c.rows_skipped + coalesce(f.dead + f.ignored, 0), m.rows_found) AS rows_finished,
           w.workers_may, w.workers_able, w.lanes_able, coalesce(d.lanes_busy, 0) AS lanes_busy
      FROM drover.migrations AS m
      LEFT JOIN drover.throttle AS t ON t.migration_id = m.id AND m.state = 'running' AND t.watched_until > now()
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(rows_changed), 0)::bigint AS rows_changed, coalesce(sum(rows_skipped), 0)::bigint AS rows_skipped,
               coalesce(sum(jobs), 0)::bigint AS jobs_done, max(updated_at) AS last_commit_at
          FROM drover.lane_counts WHERE migration_id = m.id) AS c
      LEFT JOIN (
        SELECT migration_id, count(*) FILTER (WHERE state = 'dead') AS dead,
               count(*) FILTER (WHERE state IN ('retrying', 'queued')) AS waiting,
               count(*) FILTER (WHERE state = 'ignored') AS ignored,
               count(*) FILTER (WHERE state IN ('done', 'gone', 'not pending')) AS settled
          FROM drover.failed_jobs WHERE $1::integer = 0 OR migration_id = $1::integer GROUP BY migration_id) AS f ON f.migration_id = m.id
      CROSS JOIN LATERAL (
        SELECT count(*) AS incomplete FROM drover.batches
         WHERE migration_id = m.id AND number >= m.audit_floor AND state IN ('queued', 'open')) AS b
      CROSS JOIN LATERAL (
        SELECT count(*) AS workers_may, count(*) FILTER (WHERE w.state = 'running') AS workers_able,
               coalesce(sum(w.lanes) FILTER (WHERE w.state = 'running'), 0) AS lanes_able
          FROM drover.workers AS w
         WHERE w.heartbeat_at > now() - interval '15 s' AND (w.migrations IS NULL OR m.name = ANY (w.migrations))
           AND NOT EXISTS (SELECT FROM jsonb_array_elements(w.cannot) AS c WHERE c ->> 'migration' = m.name)) AS w
      LEFT JOIN (
        SELECT d ->> 'migration' AS name, count(*) AS lanes_busy
          FROM drover.workers AS w CROSS JOIN LATERAL jsonb_array_elements(w.doing) AS d
         WHERE w.heartbeat_at > now() - interval '15 s' AND w.state <> 'waiting' GROUP BY 1) AS d ON d.name = m.name
     WHERE $1::integer = 0 OR m.id = $1::integer) AS s
 ORDER BY s.id
