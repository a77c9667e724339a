-- register_find: a migration by its name, and the checksum of a file. Params: $1 name, $2 the file's text.
-- Returns: one row; id is NULL if there is none of that name.
SELECT m.id, m.revision, m.checksum, f.checksum AS file_checksum, m.state, m.mode, m.batch_size, m.ledger_only, m.table_name, m.estimated_rows,
       pg_catalog.to_json(m.key_columns)::text AS key_columns, m.created_at
  FROM (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to($2, 'UTF8')), 'hex') AS checksum) AS f
  LEFT JOIN drover.migrations m ON m.name = $1
