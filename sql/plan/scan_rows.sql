-- scan_rows: the same as scan for row jobs, whose keys are all returned: they are collected in one pass, which ends where $5 are found, and the
-- windows cut out of them. Parameters and result as those of scan; `scanned` are the rows found where $5 cut the window short.
-- Only where it did not, a walk over the keys says where the window ends: keeping what was looked at would cost as much as looking.
WITH {busy}{window}, every AS MATERIALIZED (
  SELECT pg_catalog.count(*) AS found, {key_arrays}
    FROM (SELECT * FROM (SELECT {key_as}, {hit} AS hit FROM {table} WHERE {after:$1::text[]} ORDER BY {key} LIMIT $2::bigint) AS looked
           WHERE hit LIMIT $5::bigint) AS hits
), windows AS MATERIALIZED (
  SELECT a, z, {hit_at:a} AS first_key, {hit_at:z} AS last_key
    FROM every CROSS JOIN LATERAL (SELECT a, least(a + $3::bigint - 1, found) AS z FROM pg_catalog.generate_series(1, found, $3::bigint) AS a) AS cut
), made AS (
  INSERT INTO drover.batches (migration_id, first_key, last_key, rows, state, keys)
  SELECT {migration}, windows.first_key, windows.last_key, z - a + 1, $4::text, CASE WHEN NOT {is_dense} THEN {hits_between} END
    FROM windows CROSS JOIN every ORDER BY a
  RETURNING number, rows, keys IS NOT NULL AS listed
)
SELECT CASE WHEN found = $5::bigint THEN {hit_at:found} ELSE (SELECT {k_text:drover_edge} FROM drover_edge) END AS cursor,
       CASE WHEN found = $5::bigint THEN found ELSE {scanned} END AS scanned,
       found,
       (SELECT pg_catalog.array_agg(number ORDER BY number) FROM made) AS numbers,
       (SELECT pg_catalog.array_agg(rows ORDER BY number) FROM made) AS counts,
       (SELECT pg_catalog.array_agg(listed ORDER BY number) FROM made) AS listed,
       {keys}
  FROM every
