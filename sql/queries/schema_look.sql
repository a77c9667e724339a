-- schema_look: what is there before an installation, and what this role may do about it. Needs no rights.
-- Returns: one row: has_schema, has_meta, may_create_schema, may_create_in_schema, is_owner, role, database.
SELECT n.oid IS NOT NULL AS has_schema,
       c.oid IS NOT NULL AS has_meta,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create_schema,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false) AS may_create_in_schema,
       coalesce(pg_catalog.pg_has_role(c.relowner, 'USAGE'), false) AS is_owner,
       current_user AS role, pg_catalog.current_database() AS database
  FROM (SELECT) AS one
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'drover'
  LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'meta'
