-- split: children of the claimed batch drover.first .. drover.last (or of its list). $1 its number, $2 ways.
-- Run between claim_batch and finish_split. Returns number, rows and listed of each child.
WITH hits AS MATERIALIZED (
  SELECT pg_catalog.count(*) AS n, {was_range} AS ranges, {key_lists}
    FROM {candidates}
), {parts:(n + $2::bigint - 1) / $2::bigint}
INSERT INTO drover.batches (migration_id, parent, root, first_key, last_key, rows, keys)
SELECT {migration}, b.number, coalesce(b.root, b.number), {f_text:parts}, {k_text:parts}, parts.rows, lists.keys
  FROM parts LEFT JOIN lists USING (part)
  JOIN drover.batches b ON b.migration_id = {migration} AND b.number = $1::bigint
 ORDER BY parts.part
RETURNING number, rows, keys IS NOT NULL AS listed
