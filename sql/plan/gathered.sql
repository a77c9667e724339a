-- gathered: batches of $1 rows each out of the keys that gather found, as lists. $2 .. the keys, an array per key column, in key order.
-- Returns one row: arrays over the new batches, numbers, counts, listed; and cursor as a scan at its end. Run in the transaction that moves the cursor.
WITH parts AS (
  SELECT (i - 1) / ($1::bigint * {columns}) AS part, pg_catalog.count(*) / {columns} AS rows, pg_catalog.array_agg(v ORDER BY i) AS keys
    FROM ({given_keys}) AS given GROUP BY part
), made AS (
  INSERT INTO drover.batches (migration_id, first_key, last_key, rows, state, keys)
  SELECT {migration}, keys[1:{columns}], keys[(rows - 1) * {columns} + 1:], rows, 'queued', keys
    FROM parts ORDER BY part
  RETURNING number, rows
)
SELECT pg_catalog.array_agg(number ORDER BY number) AS numbers, pg_catalog.array_agg(rows ORDER BY number) AS counts,
       pg_catalog.array_agg(true) AS listed, NULL::text[] AS cursor
  FROM made
