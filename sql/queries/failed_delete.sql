-- failed_delete: drop the next chunk. Never what waits (queued, retrying), nor what a ledger-only migration has not changed: there the dead
-- letter is all that knows of the row.
-- Params: $1 to $6 as in drover.failed_matches(), $7 and $8 lowest and highest id. $9 at most. Returns: one row: n, last (id, NULL if none). Safe to run twice.
WITH chosen AS (
  SELECT f.id FROM drover.failed_jobs AS f JOIN drover.migrations AS m ON m.id = f.migration_id
   WHERE drover.failed_matches(f, $1::integer, $2::text[], $3, $4, $5, $6::int8multirange) AND f.id BETWEEN $7::bigint AND $8::bigint
     AND f.state NOT IN ('queued', 'retrying') AND NOT (m.ledger_only AND f.state IN ('dead', 'ignored'))
   ORDER BY f.id LIMIT $9::integer
     FOR UPDATE OF f
), deleted AS (
  DELETE FROM drover.failed_jobs AS f USING chosen WHERE f.id = chosen.id
  RETURNING f.id
)
SELECT count(*) AS n, max(id) AS last FROM deleted
