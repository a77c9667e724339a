-- parts: rows of `hits` (i from 0, in key order) cut into batches of {param} rows: first and last key, number of rows, and the keys
-- themselves where a range would not say which they are. Part of scan and split.
edges AS (
  SELECT *, i % {param} = 0 AS is_first, i % {param} = {param} - 1 OR i = (SELECT pg_catalog.max(i) FROM hits) AS is_last FROM hits
), parts AS MATERIALIZED (
  SELECT *, {is_range} AS is_range
    FROM (SELECT i / {param} AS part, i % {param} + 1 AS rows, {first_last}, is_last
            FROM edges WHERE is_first OR is_last WINDOW w AS (ORDER BY i)) AS bounds
   WHERE is_last
), lists AS (
  SELECT parts.part, pg_catalog.array_agg(u.v ORDER BY hits.i, u.o) AS keys
    FROM parts JOIN hits ON hits.i / {param} = parts.part CROSS JOIN pg_catalog.unnest({k_text:hits}) WITH ORDINALITY AS u(v, o)
   WHERE NOT parts.is_range
   GROUP BY parts.part
)
