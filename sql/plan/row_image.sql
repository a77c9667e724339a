-- row_image: lock the one row claimed and keep it in drover.row, for its dead letter. Nothing is kept if it is gone or no longer pending.
-- Without {row_lock} for a row that somebody else has had locked for longer than anybody wants to wait.
-- A row over 64 kB is kept without its values; its columns are measured one by one, which reads none of them.
SELECT pg_catalog.set_config('drover.row', coalesce((
  SELECT pg_catalog.jsonb_build_object('key', {key_text}, 'row',
           CASE WHEN {row_bytes} <= 65536 THEN pg_catalog.left(pg_catalog.row_to_json({table}.*)::text, 65536)
                ELSE '{"drover": "row of ' || {row_bytes} || ' bytes left out"}' END)::text
    FROM {table} WHERE {scope_of_one} AND {meant} AND {pending} ORDER BY {key} LIMIT 1{row_lock}), ''), true)
