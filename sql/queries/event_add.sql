-- event_add: a line of the audit trail. Params: $1 migration id (0: none), $2 actor, $3 action, $4 detail (or NULL).
INSERT INTO drover.events (migration_id, migration, actor, action, detail)
SELECT nullif($1::integer, 0), (SELECT name FROM drover.migrations WHERE id = $1::integer), $2, $3, $4
