-- watch_server: what there is to see of the server several times a second. Params: $1 ms since the last look. Takes no locks. Returns one row:
-- touched (sessions of others that are active or were since then), active, hidden (sessions that only members of pg_read_all_stats see more of),
-- waiting (sessions of others that have waited for a lock of ours for 30 ms, longer than a transaction with pauses in it should take), sessions (begun
-- since the statistics did), lag_ms, lag_mb (of the standby or subscriber that is furthest behind), lag_hidden (some are there, and the role may
-- not see them). Ours are known by application_name.
WITH act AS MATERIALIZED (
  SELECT a.pid, a.state, a.state_change, a.wait_event_type, a.application_name LIKE 'drover%' AS ours,
         a.usesysid IS NOT NULL AND a.datid IS NOT NULL AND a.state IS NULL AND a.query = '<insufficient privilege>' AS hidden
    FROM pg_catalog.pg_stat_activity AS a
   WHERE a.pid <> pg_catalog.pg_backend_pid() AND (a.backend_type = 'client backend' OR a.backend_type IS NULL)
), waits AS MATERIALIZED ( -- is not looked for unless somebody waits
  SELECT pid FROM pg_catalog.pg_locks WHERE NOT granted AND waitstart < pg_catalog.clock_timestamp() - interval '30 ms'
), replicas AS MATERIALIZED (
  SELECT pid, state, replay_lag, replay_lsn FROM pg_catalog.pg_stat_replication
)
SELECT pg_catalog.count(*) FILTER (WHERE NOT ours AND (state = 'active' OR state_change > pg_catalog.now() - $1::double precision * interval '1 ms'))
         AS touched,
       pg_catalog.count(*) FILTER (WHERE NOT ours AND state = 'active') AS active,
       pg_catalog.count(*) FILTER (WHERE NOT ours AND hidden AND pid NOT IN (SELECT r.pid FROM replicas AS r)) AS hidden,
       pg_catalog.count(*) FILTER (WHERE NOT ours AND wait_event_type = 'Lock' AND pid IN (SELECT w.pid FROM waits AS w) AND EXISTS (
         SELECT FROM pg_catalog.unnest(CASE WHEN wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(act.pid) END) AS b(pid)
           JOIN act AS o ON o.pid = b.pid AND o.ours)) AS waiting,
       (SELECT pg_catalog.sum(sessions) FROM pg_catalog.pg_stat_database) AS sessions,
       (SELECT extract(epoch FROM pg_catalog.max(replay_lag)) * 1000 FROM replicas) AS lag_ms,
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
         (SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)) / 1048576 FROM replicas) END AS lag_mb,
       (SELECT pg_catalog.count(*) FROM replicas WHERE state IS NULL) AS lag_hidden
  FROM act
