-- worker_plan: a migration as workers run it. $1 its id.
-- Returns one row: revision, plan and settings (json), ledger_only.
SELECT revision, plan::text AS plan, settings::text AS settings, ledger_only FROM drover.migrations WHERE id = $1::integer
