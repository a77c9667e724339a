-- failed_count: how many there are.
-- Params: $1 to $6 as in drover.failed_matches(), $7 and $8 lowest and highest id.
-- Returns: one row: n.
SELECT count(*) AS n FROM drover.failed_jobs AS f
 WHERE drover.failed_matches(f, $1::integer, $2::text[], $3, $4, $5, $6::int8multirange) AND f.id BETWEEN $7::bigint AND $8::bigint
