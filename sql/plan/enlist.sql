-- enlist: make a claimed range of a ledger-only migration in row mode a list, for receipts: some of its rows may have been done as row jobs.
SELECT {save_claim}, pg_catalog.set_config('drover.windows', coalesce(pg_catalog.array_agg(pg_catalog.current_setting('drover.batch'))::text, '{}'), true)
  FROM (SELECT {key_as} FROM {table} WHERE {scope} ORDER BY {key}) AS rows
