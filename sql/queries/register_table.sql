-- register_table: what the table is. Params: $1 its name, quoted, with or without schema (looked up by the search path).
-- Returns: one row, or none if there is no such relation.
WITH found AS (
  SELECT c.* FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind, c.relispartition AS partition,
       n.nspname IN ('pg_catalog', 'information_schema', 'drover') AS system,
       c.relpersistence = 't' AS temporary, pg_catalog.pg_table_is_visible(c.oid) AS visible,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS has_children,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT') AS readable,
       pg_catalog.row_security_active(c.oid) AS hidden,
       EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
                                                     AND t.tgtype & 16 <> 0 AND t.tgtype & 66 = 0)
    OR EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_trigger t ON t.tgrelid = i.inhrelid
                WHERE i.inhparent = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0 AND t.tgtype & 66 = 0)
       AS update_triggers,
       EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgdeferrable) AS deferred_triggers,
       (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(p.relid)), 0)
          FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf) + CASE c.relkind WHEN 'r' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END AS bytes
  FROM found c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
