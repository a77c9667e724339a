-- worker_breaker: count a dead letter against the circuit breaker. $1 migration, $2 the dead letter, $3 percent, $4 window in rows, $5 who.
-- Returns the reason if it paused the migration by this. A replay that failed is the dead letter that it was: it counts no second time.
SELECT drover.breaker($1::integer, f.root, 1, $3::integer, $4::integer, $5) AS reason
  FROM drover.failed_jobs AS f WHERE f.id = $2::bigint AND f.replays = 0
