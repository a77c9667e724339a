-- oldest_transaction: whose open transaction holds up a sweep (rows that it wrote may still turn up). Prepared ones count too.
-- Returns: at most one row: pid (NULL: prepared), gid (quoted), whom ("pid 12 (psql)"), open_s (NULL: hidden), idle, query, hidden (shown to members of
-- pg_read_all_stats).
SELECT l.pid, pg_catalog.quote_literal(p.gid) AS gid,
       CASE WHEN p.gid IS NOT NULL THEN 'the prepared transaction ' || pg_catalog.quote_literal(p.gid) || ' (' || p.owner || ')'
            ELSE 'pid ' || l.pid || ' (' || coalesce(nullif(a.application_name, ''), a.usename, 'unknown') || ')' END AS whom,
       extract(epoch FROM pg_catalog.now() - coalesce(a.xact_start, p.prepared))::bigint AS open_s,
       coalesce(a.state LIKE 'idle in transaction%', false) AS idle, pg_catalog.left(a.query, 200) AS query,
       coalesce(a.query = '<insufficient privilege>', false) AS hidden
  FROM pg_catalog.pg_locks AS l
  LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON l.pid IS NULL AND p.transaction = l.transactionid
 WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
 ORDER BY age(l.transactionid) DESC LIMIT 1
