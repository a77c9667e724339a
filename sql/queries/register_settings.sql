-- register_settings: the session settings that a migration is registered under, as sessions of this role in this database begin with them
-- (a pooler may have left another client's in this one), and how the planner is set. Returns: name, value, planner (ours replaces it).
SELECT name, reset_val AS value, name IN ('enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'enable_incremental_sort',
                                          'max_parallel_workers_per_gather', 'jit') AS planner
  FROM pg_catalog.pg_settings
 WHERE name IN ('search_path', 'TimeZone', 'DateStyle', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'xmlbinary', 'xmloption',
                'lc_monetary', 'lc_numeric', 'lc_time', 'default_text_search_config', 'transform_null_equals',
                'enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'enable_incremental_sort', 'max_parallel_workers_per_gather', 'jit')
 ORDER BY name
