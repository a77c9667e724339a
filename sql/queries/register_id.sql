-- register_id: a place for a new migration, whose statements need its id; register_insert completes it in the same transaction.
-- Params: $1 name, $2 checksum, $3 source. Returns: id.
INSERT INTO drover.migrations (name, checksum, source, plan, settings, table_name, key_columns, mode, ledger_only, batch_size)
VALUES ($1, $2, $3, '{}', '{}', '', '{}', 'batch', false, 1)
RETURNING id
