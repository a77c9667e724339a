-- oldest_transaction: the session whose open transaction holds up a sweep (rows that it wrote may still turn up).
-- Returns: at most one row: pid, who, open_s, state, query.
SELECT pid, coalesce(nullif(application_name, ''), usename) AS who, extract(epoch FROM now() - xact_start)::bigint AS open_s, state,
       left(query, 200) AS query
  FROM pg_catalog.pg_stat_activity
 WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
 ORDER BY age(backend_xid) DESC LIMIT 1
