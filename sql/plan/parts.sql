-- parts: the rows of `hits` (their number n, whether `ranges` are good enough for them, and an array for each column of their keys, in key
-- order) cut into batches of {param} rows: first and last key, number of rows, and the keys themselves where a range would not say which they
-- are, or not well enough. Part of scan and split.
parts AS MATERIALIZED (
  SELECT *, {is_range} AS is_range
    FROM (SELECT part, least(n - part * size, size) AS rows, part * size + 1 AS o, ranges, {first_last}
            FROM (SELECT *, {param} AS size FROM hits) AS sized
           CROSS JOIN LATERAL pg_catalog.generate_series(0, (n + size - 1) / nullif(size, 0) - 1) AS part) AS bounds
), lists AS (
  SELECT parts.part, pg_catalog.array_agg(u.v ORDER BY m.o, u.o) AS keys
    FROM parts CROSS JOIN hits CROSS JOIN LATERAL ROWS FROM ({members}) WITH ORDINALITY AS m({k}, o)
   CROSS JOIN LATERAL pg_catalog.unnest({k_text:m}) WITH ORDINALITY AS u(v, o)
   WHERE NOT parts.is_range
   GROUP BY parts.part
)
