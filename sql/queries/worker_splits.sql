-- worker_splits: parts of split batches that are not finished yet. $1 migration, $2 stop counting there.
SELECT pg_catalog.count(*) AS splits
  FROM (SELECT FROM drover.batches WHERE migration_id = $1::integer AND root IS NOT NULL AND state = 'queued' LIMIT $2::bigint) AS unfinished
