-- left_ledger: the same for a ledger-only migration, where a receipt says that a row is done: the rows between the window's first and
-- last key, or those of its list.
SELECT {key_as} FROM {table} WHERE drover_b.keys IS NULL AND {between:drover_b.first_key,drover_b.last_key} AND {no_receipt_row}
UNION ALL
SELECT {key_as}
  FROM (SELECT pg_catalog.array_agg(drover_u.v ORDER BY drover_u.o) AS key
          FROM pg_catalog.unnest(drover_b.keys) WITH ORDINALITY AS drover_u(v, o) GROUP BY (drover_u.o - 1) / {columns}) AS drover_member
  JOIN {table} ON {key_is:drover_member.key}
 WHERE {no_receipt_member}
