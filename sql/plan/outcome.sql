-- outcome: what became of the dead letters claimed.
UPDATE drover.failed_jobs AS f
   SET state = o.state, history = drover.history_add(f, o.state), last_failed_at = f.last_failed_at, due_at = NULL, conflict_since = NULL
  FROM (SELECT w.id, CASE WHEN EXISTS (SELECT FROM {table} WHERE {key_is:w.key} AND {in_keys}) THEN 'done'
                          WHEN EXISTS (SELECT FROM {table} WHERE {key_is:w.key}) THEN 'not pending'
                          WHEN {picked:w.key} THEN 'done'
                          ELSE 'gone' END AS state
          FROM drover.failed_jobs w WHERE w.id = ANY (pg_catalog.current_setting('drover.failed')::bigint[])) AS o
 WHERE f.id = o.id
