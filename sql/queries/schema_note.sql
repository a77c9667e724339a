-- schema_note: write down the version that was reached; at the first time also the identity, bound to this server and database.
-- Params: $1 version (integer). Safe to run twice.
INSERT INTO drover.meta (schema_version, installation, system_identifier, database_oid)
SELECT $1::integer, left(replace(gen_random_uuid()::text, '-', ''), 12), s.system_identifier::text, d.oid
  FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d
 WHERE d.datname = pg_catalog.current_database()
ON CONFLICT (only_row) DO UPDATE SET schema_version = excluded.schema_version
