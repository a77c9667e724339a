-- failed_page: dead letters, newest first.
-- Params: $1 to $6 as in drover.failed_matches(), $7 and $8 lowest and highest id. $9 at most.
SELECT f.id, m.name AS migration, f.state, to_jsonb(f.key)::text AS key, array_to_string(f.key, ', ') AS key_text, f.attempts, f.replays, f.sqlstate, f.constraint_name, f.message, f.worker,
       f.first_failed_at, f.last_failed_at
  FROM drover.failed_jobs AS f JOIN drover.migrations AS m ON m.id = f.migration_id
 WHERE drover.failed_matches(f, $1::integer, $2::text[], $3, $4, $5, $6::int8multirange) AND f.id BETWEEN $7::bigint AND $8::bigint
 ORDER BY f.id DESC LIMIT $9::integer
