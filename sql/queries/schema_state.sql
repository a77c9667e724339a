-- schema_state: which schema is there, and whose it is. Fails with 3F000 or 42P01 where there is none, 42501 without rights.
-- Returns: one row: schema_version, installation, is_ours: false where the database is a copy of the one it was made for.
SELECT m.schema_version, m.installation,
       m.system_identifier = s.system_identifier::text AND m.database_oid = d.oid AS is_ours
  FROM drover.meta AS m, pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d
 WHERE d.datname = pg_catalog.current_database()
