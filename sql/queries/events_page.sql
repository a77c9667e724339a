-- events_page: the audit trail, newest first. Params: $1 migration id (0: all), $2 below this id (0: from the newest), $3 at most.
SELECT id, at, migration, actor, action, detail
  FROM drover.events
 WHERE ($1::integer = 0 OR migration_id = $1::integer) AND ($2::bigint = 0 OR id < $2::bigint)
 ORDER BY id DESC LIMIT $3::integer
