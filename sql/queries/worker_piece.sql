-- worker_piece: the next piece of a slice is what the script does next; or no row, if there are no more. It comes when the worker has heard of the
-- piece before: until then others had the processor, which is the pause that is measured. One statement instead of a function, and without
-- parameters, for which it would be planned anew: it runs thousands of times a second. Its expressions are computed one after the other.
SELECT pg_catalog.set_config('drover.paused', (drover.number_of('drover.paused') + coalesce(1000000 * (extract(epoch FROM pg_catalog.clock_timestamp())
         - nullif(pg_catalog.current_setting('drover.done_at', true), '')::numeric), 0)::bigint)::text, true),
       pg_catalog.set_config('drover.piece', (drover.number_of('drover.piece') + 1)::text, true),
       pg_catalog.set_config('drover.first', coalesce((pg_catalog.current_setting('drover.piece_starts')::text[])[drover.number_of('drover.piece')::integer], '{NULL}'), true),
       pg_catalog.set_config('drover.last', coalesce((pg_catalog.current_setting('drover.piece_ends')::text[])[drover.number_of('drover.piece')::integer], '{NULL}'), true)
