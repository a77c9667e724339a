-- lease_renew: stay the producer. Params: $1 migration id, $2 epoch, $3 lease in ms. Returns: a row unless another took over.
UPDATE drover.migrations
   SET producer_until = pg_catalog.now() + $3::bigint * interval '1 ms', auditor = producer,
       auditor_until = pg_catalog.now() + $3::bigint * interval '1 ms'
 WHERE id = $1::integer AND producer_epoch = $2::bigint
RETURNING id
