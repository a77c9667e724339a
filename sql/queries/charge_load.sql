-- charge_load: what the scan, the sweeps, the audit and the proof need of a migration, once per revision.
-- Params: $1 migration id. Returns: one row, or none. Statements that the plan has not are NULL. What scan_keys is now is called scan_leaps in plans: older
-- plans' scan_keys has other parameters.
SELECT m.id, m.revision, m.name, m.mode = 'row' AS row_mode, m.ledger_only, m.table_name, pg_catalog.cardinality(m.key_columns) AS columns,
       pg_catalog.array_to_string(m.key_columns, ', ') AS key_name, m.settings::text AS settings, m.estimated_rows,
       m.plan #>> '{statements,scan}' AS scan, m.plan #>> '{statements,scan_blind}' AS scan_blind,
       m.plan #>> '{statements,scan_leaps}' AS scan_keys,
       m.plan #>> '{statements,sweep}' AS sweep, m.plan #>> '{statements,sweep_blind}' AS sweep_blind,
       m.plan #>> '{statements,gather}' AS gather, m.plan #>> '{statements,gathered}' AS gathered,
       m.plan #>> '{statements,close}' AS close, m.plan #>> '{statements,missing}' AS missing,
       m.plan #>> '{statements,verify}' AS verify, m.plan #>> '{statements,verify_blind}' AS verify_blind,
       coalesce((m.plan ->> 'turns_pay')::boolean, false) AS turns_pay,
       (SELECT installation FROM drover.meta) AS installation
  FROM drover.migrations AS m
 WHERE m.id = $1::integer
