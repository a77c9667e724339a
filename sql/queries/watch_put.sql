-- watch_put: how far the fleet gives way for a migration from now on. Params: $1 the watcher, $2 migration id, $3 rung, $4 signal, $5 what it says,
-- $6 ms since when, $7 what cannot be seen. Whoever does not watch any more changes nothing. Safe to run twice.
UPDATE drover.throttle
   SET rung = $3::integer, signal = nullif($4, ''), detail = nullif($5, ''), unseen = nullif($7, ''),
       since = CASE WHEN $3::integer > 0 THEN pg_catalog.clock_timestamp() - $6::double precision * interval '1 ms' END
 WHERE migration_id = $2::integer AND watcher = $1
