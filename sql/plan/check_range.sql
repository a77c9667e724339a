-- check_range: the same for a range of whole numbers. Where they lie close together one walk over the range costs half of what it costs to
-- look up each key; rows of it that were not changed are no matter of this check.
SELECT pg_catalog.set_config('drover.left', coalesce(CASE
  WHEN {width} < 4 * pg_catalog.current_setting('drover.changed')::numeric THEN (
    SELECT ({key_text})::text FROM {table}
     WHERE {scope} AND CASE WHEN {meant} AND {pending} THEN {in_keys} ELSE false END ORDER BY {key} LIMIT 1)
  ELSE (
    SELECT ({key_text})::text FROM {table} WHERE {in_keys} AND {meant} AND {pending} LIMIT 1) END, ''), true)
