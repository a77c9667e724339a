-- register_lock: one registration at a time. Locks: an advisory one, until the transaction ends.
SELECT pg_catalog.pg_advisory_xact_lock(1148348278, 0)
