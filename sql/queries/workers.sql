-- workers: who is there. alive: heard of within 15 s; others are shown for an hour.
-- Returns: name, host, pid, version, lanes, state, doing, busy, jobs_done, rows_done, restart_asked, started_at, heartbeat_at, silent_ms, alive.
SELECT name, host, pid, version, lanes, CASE WHEN alive THEN state ELSE 'lost' END AS state, doing, jobs_done, rows_done, jsonb_array_length(doing) AS busy,
       restart_asked, started_at, heartbeat_at, silent_ms, alive
  FROM (SELECT w.*, greatest(extract(epoch FROM now() - heartbeat_at) * 1000, 0)::bigint AS silent_ms,
               heartbeat_at > now() - interval '15 s' AS alive
          FROM drover.workers AS w WHERE heartbeat_at > now() - interval '1 hour') AS w
 ORDER BY alive DESC, name
