-- apply: the whole of a `set` whose predicate looks at its own row alone. One statement tests and changes each row under its lock.
-- Adds to drover.changed, and leaves a changed row that is still pending in drover.left, and in drover.done_at when this was: it alone may run
-- again and again in a transaction.
WITH changed AS (
  UPDATE {table} SET {assignments}
   WHERE {scope} AND {meant} AND {pending}
  RETURNING CASE WHEN {still_pending} THEN ({key_text})::text END AS still
)
SELECT pg_catalog.set_config('drover.changed', (drover.number_of('drover.changed') + pg_catalog.count(*))::text, true),
       pg_catalog.set_config('drover.left', coalesce(nullif(pg_catalog.current_setting('drover.left'), ''), pg_catalog.min(still), ''), true),
       pg_catalog.set_config('drover.done_at', extract(epoch FROM pg_catalog.clock_timestamp())::text, true)
  FROM changed
