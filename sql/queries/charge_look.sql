-- charge_look: where a migration stands, for whoever tends it; twice a second, so nothing of it may grow with the table.
-- Params: $1 migration id. Returns: one row, or none. recovered: when the server last began its statistics anew, in microseconds, which it
-- does after a crash, and booted: when it was started as a whole, which a crash of one backend does not change; only to compare.
-- rung: how far the fleet gives way; NULL where nobody watches that.
SELECT m.state, coalesce(m.state_reason, '') AS state_reason, coalesce(m.state_by, '') AS state_by, m.revision, m.row_limit,
       coalesce((SELECT w.value::integer FROM drover.worker_config AS w WHERE w.migration_id = m.id AND w.key = 'batch_size'),
                m.batch_size) AS batch_size,
       m.scan_cursor::text AS scan_cursor, m.scan_done_at IS NOT NULL AS scan_done, m.rows_scanned, m.rows_found, m.estimated_rows,
       m.sweep, m.sweep_cursor::text AS sweep_cursor, m.sweep_found, m.sweep_last, m.sweep_stuck,
       m.sweep_done_at IS NOT NULL AS sweep_done,
       coalesce(pg_catalog.date_part('epoch', pg_catalog.now() - m.sweep_done_at), 0) AS sweep_done_s,
       coalesce(m.sweep_xid > pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), false) AS sweep_waits,
       (extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::bigint AS recovered,
       (SELECT t.rung FROM drover.throttle AS t WHERE t.migration_id = m.id AND t.watched_until > pg_catalog.now()) AS rung,
       (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint AS booted,
       m.producer_epoch, coalesce(m.auditor, '') AS auditor, m.audit_floor, m.push_seq,
       EXISTS (SELECT FROM drover.failed_jobs AS f WHERE f.migration_id = m.id) AS has_failed,
       drover.settings_of(m.id)::text AS settings_now
  FROM drover.migrations AS m
 WHERE m.id = $1::integer
