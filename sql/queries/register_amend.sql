-- register_amend: a mended file in the place of a paused migration's. Params: $1 id, $2 checksum, $3 source, $4 plan, $5 settings, $6 options,
-- $7 rows of a batch, $8 who. Returns: the new revision; nothing if it is not paused.
-- A size of batches that somebody asked for stays one that workers leave alone, as the size itself stays, unless there is another.
-- Another predicate may find other rows: sweeps begin anew, whatever the last one said.
WITH amended AS (
  UPDATE drover.migrations
     SET revision = revision + 1, checksum = $2, source = $3, plan = $4::jsonb, settings = $5::jsonb, batch_size = $7::integer,
         options = CASE WHEN options ? 'batch_size' THEN jsonb_build_object('batch_size', options -> 'batch_size') ELSE '{}' END || $6::jsonb,
         sweep = 0, sweep_cursor = NULL, sweep_found = 0, sweep_last = NULL, sweep_stuck = 0, sweep_done_at = NULL
   WHERE id = $1::integer AND state = 'paused'
  RETURNING id, name, revision
), noted AS (
  INSERT INTO drover.events (migration_id, migration, actor, action, detail)
  SELECT id, name, $8, 'amend', 'revision ' || revision || ', sha256 ' || $2 FROM amended
)
SELECT revision FROM amended
