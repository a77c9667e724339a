-- glance: how many rows are still to be done, counted in one pass, in whatever order is quickest. $1 whether failed rows exist.
-- Returns found, and cursor as a sweep at its end. One snapshot for the whole table: no row can move from what was not looked at to what
-- was. For tables that this takes a moment for.
SELECT pg_catalog.count(*) AS found, NULL::text[] AS cursor FROM {table} WHERE {unsettled:$1}
