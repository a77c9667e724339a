-- schema_lock: one at a time installs, upgrades or re-keys, until its transaction ends. Jobs lock (1148348278, migration), never 0.
SELECT pg_catalog.pg_advisory_xact_lock(1148348278, 0)
