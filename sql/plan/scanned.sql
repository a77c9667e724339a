-- scanned: how many rows the window has. Part of scan and verify.
CASE WHEN EXISTS (SELECT FROM drover_bound) THEN $2::bigint
     WHEN NOT EXISTS (SELECT FROM drover_edge) THEN 0
     ELSE (SELECT pg_catalog.count(*) FROM {table} WHERE {after:$1::text[]}) END
