-- failed_queue: queue the next chunk for a replay. Committed before the push: what is not pushed then is found by the audit.
-- Params: $1 to $6 as in drover.failed_matches(), $7 and $8 lowest and highest id. $9 at most, $10 actor. Locks what it takes. Safe to run twice: what is queued is not taken again.
-- Returns for each: id, migration_id, and the migration's name and whether it is paused.
WITH chosen AS (
  SELECT f.id, m.name, m.state = 'paused' AS paused
    FROM drover.failed_jobs AS f JOIN drover.migrations AS m ON m.id = f.migration_id
   WHERE drover.failed_matches(f, $1::integer, $2::text[], $3, $4, $5, $6::int8multirange) AND f.id BETWEEN $7::bigint AND $8::bigint
     AND f.state IN ('dead', 'ignored') AND m.state <> 'cancelled'
   ORDER BY f.id LIMIT $9::integer
     FOR NO KEY UPDATE OF f
), queued AS (
  UPDATE drover.failed_jobs AS f
     SET state = 'queued', attempts = 0, conflicts = 0, losses = 0, marks = NULL, conflict_since = NULL, due_at = NULL, queued_at = now(),
         replays = f.replays + 1, history = drover.history_add(f, 'replayed by ' || $10::text)
    FROM chosen WHERE f.id = chosen.id
  RETURNING f.id, f.migration_id, chosen.name, chosen.paused
)
SELECT id, migration_id, name, paused FROM queued ORDER BY id
