-- register_columns: the columns of a table, in order. Params: $1 its oid. To be run with an empty search path, so that names are qualified.
-- Types are those under domains, without modifier. Returns: name, type, kind (integer, datetime, array or other), collation (quoted, NULL: the
-- default), not_null, varlena, writable (neither generated nor identity always), in_order (rows lie in about the order
-- of its values, or nobody knows), locking (of a unique index that a foreign key may use).
WITH RECURSIVE bases AS (
  SELECT a.attnum, t.oid, t.typtype, t.typbasetype
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.oid, t.typtype, t.typbasetype
    FROM bases b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype
   WHERE b.typtype = 'd'
)
SELECT a.attname AS name, pg_catalog.format_type(b.oid, -1) AS type, t.typarray::pg_catalog.regtype::text AS array_type,
       CASE WHEN b.oid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) THEN 'integer'
            WHEN b.oid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN 'datetime'
            WHEN t.typcategory = 'A' THEN 'array' ELSE 'other' END AS kind,
       CASE WHEN a.attcollation NOT IN (0, 100) THEN pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname) END AS collation,
       a.attnotnull OR (SELECT pg_catalog.bool_or(d.typnotnull) FROM bases d0 JOIN pg_catalog.pg_type d ON d.oid = d0.oid
                         WHERE d0.attnum = a.attnum AND d.typtype = 'd') IS TRUE AS not_null,
       a.attlen = -1 AS varlena,
       a.attgenerated = '' AND a.attidentity <> 'a' AS writable,
       coalesce((SELECT pg_catalog.abs(s.correlation) FROM pg_catalog.pg_stats s JOIN pg_catalog.pg_class c ON c.relname = s.tablename
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
                  WHERE c.oid = a.attrelid AND s.attname = a.attname ORDER BY s.inherited LIMIT 1), 1) > 0.9 AS in_order,
       EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
                                                   AND a.attnum = ANY (i.indkey::smallint[])) AS locking
  FROM pg_catalog.pg_attribute a
  JOIN bases b ON b.attnum = a.attnum AND b.typtype <> 'd'
  JOIN pg_catalog.pg_type t ON t.oid = b.oid
  LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
 WHERE a.attrelid = $1::oid
 ORDER BY a.attnum
