-- scan_move: move the cursor of the scan, in the transaction that made the batches, just before its commit.
-- Params: $1 migration id, $2 epoch, $3 revision, $4 cursor (text[]), $5 number of the last batch made if the window was cut behind it
-- (its last key is the cursor then), else NULL, $6 scanned, $7 found, $8 the scan is through, $9 lease in ms.
-- Returns: one row with push_seq, and whether failed rows exist; none if the migration stopped or another took over: roll back.
UPDATE drover.migrations AS m
   SET scan_cursor = CASE WHEN $5::bigint IS NULL THEN coalesce($4::text[], m.scan_cursor)
                          ELSE (SELECT b.last_key FROM drover.batches AS b WHERE b.migration_id = $1::integer AND b.number = $5::bigint) END,
       rows_scanned = m.rows_scanned + $6::bigint, rows_found = m.rows_found + $7::bigint,
       scan_done_at = CASE WHEN $8::boolean THEN pg_catalog.now() END,
       sweep_xid = CASE WHEN $8::boolean THEN greatest(pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()), pg_catalog.pg_current_xact_id())
                        ELSE m.sweep_xid END,
       push_seq = m.push_seq + 1, producer_until = pg_catalog.now() + $9::bigint * interval '1 ms',
       auditor_until = pg_catalog.now() + $9::bigint * interval '1 ms'
 WHERE m.id = $1::integer AND m.producer_epoch = $2::bigint AND m.revision = $3::integer AND m.state = 'running' AND m.scan_done_at IS NULL
RETURNING m.push_seq, m.scan_cursor::text AS cursor, EXISTS (SELECT FROM drover.failed_jobs AS f WHERE f.migration_id = m.id) AS has_failed
