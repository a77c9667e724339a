-- worker_drop_image: the setting keep_row_image is off: of the row just looked at, only the key is kept.
SELECT pg_catalog.set_config('drover.row', CASE WHEN pg_catalog.current_setting('drover.row') = '' THEN ''
         ELSE (pg_catalog.current_setting('drover.row')::jsonb - 'row')::text END, true)
