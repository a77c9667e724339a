-- scan: one window of the scan, or of a sweep. $1 cursor text[] (NULL: the beginning), $2 rows of the window, $3 rows of a batch, $4 state
-- of the new batches (queued or open), $5 rows of batches at most (--limit; NULL: all), $6 whether failed rows exist.
-- Returns one row: cursor (last key looked at, or last taken if $5 cut the window short; NULL if there was none), scanned, found, and
-- arrays over the new batches: numbers, counts, listed; in row mode also the keys found, keys1 .. (an array per key column, in key order).
-- Where fewer than one row in 32 is pending the batches are lists of keys, so that nobody has to look at the other rows again.
-- Bounded by $2 however few rows are pending. Run in the transaction that moves the cursor.
WITH {busy}{window}, looked AS MATERIALIZED (
  SELECT {scanned} AS rows
), hits AS MATERIALIZED (
  SELECT pg_catalog.count(*) AS n, {key_lists},
         pg_catalog.count(*) * 32 >= (SELECT rows FROM looked) OR pg_catalog.count(*) IS NOT DISTINCT FROM $5::bigint AS ranges
    FROM (SELECT {key_as} FROM {table} WHERE {after:$1::text[]} AND {up_to:drover_edge} AND {hit} ORDER BY {key} LIMIT $5::bigint) AS h
), {parts:$3::bigint}, made AS (
  INSERT INTO drover.batches (migration_id, first_key, last_key, rows, state, keys)
  SELECT {migration}, {f_text:parts}, {k_text:parts}, parts.rows, $4::text, lists.keys
    FROM parts LEFT JOIN lists USING (part) ORDER BY parts.part
  RETURNING number, rows, keys IS NOT NULL AS listed
)
SELECT CASE WHEN hits.n = $5::bigint THEN (SELECT {k_text:parts} FROM parts ORDER BY part DESC LIMIT 1)
            ELSE (SELECT {k_text:drover_edge} FROM drover_edge) END AS cursor,
       CASE WHEN hits.n = $5::bigint THEN hits.n ELSE (SELECT rows FROM looked) END AS scanned,
       hits.n AS found,
       (SELECT pg_catalog.array_agg(number ORDER BY number) FROM made) AS numbers,
       (SELECT pg_catalog.array_agg(rows ORDER BY number) FROM made) AS counts,
       (SELECT pg_catalog.array_agg(listed ORDER BY number) FROM made) AS listed{found_keys}
  FROM hits
