-- config_unset: back to the file's, the general or the built-in value. Params: $1 migration id (0: all), $2 key. Safe to run twice.
DELETE FROM drover.worker_config WHERE migration_id = $1::integer AND key = $2
