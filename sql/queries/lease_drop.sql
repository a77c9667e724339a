-- lease_drop: give the producer's lease back. Params: $1 migration id, $2 epoch. Safe to run twice.
UPDATE drover.migrations SET producer_until = NULL, auditor_until = NULL WHERE id = $1::integer AND producer_epoch = $2::bigint
