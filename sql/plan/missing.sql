-- missing: the rows of one window that are still to be done. $1 its number, $2 whether failed rows exist.
-- Returns one row: keys1 .., an array per key column, in key order; NULL if none is left.
-- OFFSET 0 keeps the window's bounds before the table: they are what its index is searched by.
SELECT {key_arrays}
  FROM (SELECT l.* FROM drover.batches drover_b CROSS JOIN LATERAL ({left:$2} OFFSET 0) AS l
         WHERE drover_b.migration_id = {migration} AND drover_b.number = $1::bigint AND drover_b.state = 'open' AND $2::boolean IS NOT NULL
         ORDER BY {k_of:l}) AS missing
