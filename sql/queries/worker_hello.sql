-- worker_hello: which installation this is, and whether the database is the one that it was made in.
-- Returns one row: installation, schema_version, same (boolean). Fails with 3F000 or 42P01 where the schema is missing.
SELECT m.installation, m.schema_version,
       m.system_identifier = (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() AS c)
         AND m.database_oid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()) AS same
  FROM drover.meta AS m
