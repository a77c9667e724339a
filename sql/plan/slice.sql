-- slice: how much of the claimed range this transaction does, where more than $1 of its rows are pending: drover.last becomes the $1st, and
-- drover.next the key that is left to begin with. Run between claim_batch and the script; drover.finish_slice() keeps what is left.
-- What else there is between the two keys is not pending now, so that it is no matter of this batch.
SELECT pg_catalog.set_config('drover.last', edge.this::text, true), pg_catalog.set_config('drover.next', edge.next::text, true)
  FROM (SELECT {k_text:hits} AS this, pg_catalog.lead({k_text:hits}) OVER (ORDER BY hits.n) AS next
          FROM (SELECT {key_as}, pg_catalog.row_number() OVER (ORDER BY {key}) AS n
                  FROM {table} WHERE {scope} AND {meant} AND {pending} ORDER BY {key} OFFSET $1::bigint - 1 LIMIT 2) AS hits) AS edge
 WHERE edge.next IS NOT NULL
