-- window_list: open windows of row jobs. Params: $1 migration id, $2 above this number, $3 at most, $4 made so many ms ago
-- or earlier. Returns: number, in order.
SELECT number FROM drover.batches
 WHERE migration_id = $1::integer AND number > $2::bigint AND state = 'open' AND created_at <= now() - $4::bigint * interval '1 ms'
   AND number >= (SELECT audit_floor FROM drover.migrations WHERE id = $1::integer)
 ORDER BY number LIMIT $3::integer
