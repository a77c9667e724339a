-- workers: who is there. alive: heard of within 15 s; others are shown for an hour.
-- Returns: name, host, pid, version, lanes, state, migrations (that it may work on; NULL: all), doing, doing_text, busy, jobs_done, rows_done,
-- rows_per_s, cannot, restart_asked, started_at, up_ms, heartbeat_at, silent_ms, alive. doing_text: "0001_pages: batch 12 for 85ms, batch 13 for
-- 2.1s; 0002_users: 900 rows for 40ms", then what it is restricted to and what it cannot work for; NULL when there is nothing to say.
SELECT name, host, pid, version, lanes, CASE WHEN alive THEN state ELSE 'lost' END AS state, to_json(migrations) AS migrations, doing, jobs_done, rows_done,
       jsonb_array_length(doing) AS busy, CASE WHEN alive THEN rows_per_s ELSE 0 END AS rows_per_s, cannot, restart_asked, started_at, heartbeat_at,
       silent_ms, up_ms, alive,
       nullif(concat_ws('; ',
         (SELECT string_agg(work, '; ')
            FROM (SELECT (d ->> 'migration') || ': '
                         || string_agg(CASE left(d ->> 'job', 1) WHEN 'R' THEN (d ->> 'rows') || ' rows' WHEN 'F' THEN (d ->> 'rows') || ' replays'
                                            ELSE 'batch ' || substr(d ->> 'job', 2) END
                                       || CASE WHEN (d ->> 'ms')::bigint < 1000 THEN ' for ' || (d ->> 'ms') || 'ms'
                                               ELSE ' for ' || round((d ->> 'ms')::numeric / 1000, 1) || 's' END, ', ' ORDER BY (d ->> 'lane')::integer) AS work
                    FROM jsonb_array_elements(doing) AS d GROUP BY d ->> 'migration') AS g),
         CASE WHEN migrations IS NOT NULL THEN 'only for ' || array_to_string(migrations, ', ') END,
         (SELECT string_agg('cannot work for ' || (c ->> 'migration') || ': ' || (c ->> 'why'), '; ') FROM jsonb_array_elements(cannot) AS c)), '') AS doing_text
  FROM (SELECT w.*, greatest(extract(epoch FROM now() - heartbeat_at) * 1000, 0)::bigint AS silent_ms,
               greatest(extract(epoch FROM CASE WHEN heartbeat_at > now() - interval '15 s' THEN now() ELSE heartbeat_at END - started_at) * 1000,
                        0)::bigint AS up_ms,
               heartbeat_at > now() - interval '15 s' AS alive
          FROM drover.workers AS w WHERE heartbeat_at > now() - interval '1 hour') AS w
 ORDER BY alive DESC, name
