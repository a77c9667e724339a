-- doctor_dead: the most frequent kind of a migration's dead letters. Params: $1 migration id. Returns at most one row: n, id (its newest), sqlstate,
-- constraint_name, message.
SELECT g.n, g.id, f.sqlstate, f.constraint_name, pg_catalog.left(f.message, 200) AS message
  FROM (SELECT pg_catalog.count(*) AS n, pg_catalog.max(id) AS id
          FROM drover.failed_jobs WHERE migration_id = $1::integer AND state = 'dead' GROUP BY fingerprint ORDER BY n DESC LIMIT 1) AS g
  JOIN drover.failed_jobs AS f ON f.id = g.id
