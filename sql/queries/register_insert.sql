-- register_insert: complete a new migration. Params: $1 id, $2 plan, $3 settings, $4 options, $5 table, $6 key columns, $7 mode, $8 ledger-only,
-- $9 rows of a batch, $10 estimated rows, $11 --limit, $12 who. In the transaction that checked it.
WITH made AS (
  UPDATE drover.migrations
     SET plan = $2::jsonb, settings = $3::jsonb, options = $4::jsonb, table_name = $5, key_columns = $6::text[], mode = $7,
         ledger_only = $8::boolean, batch_size = $9::integer, estimated_rows = $10::bigint, row_limit = $11::bigint, state_by = $12
   WHERE id = $1::integer
  RETURNING id, name, checksum
)
INSERT INTO drover.events (migration_id, migration, actor, action, detail) SELECT id, name, $12, 'register', 'sha256 ' || checksum FROM made
