-- worker_poll: what a worker must know twice a second.
-- $1 its name, $2 bigint[] ids of the migrations that it knows already, $3 text[] names it is restricted to (NULL: all), $4 the ms for which a
-- heartbeat of another worker is fresh.
-- Returns a row per migration, at least one (id is then NULL): restart_asked; schema_version; first (no worker that runs comes before it by
-- name); fleet (how many run); recovered (when the server last began its statistics anew, in microseconds, which it does after a crash alone);
-- booted (when it was started as a whole, which a crash of one backend does not change); unknown (those of $3 that nobody has registered, NULL:
-- none); then the migration, with how far the fleet gives way
-- (rung; NULL where nobody has watched lately), whether nobody else does (watchable), and among whom its lanes are shared: alive (workers
-- with a fresh heartbeat that run and may work on it, this one in any case) and rank (how many of them come before this one by name). Those
-- known are returned in any state, so that a pause is noticed; those that are over while they have replays, or where a worker may have died
-- between a commit and its acknowledgement. Takes no locks.
-- Replays are looked for in the order of their index, and one: an EXISTS is a hash of all of them, where it was planned while there were few.
SELECT coalesce(w.restart_asked, false) AS restart_asked, (SELECT schema_version FROM drover.meta) AS schema_version, w.before = 0 AS first, w.fleet,
       (extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::bigint AS recovered,
       (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint AS booted,
       (SELECT pg_catalog.string_agg(n, ', ') FROM pg_catalog.unnest($3::text[]) AS n
         WHERE NOT EXISTS (SELECT FROM drover.migrations AS k WHERE k.name = n)) AS unknown, m.*
  FROM (SELECT pg_catalog.bool_or(restart_asked) FILTER (WHERE name = $1) AS restart_asked,
               pg_catalog.count(*) FILTER (WHERE runs AND name < $1) AS before, pg_catalog.count(*) FILTER (WHERE runs) AS fleet
          FROM (SELECT name, restart_asked, heartbeat_at > pg_catalog.now() - interval '12 s' AND state = 'running' AS runs
                  FROM drover.workers) AS each) AS w
  LEFT JOIN (SELECT m.id, m.name, m.revision, m.mode, m.state, m.batch_size, s.alive, s.rank, drover.settings_of(m.id)::text AS settings,
                    coalesce(m.producer_until > pg_catalog.now(), false) AS produced,
                    CASE WHEN m.state <> 'running' THEN 0 WHEN t.watched_until > pg_catalog.now() - interval '10 s' THEN t.rung END AS rung,
                    coalesce(t.watcher = $1 OR t.watched_until < pg_catalog.now(), true) AS watchable
               FROM drover.migrations AS m LEFT JOIN drover.throttle AS t ON t.migration_id = m.id
              CROSS JOIN LATERAL (SELECT pg_catalog.count(*) + 1 AS alive, pg_catalog.count(*) FILTER (WHERE name < $1) AS rank
                                    FROM drover.workers
                                   WHERE heartbeat_at > pg_catalog.now() - $4::double precision * interval '1 ms' AND state = 'running' AND name <> $1
                                     AND (migrations IS NULL OR m.name = ANY (migrations))) AS s
              WHERE (m.state = 'running' OR m.id = ANY ($2::bigint[])
                     OR (m.state IN ('complete', 'limited')
                         AND ((SELECT f.migration_id FROM drover.failed_jobs AS f WHERE f.migration_id >= m.id AND f.state IN ('queued', 'retrying')
                                ORDER BY f.migration_id, f.id LIMIT 1) = m.id
                              OR EXISTS (SELECT FROM drover.lane_counts AS c
                                          WHERE c.migration_id = m.id AND c.updated_at > pg_catalog.now() - interval '1 day'))))
                AND ($3::text[] IS NULL OR m.name = ANY ($3::text[]))) AS m ON true
 ORDER BY m.id
