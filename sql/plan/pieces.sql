-- pieces: as slice, for a transaction that pauses before each drover.piece_rows of them. Leaves where its pieces begin and end in
-- drover.piece_starts and drover.piece_ends, for worker_piece; the last one ends where the batch does, if that has no more rows.
SELECT pg_catalog.set_config('drover.piece_starts', (ARRAY[pg_catalog.current_setting('drover.first')] ||
                                                     coalesce(pg_catalog.array_agg(edge.next ORDER BY edge.n), '{}'))::text, true),
       pg_catalog.set_config('drover.piece_ends', (coalesce(pg_catalog.array_agg(edge.this ORDER BY edge.n), '{}') ||
                                                   ARRAY[pg_catalog.current_setting('drover.last')])::text, true),
       pg_catalog.set_config('drover.done_at', extract(epoch FROM pg_catalog.clock_timestamp())::text, true),
       pg_catalog.set_config('drover.next', coalesce(pg_catalog.min(edge.next) FILTER (WHERE edge.n = drover.number_of('drover.slice_rows')), ''), true)
  FROM (SELECT hits.n, {k_text:hits}::text AS this, pg_catalog.lead({k_text:hits}::text) OVER (ORDER BY hits.n) AS next
          FROM (SELECT {key_as}, pg_catalog.row_number() OVER (ORDER BY {key}) AS n
                  FROM {table} WHERE {scope} AND {meant} AND {pending} AND pg_catalog.current_setting('drover.slice_rows') <> ''
                 ORDER BY {key} LIMIT drover.number_of('drover.slice_rows') + 1) AS hits
         WHERE hits.n % drover.number_of('drover.piece_rows') < 2) AS edge
 WHERE edge.n % drover.number_of('drover.piece_rows') = 0 AND edge.next IS NOT NULL
HAVING pg_catalog.current_setting('drover.slice_rows') <> ''
