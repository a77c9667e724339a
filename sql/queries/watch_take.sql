-- watch_take: become, or stay, the worker that watches what the fleet does to others, migration by migration. Params: $1 its name, $2 bigint[] ids.
-- Returns the ids of those that it watches now. Safe to run twice.
INSERT INTO drover.throttle AS t (migration_id, watcher, watched_until)
SELECT m.id, $1, pg_catalog.now() + interval '3 s' FROM drover.migrations AS m WHERE m.id = ANY ($2::bigint[]) ORDER BY m.id
ON CONFLICT (migration_id) DO UPDATE SET watcher = excluded.watcher, watched_until = excluded.watched_until
 WHERE t.watcher = excluded.watcher OR t.watched_until < pg_catalog.now()
RETURNING t.migration_id
