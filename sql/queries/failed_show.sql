-- failed_show: everything about one. Params: $1 id. Returns: no row or one.
SELECT f.id, m.name AS migration, m.state AS migration_state, f.state, m.table_name, m.key_columns, f.key, f.batch, f.root, f.attempts,
       f.replays, f.sqlstate, f.message, f.detail, f.hint, f.context, f.constraint_name, f.statement, f."row", f.fingerprint AS kind,
       f.worker, f.first_failed_at, f.last_failed_at, f.due_at, f.queued_at, f.history
  FROM drover.failed_jobs AS f JOIN drover.migrations AS m ON m.id = f.migration_id
 WHERE f.id = $1::bigint
