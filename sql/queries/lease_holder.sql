-- lease_holder: who is the producer. Params: $1 migration id. Returns: one row, or none.
SELECT coalesce(producer, '') AS producer,
       coalesce(pg_catalog.date_part('epoch', producer_until - pg_catalog.now()) * 1000, 0)::bigint AS left_ms
  FROM drover.migrations WHERE id = $1::integer
