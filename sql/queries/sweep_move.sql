-- sweep_move: move the cursor of the sweep, in the transaction that made the batches, just before its commit.
-- Params: $1 migration id, $2 epoch, $3 revision, $4 cursor (text[]), $5 as in scan_move, $6 found, $7 the sweep is through, $8 auditor.
-- Returns: one row with push_seq and what the sweep has found so far; none if the migration stopped or another took over: roll back.
UPDATE drover.migrations AS m
   SET sweep_cursor = CASE WHEN $5::bigint IS NULL THEN coalesce($4::text[], m.sweep_cursor)
                           ELSE (SELECT b.last_key FROM drover.batches AS b WHERE b.migration_id = $1::integer AND b.number = $5::bigint) END,
       rows_found = m.rows_found + $6::bigint, sweep_found = m.sweep_found + $6::bigint, push_seq = m.push_seq + 1,
       sweep_done_at = CASE WHEN $7::boolean THEN pg_catalog.now() END,
       sweep_xid = CASE WHEN $7::boolean THEN greatest(pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()), pg_catalog.pg_current_xact_id())
                        ELSE m.sweep_xid END,
       sweep_last = CASE WHEN $7::boolean THEN m.sweep_found + $6::bigint ELSE m.sweep_last END,
       sweep_stuck = CASE WHEN NOT $7::boolean THEN m.sweep_stuck
                          WHEN m.sweep_found + $6::bigint > 0 AND m.sweep_found + $6::bigint >= m.sweep_last THEN m.sweep_stuck + 1
                          ELSE 0 END
 WHERE m.id = $1::integer AND m.producer_epoch = $2::bigint AND m.revision = $3::integer AND m.state = 'running' AND m.auditor = $8
   AND m.sweep_done_at IS NULL
RETURNING m.push_seq, m.sweep_cursor::text AS cursor, EXISTS (SELECT FROM drover.failed_jobs AS f WHERE f.migration_id = m.id) AS has_failed
