-- register_handler: procedures of a name. Params: $1 schema (NULL: by the search path), $2 name.
-- Returns, for each: what it is called with, as text; type (of its one array parameter) if it has just that; element (type of the array's elements).
SELECT pg_catalog.format('%s(%s)', p.oid::regproc, pg_catalog.pg_get_function_identity_arguments(p.oid)) AS signature, p.prokind = 'p' AS procedure,
       CASE WHEN p.pronargs = 1 AND t.typcategory = 'A' THEN pg_catalog.format_type(t.oid, -1) END AS type,
       CASE WHEN p.pronargs = 1 AND t.typcategory = 'A' THEN pg_catalog.format_type(t.typelem, -1) END AS element
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  LEFT JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0]
 WHERE p.proname = $2 AND CASE WHEN $1::text IS NULL THEN pg_catalog.pg_function_is_visible(p.oid) ELSE n.nspname = $1 END
 ORDER BY 1
