-- receipts: of the row jobs claimed, keep those that this transaction is the first to settle, in drover.claim1 ..
-- A key outside its window, or of a window that is closed, is left out. Waits for a transaction that is settling the same row.
WITH asked AS (
  SELECT * FROM pg_catalog.unnest(pg_catalog.current_setting('drover.windows')::bigint[], {claim_arrays}) AS a(batch, {claim_names})
), settled AS (
  INSERT INTO drover.row_receipts (migration_id, batch, key_hash)
  SELECT DISTINCT b.migration_id, b.number, drover.key_hash({key_text})
    FROM asked
    JOIN drover.batches b ON b.migration_id = {migration} AND b.number = asked.batch AND b.state = 'open'
    JOIN {table} ON {key_is_asked}
   WHERE {between:b.first_key,b.last_key} AND (b.keys IS NULL OR {window_has_key})
  ON CONFLICT DO NOTHING
  RETURNING key_hash
)
SELECT {save_claim}
  FROM (SELECT {key} FROM asked JOIN {table} ON {key_is_asked}
         WHERE drover.key_hash({key_text}) IN (SELECT key_hash FROM settled)) AS mine
