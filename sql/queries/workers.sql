-- workers: who is there. alive: heard of within 15 s; others are shown for an hour.
-- Returns: name, host, pid, version, lanes, state, doing, doing_text, busy, jobs_done, rows_done, restart_asked, started_at, up_ms, heartbeat_at,
-- silent_ms, alive. doing_text: "0001_pages: batch 12, batch 13; 0002_users: 900 rows", NULL when idle.
SELECT name, host, pid, version, lanes, CASE WHEN alive THEN state ELSE 'lost' END AS state, doing, jobs_done, rows_done, jsonb_array_length(doing) AS busy,
       restart_asked, started_at, heartbeat_at, silent_ms, up_ms, alive,
       (SELECT string_agg(work, '; ')
          FROM (SELECT (d ->> 'migration') || ': ' || string_agg(CASE left(d ->> 'job', 1) WHEN 'R' THEN (d ->> 'rows') || ' rows' WHEN 'F' THEN (d ->> 'rows') || ' replays'
                                                                      ELSE 'batch ' || substr(d ->> 'job', 2) END, ', ') AS work
                  FROM jsonb_array_elements(doing) AS d GROUP BY d ->> 'migration') AS g) AS doing_text
  FROM (SELECT w.*, greatest(extract(epoch FROM now() - heartbeat_at) * 1000, 0)::bigint AS silent_ms,
               greatest(extract(epoch FROM CASE WHEN heartbeat_at > now() - interval '15 s' THEN now() ELSE heartbeat_at END - started_at) * 1000,
                        0)::bigint AS up_ms,
               heartbeat_at > now() - interval '15 s' AS alive
          FROM drover.workers AS w WHERE heartbeat_at > now() - interval '1 hour') AS w
 ORDER BY alive DESC, name
