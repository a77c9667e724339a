-- config_set: set one setting. Params: $1 migration id (0: all), $2 key, $3 value. Safe to run twice.
INSERT INTO drover.worker_config (migration_id, key, value) VALUES ($1::integer, $2, $3)
ON CONFLICT (migration_id, key) DO UPDATE SET value = excluded.value, updated_at = now(), updated_by = session_user
