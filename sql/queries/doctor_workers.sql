-- doctor_workers: why the workers that are alive do not work for a migration. Params: $1 its name. Returns one row: elsewhere (meant for other migrations
-- alone), cannot, why (that they cannot read it, one of them), who (says so), paused, draining, waiting, outdated.
SELECT pg_catalog.count(*) FILTER (WHERE NOT meant) AS elsewhere, pg_catalog.count(*) FILTER (WHERE meant AND why IS NOT NULL) AS cannot,
       pg_catalog.max(why) AS why, pg_catalog.min(name) FILTER (WHERE why IS NOT NULL) AS who,
       pg_catalog.count(*) FILTER (WHERE meant AND state = 'paused') AS paused, pg_catalog.count(*) FILTER (WHERE meant AND state = 'draining') AS draining,
       pg_catalog.count(*) FILTER (WHERE meant AND state = 'waiting') AS waiting,
       pg_catalog.count(*) FILTER (WHERE meant AND state = 'outdated') AS outdated
  FROM (SELECT w.name, w.state, c.why, w.migrations IS NULL OR $1 = ANY (w.migrations) OR c.why IS NOT NULL AS meant
          FROM drover.workers AS w
          LEFT JOIN LATERAL (SELECT c ->> 'why' AS why FROM jsonb_array_elements(w.cannot) AS c WHERE c ->> 'migration' = $1 LIMIT 1) AS c ON true
         WHERE w.heartbeat_at > pg_catalog.now() - interval '15 s') AS w
