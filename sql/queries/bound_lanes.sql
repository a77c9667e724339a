-- bound_lanes: what Drover's lanes wait for in the server at this moment. Takes no locks. Returns one row: at_work (the
-- server is), hidden (only members of pg_read_all_stats see more of them), server (of those at work: that wait for its disk, its buffers or
-- another process of it), sleeps (for a time to pass), event (the most frequent one of the server's).
WITH lanes AS MATERIALIZED (
  SELECT state, wait_event_type AS type, wait_event AS event, query = '<insufficient privilege>' AS hidden
    FROM pg_catalog.pg_stat_activity
   WHERE datname = pg_catalog.current_database() AND application_name LIKE 'drover %/%'
)
SELECT pg_catalog.count(*) FILTER (WHERE state = 'active') AS at_work,
       pg_catalog.count(*) FILTER (WHERE hidden) AS hidden,
       pg_catalog.count(*) FILTER (WHERE state = 'active' AND type IN ('IO', 'LWLock', 'IPC', 'BufferPin')) AS server,
       pg_catalog.count(*) FILTER (WHERE state = 'active' AND type = 'Timeout') AS sleeps,
       pg_catalog.mode() WITHIN GROUP (ORDER BY event) FILTER (WHERE state = 'active' AND type IN ('IO', 'LWLock', 'IPC', 'BufferPin')) AS event
  FROM lanes
