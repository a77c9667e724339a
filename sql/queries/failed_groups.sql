-- failed_groups: one row per kind of error, the most frequent first, with its newest dead letter as the example.
-- Params: $1 to $6 as in drover.failed_matches(), $7 and $8 lowest and highest id. $9 at most.
SELECT g.n, m.name AS migration, e.sqlstate, e.constraint_name, e.message AS example, g.newest AS example_id, g.fingerprint AS kind,
       g.first_failed_at, g.last_failed_at
  FROM (SELECT f.migration_id, f.fingerprint, count(*) AS n, max(f.id) AS newest, min(f.first_failed_at) AS first_failed_at,
               max(f.last_failed_at) AS last_failed_at
          FROM drover.failed_jobs AS f
         WHERE drover.failed_matches(f, $1::integer, $2::text[], $3, $4, $5, $6::int8multirange) AND f.id BETWEEN $7::bigint AND $8::bigint
         GROUP BY f.migration_id, f.fingerprint
         ORDER BY n DESC LIMIT $9::integer) AS g
  JOIN drover.failed_jobs AS e ON e.id = g.newest
  JOIN drover.migrations AS m ON m.id = g.migration_id
 ORDER BY g.n DESC, g.newest DESC
