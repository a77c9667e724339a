-- verify: one window of the proof. $1 cursor text[], $2 rows of the window, $3 keys to list at most.
-- Returns cursor, scanned, pending, of these dead (or waiting for another attempt), of these ignored, and a sample of the keys that are
-- neither (as json, NULL if there are none).
WITH looked AS MATERIALIZED (
  SELECT {key_as}, {meant} AND {pending} AS hit, pg_catalog.row_number() OVER (ORDER BY {key}) AS n
    FROM {table} WHERE {after:$1::text[]} ORDER BY {key} LIMIT $2::bigint
), hits AS MATERIALIZED (
  SELECT {k_text:looked} AS key, n, (SELECT f.state FROM drover.failed_jobs f
                                      WHERE f.migration_id = {migration} AND f.key_hash = drover.key_hash({k_text:looked})) AS fate
    FROM looked WHERE hit
)
SELECT (SELECT {k_text:looked} FROM looked ORDER BY n DESC LIMIT 1) AS cursor,
       (SELECT pg_catalog.count(*) FROM looked) AS scanned,
       (SELECT pg_catalog.count(*) FROM hits) AS pending,
       (SELECT pg_catalog.count(*) FROM hits WHERE fate IN ('dead', 'queued', 'retrying')) AS dead,
       (SELECT pg_catalog.count(*) FROM hits WHERE fate = 'ignored') AS ignored,
       (SELECT pg_catalog.json_agg(key ORDER BY n)
          FROM (SELECT key, n FROM hits WHERE coalesce(fate NOT IN ('dead', 'queued', 'retrying', 'ignored'), true)
                 ORDER BY n LIMIT $3::bigint) AS sample) AS keys
