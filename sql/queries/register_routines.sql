-- register_routines: what is known of functions and operators by their names. Params: $1 names of functions, $2 names of operators (text[],
-- "schema.name" where they are qualified). Returns: name, local (each of that name is built in and runs no SQL, or is immutable), moving (one is
-- volatile, or reads the clock). Names that are not known are left out.
WITH asked AS (
  SELECT n AS name, pg_catalog.split_part(n, '.', 1) AS first, pg_catalog.substr(n, pg_catalog.strpos(n, '.') + 1) AS last,
         pg_catalog.strpos(n, '.') > 0 AS qualified
    FROM pg_catalog.unnest($1::text[]) AS n
), candidates AS (
  SELECT a.name, p.provolatile, s.nspname = 'pg_catalog' AND p.proname !~ '(^|_)to_xml|^ts_stat$|^ts_rewrite$' AS built_in
    FROM asked a JOIN pg_catalog.pg_proc p ON p.proname = a.last JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
   WHERE CASE WHEN a.qualified THEN s.nspname = a.first ELSE pg_catalog.pg_function_is_visible(p.oid) END
  UNION ALL
  SELECT n, p.provolatile, s.nspname = 'pg_catalog'
    FROM pg_catalog.unnest($2::text[]) AS n
    JOIN pg_catalog.pg_operator o ON o.oprname = CASE WHEN n ~ '^[a-zA-Z_]' THEN pg_catalog.substr(n, pg_catalog.strpos(n, '.') + 1) ELSE n END
    JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
   WHERE n ~ '^[a-zA-Z_]' OR pg_catalog.pg_operator_is_visible(o.oid)
)
SELECT name, pg_catalog.bool_and(built_in OR provolatile = 'i') AS local, pg_catalog.bool_or(provolatile = 'v') AS moving
  FROM candidates GROUP BY name
