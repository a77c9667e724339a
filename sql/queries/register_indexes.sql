-- register_indexes: the unique indexes of a table, the primary key first. Params: $1 the table's oid. To be run with the search path of the migration.
-- Returns: name, columns (their names in order, as a JSON array; NULL if an expression is among them), and what makes each usable as a key.
SELECT x.relname AS name, i.indisprimary AS is_primary, i.indisvalid AND i.indisready AS valid, i.indpred IS NOT NULL AS partial,
       NOT i.indimmediate AS deferrable, i.indnkeyatts AS columns_count,
       CASE WHEN i.indexprs IS NULL THEN (SELECT pg_catalog.json_agg(a.attname ORDER BY k.o)
          FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(n, o) JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
         WHERE k.o <= i.indnkeyatts) END AS columns,
       (SELECT pg_catalog.count(DISTINCT k.opt & 1) > 1 FROM pg_catalog.unnest(i.indoption::smallint[]) AS k(opt)) AS mixed,
       EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest(i.indkey::smallint[]), pg_catalog.unnest(i.indcollation::oid[])) AS k(n, coll)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n WHERE k.coll <> 0 AND k.coll <> a.attcollation) AS other_collation,
       EXISTS (SELECT FROM pg_catalog.unnest(i.indclass::oid[]) AS k(opc) JOIN pg_catalog.pg_opclass o ON o.oid = k.opc WHERE NOT o.opcdefault) AS other_opclass,
       EXISTS (SELECT FROM pg_catalog.unnest(i.indclass::oid[]) AS k(opc) JOIN pg_catalog.pg_opclass o ON o.oid = k.opc
                JOIN pg_catalog.pg_amop m ON m.amopfamily = o.opcfamily AND m.amopstrategy = 3 AND m.amoplefttype = o.opcintype
                                         AND m.amoprighttype = o.opcintype
               WHERE NOT pg_catalog.pg_operator_is_visible(m.amopopr)) AS unseen_type
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_am am ON am.oid = x.relam AND am.amname = 'btree'
 WHERE i.indrelid = $1::oid AND i.indisunique
 ORDER BY i.indisprimary DESC, x.relname
