-- scan_keys: one window of the scan where nearly every row is pending: batches of $3 rows each, whichever they are, cut by their keys alone.
-- Parameters and result as those of scan, the first four of them; $1 is not NULL. $5: so many become one batch if their keys lie close together,
-- one column of whole numbers then: drover.take_turn() knows no better than to cut in equal parts what lies between the first and the last.
-- $6: the keys are whole numbers nearly without gaps, as the last window that was looked at has shown: a batch ends $3 above the last one, and none of its
-- keys is read; it has $3 rows at most. It is over where there is no such key, or none just behind the last one.
-- The end of the table is left to scan: what is no whole batch is not taken. A walk over the index alone where the table is vacuumed.
WITH RECURSIVE drover_edges AS (
  SELECT 0::bigint AS n, $1::text[] COLLATE pg_catalog."default" AS edge
   UNION ALL
  SELECT drover_edges.n + 1, drover_next.edge
    FROM drover_edges
   CROSS JOIN LATERAL ((SELECT {key_text} COLLATE pg_catalog."default" AS edge FROM {table}
                         WHERE $6::boolean AND {ahead:drover_edges.edge,=,$3::bigint}
                           AND EXISTS (SELECT FROM {table} WHERE {beyond:drover_edges.edge} AND {ahead:drover_edges.edge,<=,$3::bigint / 100 + 1}))
                         UNION ALL
                        (SELECT {key_text} COLLATE pg_catalog."default" FROM {table}
                          WHERE NOT $6::boolean AND {beyond:drover_edges.edge} ORDER BY {key} OFFSET $3::bigint - 1 LIMIT 1)) AS drover_next
   WHERE (drover_edges.n + 1) * $3::bigint <= $2::bigint
), drover_large AS (
  SELECT n, before, edge FROM (SELECT n, edge, pg_catalog.lag(edge, $5::integer) OVER (ORDER BY n) AS before FROM drover_edges) AS drover_group
   WHERE CASE WHEN $5::integer > 1 AND n > 0 AND n % $5::integer = 0
              THEN edge[1]::numeric - before[1]::numeric < 2 * $3::bigint * $5::integer ELSE false END
), drover_parts AS (
  SELECT n, before, edge, $3::bigint * $5::integer AS rows FROM drover_large
   UNION ALL
  SELECT n, before, edge, $3::bigint FROM (SELECT n, edge, pg_catalog.lag(edge) OVER (ORDER BY n) AS before FROM drover_edges) AS drover_one
   WHERE n > 0 AND (n + $5::integer - 1) / $5::integer * $5::integer NOT IN (SELECT n FROM drover_large)
), made AS (
  INSERT INTO drover.batches (migration_id, first_key, last_key, rows, state)
  SELECT {migration}, drover_first.edge, drover_parts.edge, drover_parts.rows, $4::text
    FROM drover_parts
   CROSS JOIN LATERAL (SELECT {key_text} AS edge FROM {table} WHERE {beyond:drover_parts.before} ORDER BY {key} LIMIT 1) AS drover_first
   ORDER BY drover_parts.n
  RETURNING number, rows
), sums AS (
  SELECT coalesce(pg_catalog.sum(rows), 0) AS rows, pg_catalog.array_agg(number ORDER BY number) AS numbers,
         pg_catalog.array_agg(rows ORDER BY number) AS counts, pg_catalog.array_agg(false) AS listed
    FROM made
)
SELECT (SELECT edge FROM drover_edges ORDER BY n DESC LIMIT 1) AS cursor, rows AS scanned, rows AS found, numbers, counts, listed FROM sums
