-- audit_floor: every batch below the floor is finished; move it up. Params: $1 migration id, $2 epoch, $3 auditor.
-- A split's children are numbered before they can be seen, but their parent is seen, unfinished and lower, until they can; the scan's are
-- made by whoever holds the epoch. Returns: one row with the floor, and the server's time; none if another took over.
UPDATE drover.migrations AS m
   SET audit_floor = coalesce(
         (SELECT b.number FROM drover.batches AS b
           WHERE b.migration_id = m.id AND b.number >= m.audit_floor AND b.state IN ('queued', 'open') ORDER BY b.number LIMIT 1),
         (SELECT b.number + 1 FROM drover.batches AS b WHERE b.migration_id = m.id ORDER BY b.number DESC LIMIT 1),
         m.audit_floor)
 WHERE m.id = $1::integer AND m.producer_epoch = $2::bigint AND m.auditor = $3
RETURNING m.audit_floor, m.push_seq, pg_catalog.clock_timestamp() AS looked_at
