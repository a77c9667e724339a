-- worker_lanes: which lanes the server is at work for. Params: $1 text[] names of lanes, as in application_name. Returns: those of them.
-- A lane that waits for an answer and is not among them will never have it. Takes no locks.
SELECT application_name
  FROM pg_catalog.pg_stat_activity
 WHERE application_name = ANY ($1::text[]) AND state IN ('active', 'fastpath function call', 'disabled')
