-- split: children of the claimed batch drover.first .. drover.last (or of its list). $1 its number, $2 ways.
-- Run between claim_batch and finish_split. Returns number, rows and listed of each child.
WITH hits AS MATERIALIZED (
  SELECT {key_aliased}, pg_catalog.row_number() OVER (ORDER BY {key}) AS i, pg_catalog.ntile($2::integer) OVER (ORDER BY {key}) AS part
    FROM {table} WHERE {scope} AND {meant} AND {pending}
), parts AS (
  SELECT part, pg_catalog.min(i) AS lo, pg_catalog.max(i) AS hi, pg_catalog.count(*) AS rows{part_keys} FROM hits GROUP BY 1
)
INSERT INTO drover.batches (migration_id, parent, root, first_key, last_key, rows, keys)
SELECT {migration}, b.number, coalesce(b.root, b.number), {hit_key:l}, {hit_key:h}, p.rows, {listed}
  FROM parts p JOIN hits l ON l.i = p.lo JOIN hits h ON h.i = p.hi
  JOIN drover.batches b ON b.migration_id = {migration} AND b.number = $1::bigint
 ORDER BY p.part
RETURNING number, rows, keys IS NOT NULL AS listed
