-- worker_unblock: a claim could not lock its batch. If the one that holds it is a lane of ours that is dead, end its backend.
-- $1 migration, $2 batch, $3 application_name of the lane that asks (it holds nothing now, so another backend of that name is a lost connection's),
-- $4 a worker's lease in ms. Lanes are called 'drover <worker>/<lane>'; a worker is dead when its heartbeat is older than its lease.
-- Returns the pids that were ended. Needs no rights beyond the role's own: the fleet shares one role.
SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) AS ended
  FROM drover.batches AS b
  JOIN pg_catalog.pg_locks AS l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = b.xmax
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
 WHERE b.migration_id = $1::integer AND b.number = $2::bigint AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.application_name LIKE 'drover %/%'
   AND (a.application_name = $3
        OR NOT EXISTS (SELECT FROM drover.workers AS w
                        WHERE w.name = pg_catalog.regexp_replace(pg_catalog.substr(a.application_name, 8), '/[0-9]+$', '')
                          AND w.heartbeat_at > pg_catalog.now() - $4::bigint * interval '1 ms'))
