-- watch_take: become, or stay, the worker that watches what the fleet does to others, migration by migration. Params: $1 its name, $2 bigint[] ids,
-- $3 the rung where nobody has watched lately. Returns those that it watches now: migration_id, rung, guess (nobody has looked).
-- Safe to run twice.
INSERT INTO drover.throttle AS t (migration_id, watcher, watched_until, rung)
SELECT m.id, $1, pg_catalog.now() + interval '3 s', $3::integer FROM drover.migrations AS m WHERE m.id = ANY ($2::bigint[]) ORDER BY m.id
ON CONFLICT (migration_id) DO UPDATE SET watcher = excluded.watcher, watched_until = excluded.watched_until,
       rung = CASE WHEN t.watched_until > pg_catalog.now() - interval '10 s' THEN t.rung ELSE excluded.rung END,
       (signal, detail, since, unseen) =
         (SELECT t.signal, t.detail, t.since, t.unseen WHERE t.watched_until > pg_catalog.now() - interval '10 s')
 WHERE t.watcher = excluded.watcher OR t.watched_until < pg_catalog.now()
RETURNING t.migration_id, t.rung, t.detail IS NULL AS guess
