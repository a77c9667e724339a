-- lease_take: become the producer. Params: $1 migration id, $2 who, $3 lease in ms, $4 a holder known to be dead, or NULL.
-- Returns: one row with the epoch, none while another has it. The row lock makes two askers take turns; the second finds the first one's lease.
UPDATE drover.migrations
   SET producer = $2, producer_epoch = producer_epoch + 1, producer_until = pg_catalog.now() + $3::bigint * interval '1 ms',
       auditor = $2, auditor_until = pg_catalog.now() + $3::bigint * interval '1 ms'
 WHERE id = $1::integer AND (producer_until IS NULL OR producer_until < pg_catalog.now() OR producer = $4)
RETURNING producer_epoch
