-- gather: the keys of all rows that are still to be done, read in one pass, in whatever order is quickest. $1 cursor text[] (NULL: the
-- beginning), $2 whether failed rows exist, $3 keys at most, $4 bytes of them at most.
-- Returns one row: found; whole: no more than $3 and $4 allow, so that these are all; and if so the keys, keys1 .. (an array per key column, in
-- key order). One snapshot for the whole table: no row can move from what was not looked at to what was. For tables that this takes a moment for.
WITH drover_hits AS MATERIALIZED (
  SELECT *
    FROM (SELECT *, pg_catalog.sum(bytes) OVER (ROWS UNBOUNDED PRECEDING) AS total
            FROM (SELECT {key_as}, pg_catalog.octet_length(({key_text})::text) AS bytes
                    FROM {table} WHERE {after:$1::text[]} AND {unsettled:$2} LIMIT $3::bigint + 1) AS drover_found) AS drover_sized
   WHERE total - bytes <= $4::bigint
), drover_sum AS MATERIALIZED (
  SELECT pg_catalog.count(*) AS found, pg_catalog.count(*) <= $3::bigint AND coalesce(pg_catalog.max(total), 0) <= $4::bigint AS whole FROM drover_hits
)
SELECT found, whole, {keys}
  FROM drover_sum
 CROSS JOIN LATERAL (SELECT {key_arrays} FROM (SELECT {k} FROM drover_hits WHERE whole ORDER BY {k}) AS drover_sorted) AS drover_arrays
