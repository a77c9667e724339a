-- schema_rekey: a new identity for a copied database. What is bound to the original's processes or transactions is let go: its workers,
-- leases and transaction ids. The jobs stay queued in the ledger; the audit pushes them under the new keys.
-- Params: $1 actor (text). Safe to run twice (another identity each time).
WITH rekeyed AS (
  UPDATE drover.meta AS m
     SET installation = left(replace(gen_random_uuid()::text, '-', ''), 12),
         system_identifier = s.system_identifier::text, database_oid = d.oid
    FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d
   WHERE d.datname = pg_catalog.current_database()
  RETURNING m.installation
), strangers AS (
  DELETE FROM drover.workers
), leases AS (
  UPDATE drover.migrations
     SET producer = NULL, producer_until = NULL, producer_epoch = producer_epoch + 1, auditor = NULL, auditor_until = NULL,
         sweep_xid = CASE WHEN sweep_xid IS NOT NULL THEN pg_catalog.pg_current_xact_id() END
), closed AS (
  UPDATE drover.batches SET closed_xid = pg_catalog.pg_current_xact_id() WHERE closed_xid IS NOT NULL
)
INSERT INTO drover.events (actor, action, detail)
SELECT $1, 'rekey', 'the installation is now ' || installation FROM rekeyed
