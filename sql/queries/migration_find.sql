-- migration_find: one migration by its name. Params: $1 name (text). Returns: no row or one.
SELECT id, name, revision, state, mode = 'row' AS row_mode, ledger_only, batch_size FROM drover.migrations WHERE name = $1
