-- audit_lease_take: become, or stay, the auditor of a migration that has no producer. Params: $1 migration id, $2 who, $3 lease in ms.
-- The lease of a worker that has not been heard of for 12 s is over: it may be long, for slow audits, and nobody waits for the dead.
-- Returns: one row with the producer's epoch, which fences what the auditor does; none if another has it.
UPDATE drover.migrations AS m
   SET auditor = $2, auditor_until = pg_catalog.now() + $3::bigint * interval '1 ms'
 WHERE id = $1::integer AND (producer_until IS NULL OR producer_until < pg_catalog.now())
   AND (auditor = $2 OR auditor_until IS NULL OR auditor_until < pg_catalog.now()
        OR EXISTS (SELECT FROM drover.workers AS w WHERE w.name = m.auditor AND w.heartbeat_at < pg_catalog.now() - interval '12 s'))
RETURNING producer_epoch
