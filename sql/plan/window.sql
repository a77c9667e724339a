-- window: the next $2 rows after the key in $1: `drover_edge` has the key of the last of them; `drover_bound` is empty where the table ends before. Part of
-- scan and verify. A walk over the index alone where the table is vacuumed.
drover_bound AS MATERIALIZED (
  SELECT {key_as} FROM {table} WHERE {after:$1::text[]} ORDER BY {key} OFFSET greatest($2::bigint - 1, 0) LIMIT least($2::bigint, 1)
), drover_tail AS MATERIALIZED (
  SELECT {key_as} FROM {table} WHERE {after:$1::text[]} AND $2::bigint > 0 AND NOT EXISTS (SELECT FROM drover_bound) ORDER BY {key_desc} LIMIT 1
), drover_edge AS MATERIALIZED (
  SELECT * FROM drover_bound UNION ALL SELECT * FROM drover_tail
)
