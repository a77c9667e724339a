-- worker_beat: the worker's heartbeat, every few seconds; each worker writes its own row alone.
-- $1 name, $2 host, $3 pid, $4 version, $5 lanes, $6 state, $7 doing (jsonb), $8 jobs done, $9 rows done, $10 true at its start,
-- $11 text[] names it is restricted to (NULL: all), $12 rows per second since the last heartbeat, $13 migrations that it cannot work for (jsonb).
-- Safe to run twice: yes.
INSERT INTO drover.workers AS w (name, host, pid, version, lanes, state, doing, jobs_done, rows_done, migrations, rows_per_s,
                                 cannot)
VALUES ($1, $2, $3::integer, $4, $5::integer, $6, $7::jsonb, $8::bigint, $9::bigint, $11::text[], $12::double precision,
        $13::jsonb)
ON CONFLICT (name) DO UPDATE
   SET host = excluded.host, pid = excluded.pid, version = excluded.version, lanes = excluded.lanes, state = excluded.state, doing = excluded.doing,
       jobs_done = excluded.jobs_done, rows_done = excluded.rows_done, migrations = excluded.migrations,
       rows_per_s = excluded.rows_per_s, cannot = excluded.cannot, heartbeat_at = pg_catalog.now(),
       restart_asked = w.restart_asked AND NOT $10::boolean,
       started_at = CASE WHEN $10::boolean THEN pg_catalog.now() ELSE w.started_at END
