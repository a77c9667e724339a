-- receipts: of the row jobs claimed, keep those that this transaction is the first to settle, in drover.claim1 ..
-- A key outside its window, or of a window that is closed, is left out. Waits for a transaction that is settling the same row.
WITH asked AS MATERIALIZED (
  SELECT * FROM {asked} AS a(batch, {k})
), members AS MATERIALIZED (
  SELECT b.number, drover.key_hash(pg_catalog.array_agg(u.v ORDER BY u.o)) AS key_hash
    FROM drover.batches b, pg_catalog.unnest(b.keys) WITH ORDINALITY AS u(v, o)
   WHERE b.migration_id = {migration} AND b.number IN (SELECT batch FROM asked)
   GROUP BY b.number, (u.o - 1) / {columns}
), settled AS (
  INSERT INTO drover.row_receipts (migration_id, batch, key_hash)
  SELECT DISTINCT b.migration_id, b.number, drover.key_hash({key_text}) AS key_hash
    FROM asked
    JOIN drover.batches b ON b.migration_id = {migration} AND b.number = asked.batch AND (b.state = 'open' OR pg_catalog.current_setting('drover.batch') <> '')
    JOIN {table} ON {key_is_asked}
   WHERE {between:b.first_key,b.last_key}
     AND (b.keys IS NULL OR (b.number, drover.key_hash({key_text})) IN (SELECT number, key_hash FROM members))
   ORDER BY b.number, key_hash
  ON CONFLICT DO NOTHING
  RETURNING key_hash
)
SELECT {save_claim}
  FROM (SELECT {key_as} FROM {table} WHERE {in_claim} AND drover.key_hash({key_text}) IN (SELECT key_hash FROM settled) ORDER BY {key}) AS mine
