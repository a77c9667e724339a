-- receipts: of the row jobs claimed, keep those that this transaction is the first to settle, in drover.claim1 ..
-- A key outside its window, or of a window that is closed, is left out. Waits for a transaction that is settling the same row.
-- "IS TRUE" keeps the last IN a hashed lookup: nobody knows beforehand how many rows the insertion will return.
WITH drover_asked AS MATERIALIZED (
  SELECT * FROM {asked} AS a(batch, {k})
), drover_members AS MATERIALIZED (
  SELECT drover_b.number, drover.key_hash(pg_catalog.array_agg(u.v ORDER BY u.o)) AS key_hash
    FROM drover.batches drover_b, pg_catalog.unnest(drover_b.keys) WITH ORDINALITY AS u(v, o)
   WHERE drover_b.migration_id = {migration} AND drover_b.number IN (SELECT batch FROM drover_asked)
   GROUP BY drover_b.number, (u.o - 1) / {columns}
), drover_found AS MATERIALIZED (
  SELECT drover_b.number, {key_as}, drover.key_hash({key_text}) AS key_hash, drover_b.keys IS NOT NULL AS listed
    FROM drover_asked
    JOIN drover.batches drover_b ON drover_b.migration_id = {migration} AND drover_b.number = drover_asked.batch
                                AND (drover_b.state = 'open' OR pg_catalog.current_setting('drover.batch') <> '')
    JOIN {table} ON {key_is_of:drover_asked}
   WHERE {between:drover_b.first_key,drover_b.last_key}
), drover_settled AS (
  INSERT INTO drover.row_receipts (migration_id, batch, key_hash)
  SELECT DISTINCT {migration}, number, key_hash
    FROM drover_found WHERE NOT listed OR (number, key_hash) IN (SELECT number, key_hash FROM drover_members)
   ORDER BY number, key_hash
  ON CONFLICT DO NOTHING
  RETURNING key_hash
)
SELECT {save_claim}
  FROM drover_found WHERE (key_hash IN (SELECT key_hash FROM drover_settled)) IS TRUE
