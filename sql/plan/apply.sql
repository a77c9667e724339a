-- apply: the whole of a `set` whose predicate looks at its own row alone. One statement tests and changes each row under its lock.
-- Leaves drover.changed, and drover.left if a changed row is still pending.
WITH changed AS (
  UPDATE {table} SET {assignments}
   WHERE {scope} AND {meant} AND {pending}
  RETURNING {still_pending} AS still
)
SELECT pg_catalog.set_config('drover.changed', pg_catalog.count(*)::text, true),
       pg_catalog.set_config('drover.left', coalesce(pg_catalog.min(still), ''), true)
  FROM changed
