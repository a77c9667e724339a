-- config_all: what was set, and from where. Params: $1 migration id (0: what is set for all).
-- Returns: key, value, origin ('all', 'file', 'migration'), updated_at, updated_by; the last of a key is the one in force.
SELECT key, value, origin, updated_at, updated_by
  FROM (
    SELECT 1 AS rank, key, value, 'all' AS origin, updated_at, updated_by FROM drover.worker_config WHERE migration_id = 0
    UNION ALL
    SELECT 2, o.key, o.value, 'file', m.created_at, m.created_by
      FROM drover.migrations AS m, jsonb_each_text(m.options) AS o WHERE m.id = $1::integer
    UNION ALL
    SELECT 3, key, value, 'migration', updated_at, updated_by FROM drover.worker_config
     WHERE migration_id = $1::integer AND $1::integer <> 0) AS c
 ORDER BY key, rank
