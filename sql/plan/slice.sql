-- slice: how much of the claimed range this transaction does, where more than drover.slice_rows of its rows are pending: drover.last becomes the
-- last of so many, and drover.next the key that is left to begin with. Run after drover.take_slice(), unless that has told; drover.finish_slice()
-- keeps what is left. What else there is between the two keys is not pending now, so that it is no matter of this batch.
SELECT pg_catalog.set_config('drover.last', edge.this::text, true), pg_catalog.set_config('drover.next', edge.next::text, true)
  FROM (SELECT {k_text:hits} AS this, pg_catalog.lead({k_text:hits}) OVER (ORDER BY hits.n) AS next
          FROM (SELECT {key_as}, pg_catalog.row_number() OVER (ORDER BY {key}) AS n
                  FROM {table} WHERE {scope} AND {meant} AND {pending} AND pg_catalog.current_setting('drover.slice_rows') <> ''
                 ORDER BY {key} OFFSET greatest(drover.number_of('drover.slice_rows') - 1, 0) LIMIT 2) AS hits) AS edge
 WHERE edge.next IS NOT NULL
