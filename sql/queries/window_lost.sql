-- window_lost: an audit found rows of an open window that are neither done nor in Redis. Params: $1 migration id, $2 number. Returns: how many audits have.
UPDATE drover.batches SET lost = lost + 1
 WHERE migration_id = $1::integer AND number = $2::bigint AND state = 'open'
RETURNING lost
