-- outcome: what became of the dead letters claimed.
UPDATE drover.failed_jobs AS f
   SET state = o.state, history = drover.history_add(f, o.state), due_at = NULL, conflict_since = NULL
  FROM (SELECT drover_w.id, CASE WHEN {picked:drover_w.key} THEN 'done'
                          WHEN EXISTS (SELECT FROM {table} WHERE {key_is:drover_w.key}) THEN 'not pending'
                          ELSE 'gone' END AS state
          FROM drover.failed_jobs drover_w
         WHERE drover_w.migration_id = {migration} AND drover_w.id = ANY (pg_catalog.current_setting('drover.failed')::bigint[])) AS o
 WHERE f.id = o.id
