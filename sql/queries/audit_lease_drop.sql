-- audit_lease_drop: give all of an auditor's leases back. Params: $1 who. Safe to run twice.
UPDATE drover.migrations SET auditor_until = NULL
 WHERE auditor = $1 AND auditor_until > pg_catalog.now() AND (producer_until IS NULL OR producer_until < pg_catalog.now())
