-- connection_at_work: whether the server is at work for a connection that is silent; asked on another one, which does not count.
-- Params: $1 its application_name, $2 the process id of its backend as the client knows it, which a pooler may have made up: then all that
-- have the name are meant. Returns: at_work. A backend that waits for its client is not at work: the client waits, so one of them was not
-- heard. Takes no locks.
WITH named AS (
  SELECT pid, state IN ('active', 'fastpath function call', 'disabled') AND wait_event_type IS DISTINCT FROM 'Client' AS works
    FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND pid <> pg_catalog.pg_backend_pid()
)
SELECT coalesce(bool_or(works), false) AS at_work
  FROM named WHERE pid = $2::integer OR NOT EXISTS (SELECT FROM named WHERE pid = $2::integer)
