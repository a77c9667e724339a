-- worker_piece: the next piece of a slice is what the script does next; or no row, if there are no more. Before it a pause for others, unless
-- the piece before had nothing to do, or rows are locked for long enough as it is: a millisecond, for PostgreSQL has no shorter ones. One statement
-- instead of a function, and without parameters, for which it would be planned anew: it runs hundreds of times a second. Its expressions are
-- computed one after the other.
SELECT pg_catalog.set_config('drover.piece', (drover.number_of('drover.piece') + 1)::text, true),
       pg_catalog.set_config('drover.first', coalesce((pg_catalog.current_setting('drover.piece_starts')::text[])[drover.number_of('drover.piece')::integer], '{NULL}'), true),
       pg_catalog.set_config('drover.last', coalesce((pg_catalog.current_setting('drover.piece_ends')::text[])[drover.number_of('drover.piece')::integer], '{NULL}'), true),
       pg_catalog.set_config('drover.pause_begun', extract(epoch FROM pg_catalog.clock_timestamp())::text, true),
       CASE WHEN (drover.number_of('drover.piece') = 1 OR pg_catalog.current_setting('drover.changed') <> pg_catalog.current_setting('drover.changed_before'))
             AND pg_catalog.current_setting('drover.first') <> '{NULL}' AND drover.number_of('drover.paused') < 20000
            THEN pg_catalog.pg_sleep(0.0005) END,
       pg_catalog.set_config('drover.paused', (drover.number_of('drover.paused') + 1000000 *
         (extract(epoch FROM pg_catalog.clock_timestamp()) - pg_catalog.current_setting('drover.pause_begun')::numeric))::bigint::text, true),
       pg_catalog.set_config('drover.changed_before', pg_catalog.current_setting('drover.changed'), true)
