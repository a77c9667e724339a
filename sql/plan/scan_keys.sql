-- scan_keys: one window of the scan where nearly every row is pending: batches of $3 rows each, whichever they are, cut by their keys alone.
-- Parameters and result as those of scan, the first four of them; $1 is not NULL. The end of the table is left to scan: what is no whole batch is not taken.
-- A walk over the index alone where the table is vacuumed.
WITH RECURSIVE drover_edges AS (
  SELECT 0::bigint AS n, $1::text[] COLLATE pg_catalog."default" AS edge
   UNION ALL
  SELECT drover_edges.n + 1, drover_next.edge
    FROM drover_edges
   CROSS JOIN LATERAL (SELECT {key_text} COLLATE pg_catalog."default" AS edge FROM {table} WHERE {beyond:drover_edges.edge} ORDER BY {key}
                        OFFSET $3::bigint - 1 LIMIT 1) AS drover_next
   WHERE (drover_edges.n + 1) * $3::bigint <= $2::bigint
), made AS (
  INSERT INTO drover.batches (migration_id, first_key, last_key, rows, state)
  SELECT {migration}, drover_first.edge, drover_part.edge, $3::bigint, $4::text
    FROM (SELECT n, edge, pg_catalog.lag(edge) OVER (ORDER BY n) AS before FROM drover_edges) AS drover_part
   CROSS JOIN LATERAL (SELECT {key_text} AS edge FROM {table} WHERE {beyond:drover_part.before} ORDER BY {key} LIMIT 1) AS drover_first
   WHERE drover_part.n > 0
   ORDER BY drover_part.n
  RETURNING number, rows
), sums AS (
  SELECT coalesce(pg_catalog.sum(rows), 0) AS rows, pg_catalog.array_agg(number ORDER BY number) AS numbers,
         pg_catalog.array_agg(rows ORDER BY number) AS counts, pg_catalog.array_agg(false) AS listed
    FROM made
)
SELECT (SELECT edge FROM drover_edges ORDER BY n DESC LIMIT 1) AS cursor, rows AS scanned, rows AS found, numbers, counts, listed FROM sums
