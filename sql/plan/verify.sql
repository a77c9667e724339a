-- verify: one window of the proof. $1 cursor text[], $2 rows of the window, $3 keys to list at most.
-- Returns cursor, scanned, pending, of these dead (or waiting for another attempt), of these ignored, and a sample of the keys that are
-- neither (as json, NULL if there are none).
WITH {window}, hits AS MATERIALIZED (
  SELECT {k_text:h} AS key, pg_catalog.row_number() OVER () AS n,
         (SELECT f.state FROM drover.failed_jobs f
           WHERE f.migration_id = {migration} AND f.key_hash = drover.key_hash({k_text:h})) AS fate
    FROM (SELECT {key_as} FROM {table} WHERE {after:$1::text[]} AND {up_to:drover_edge} AND {meant} AND {pending} ORDER BY {key}) AS h
)
SELECT (SELECT {k_text:drover_edge} FROM drover_edge) AS cursor,
       {scanned} AS scanned,
       (SELECT pg_catalog.count(*) FROM hits) AS pending,
       (SELECT pg_catalog.count(*) FROM hits WHERE fate IN ('dead', 'queued', 'retrying')) AS dead,
       (SELECT pg_catalog.count(*) FROM hits WHERE fate = 'ignored') AS ignored,
       (SELECT pg_catalog.json_agg(key ORDER BY n)
          FROM (SELECT key, n FROM hits WHERE coalesce(fate NOT IN ('dead', 'queued', 'retrying', 'ignored'), true)
                 ORDER BY n LIMIT $3::bigint) AS sample) AS keys
