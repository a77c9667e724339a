-- scan: one window of the scan. $1 cursor text[] (NULL: the beginning), $2 rows of the window, $3 rows of a batch, $4 state of the new
-- batches (queued or open), $5 rows of batches at most (--limit), $6 whether failed rows exist.
-- Returns one row: cursor (last key looked at, NULL if there was none), scanned, found, and arrays over the new batches: numbers, counts,
-- and the keys found (an array per key column, in key order), for row mode.
-- Bounded by $2 however few rows are pending. Run in the transaction that moves the cursor.
WITH looked AS MATERIALIZED (
  SELECT {key_aliased}, {hit} AS hit, pg_catalog.row_number() OVER (ORDER BY {key}) AS n
    FROM {table} WHERE {after:$1::text[]} ORDER BY {key} LIMIT $2::bigint
), hits AS MATERIALIZED (
  SELECT *, pg_catalog.row_number() OVER (ORDER BY n) - 1 AS i FROM looked WHERE hit ORDER BY n LIMIT $5::bigint
), parts AS (
  SELECT i / $3::bigint AS part, pg_catalog.min(i) AS lo, pg_catalog.max(i) AS hi, pg_catalog.count(*) AS rows{part_keys}
    FROM hits GROUP BY 1
), made AS (
  INSERT INTO drover.batches (migration_id, first_key, last_key, rows, state, keys)
  SELECT {migration}, {hit_key:l}, {hit_key:h}, p.rows, $4::text, {listed}
    FROM parts p JOIN hits l ON l.i = p.lo JOIN hits h ON h.i = p.hi ORDER BY p.part
  RETURNING number, rows, keys IS NOT NULL AS listed
)
SELECT (SELECT {hit_key:looked} FROM looked ORDER BY n DESC LIMIT 1) AS cursor,
       (SELECT pg_catalog.count(*) FROM looked) AS scanned,
       (SELECT pg_catalog.count(*) FROM hits) AS found,
       (SELECT pg_catalog.array_agg(number ORDER BY number) FROM made) AS numbers,
       (SELECT pg_catalog.array_agg(rows ORDER BY number) FROM made) AS counts,
       (SELECT pg_catalog.array_agg(listed ORDER BY number) FROM made) AS listed{found_keys}
