-- locks_waiting: Drover's connections that wait for a lock now, and who holds it. Other roles' queries need pg_read_all_stats.
-- Returns: lane, waited_ms, blocker_pid, blocker, blocker_query.
SELECT w.application_name AS lane, (extract(epoch FROM now() - w.query_start) * 1000)::bigint AS waited_ms,
       b.pid AS blocker_pid, coalesce(nullif(b.application_name, ''), b.usename) AS blocker,
       CASE b.query WHEN '<insufficient privilege>' THEN 'what it runs is shown to members of pg_read_all_stats'
                    ELSE left(b.query, 200) END AS blocker_query
  FROM pg_catalog.pg_stat_activity AS w
 CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(w.pid)) AS p(pid)
  LEFT JOIN pg_catalog.pg_stat_activity AS b ON b.pid = p.pid
 WHERE w.datname = pg_catalog.current_database() AND w.application_name LIKE 'drover %/%' AND w.wait_event_type = 'Lock'
 ORDER BY w.query_start LIMIT 5
