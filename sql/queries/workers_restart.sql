-- workers_restart: ask workers to drain and exit. Params: $1 name, NULL: all that are alive. Returns: name of each that was asked.
UPDATE drover.workers SET restart_asked = true
 WHERE CASE WHEN $1::text IS NULL THEN heartbeat_at > now() - interval '15 s' ELSE name = $1::text END
RETURNING name
