-- register_table: what the table is. Params: $1 its name, quoted, with or without schema (looked up by the search path).
-- Returns: one row, or none if there is no such relation. update_triggers: what an UPDATE returns is not the last word on what it did. Triggers after it
-- may change rows once more, triggers before it may leave some out without a word, rules make another statement of it. statement_triggers: an UPDATE of no row does something, too.
WITH found AS (
  SELECT c.* FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)
), triggers AS ( -- the users', of the table and its partitions
  SELECT t.*, l.lanname <> 'plpgsql' OR p.prosrc ~* 'return[[:space:]]+null' AS leaves_out
    FROM found c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid OR t.tgrelid IN (SELECT tree.relid FROM pg_catalog.pg_partition_tree(c.oid) AS tree)
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
   WHERE NOT t.tgisinternal
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind, c.relispartition AS partition,
       n.nspname IN ('pg_catalog', 'information_schema', 'drover') AS system,
       c.relpersistence = 't' AS temporary, pg_catalog.pg_table_is_visible(c.oid) AS visible,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS has_children,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT') AS readable,
       pg_catalog.row_security_active(c.oid) AS hidden,
       EXISTS (SELECT FROM triggers WHERE tgtype & 16 <> 0 AND tgenabled <> 'D' AND (tgtype & 66 = 0 OR (tgtype & 67 = 3 AND leaves_out)))
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '2' AND r.ev_enabled <> 'D') AS update_triggers,
       EXISTS (SELECT FROM triggers WHERE tgtype & 17 = 16 AND tgenabled <> 'D') AS statement_triggers,
       EXISTS (SELECT FROM triggers WHERE tgdeferrable) AS deferred_triggers,
       (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(p.relid)), 0)
          FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf) + CASE c.relkind WHEN 'r' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END AS bytes
  FROM found c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
