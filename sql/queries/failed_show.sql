-- failed_show: everything about one. Params: $1 id. Returns: no row or one.
SELECT f.id, m.name AS migration, m.state AS migration_state, f.state, m.table_name, to_jsonb(m.key_columns)::text AS key_columns,
       to_jsonb(f.key)::text AS key, array_to_string(m.key_columns, ', ') || ' = ' || array_to_string(f.key, ', ') AS key_text, f.batch, f.root, f.attempts,
       f.replays, f.sqlstate, f.message, f.detail, f.hint, f.context, f.constraint_name, f.statement,
       f."row", f.fingerprint AS kind,
       f.worker, f.first_failed_at, f.last_failed_at, f.due_at, f.queued_at, f.history,
       (SELECT string_agg(concat_ws(' ', left(h ->> 'at', 19), h ->> 'event', '(' || (h ->> 'state') || ')', h ->> 'sqlstate', h ->> 'message'), E'\n')
          FROM jsonb_array_elements(f.history) AS h) AS history_text
  FROM drover.failed_jobs AS f JOIN drover.migrations AS m ON m.id = f.migration_id
 WHERE f.id = $1::bigint
