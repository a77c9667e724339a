-- check: leave one row that is still pending in drover.left.
SELECT pg_catalog.set_config('drover.left', coalesce((
  SELECT ({key_text})::text FROM {table} WHERE {in_keys} AND {meant} AND {pending} LIMIT 1), ''), true)
