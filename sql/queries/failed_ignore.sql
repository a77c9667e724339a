-- failed_ignore: make the next chunk of dead letters tombstones: sweeps pass over the row, verify names it.
-- Params: $1 to $6 as in drover.failed_matches(), $7 and $8 lowest and highest id. $9 at most, $10 actor. Returns: one row: n, last (id, NULL if none). Safe to run twice.
WITH chosen AS (
  SELECT f.id FROM drover.failed_jobs AS f
   WHERE drover.failed_matches(f, $1::integer, $2::text[], $3, $4, $5, $6::int8multirange) AND f.id BETWEEN $7::bigint AND $8::bigint
     AND f.state = 'dead'
   ORDER BY f.id LIMIT $9::integer
     FOR NO KEY UPDATE
), ignored AS (
  UPDATE drover.failed_jobs AS f SET state = 'ignored', history = drover.history_add(f, 'forgotten by ' || $10::text)
    FROM chosen WHERE f.id = chosen.id
  RETURNING f.id
)
SELECT count(*) AS n, max(id) AS last FROM ignored
