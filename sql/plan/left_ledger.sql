-- left_ledger: the same for a ledger-only migration, where a receipt says that a row is done: the rows between the window's first and
-- last key, or those of its list.
SELECT {key_as} FROM {table} WHERE b.keys IS NULL AND {between:b.first_key,b.last_key} AND {no_receipt_row}
UNION ALL
SELECT {key_as}
  FROM (SELECT pg_catalog.array_agg(u.v ORDER BY u.o) AS key
          FROM pg_catalog.unnest(b.keys) WITH ORDINALITY AS u(v, o) GROUP BY (u.o - 1) / {columns}) AS member
  JOIN {table} ON {key_is:member.key}
 WHERE {no_receipt_member}
