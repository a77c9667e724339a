-- 002_functions: the moves of the ledger. Each is one step of a job's transaction; what a step refuses, it refuses with a
-- SQLSTATE of its own, so that the rest of a pipeline is skipped and the worker knows why:
--   DR001  the job is finished already: acknowledge it
--   DR002  the migration is not running: hand the job back
--   DR003  the worker's copy of the migration is out of date: load it again
--   DR004  there is no such job: drop the entry
--   DR005  changed rows are still pending: the migration does not converge
--   DR006  the job was taken over from a dead worker: mark its start first
-- Steps hand values on in transaction-local settings: drover.first and drover.last (a range), drover.run_first and drover.run_last (a part of
-- it), drover.except1..4 (keys within it that are left out), drover.claim1..4 (keys claimed, an array per column), drover.keys1..4 (those of
-- them that are pending), drover.windows (the window of each key claimed), drover.batch (number of the batch claimed, or of the one it was
-- split off; empty for row jobs), drover.crashed ('true': this row crashed the server), drover.changed (rows, so far), drover.left (one of them
-- that is still pending), drover.failed, drover.row, drover.next (the key at which the rest of a batch begins that is done in slices or by
-- turns), drover.slice_rows (of a slice; empty: as many as are changed), drover.even (1: of a range the even keys alone), and of a slice with
-- pauses in it drover.piece_rows, drover.piece_starts and drover.piece_ends (keys), drover.piece (the current one), drover.done_at (an epoch: the
-- end of what the worker has to hear of before it sends the next one, or the finish), drover.paused (microseconds since then, of all of them).
-- The migration's settings have statements planned for each transaction, and the script may leave the planner as its user has it. Functions that
-- look up rows by their primary keys alone, in nearly every transaction, keep their plans instead: without a scan of the whole table, which
-- seems cheap while there are few batches, and would stay for as long as the connection.

CREATE FUNCTION drover.key_hash(key text[]) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT pg_catalog.md5(key::text)::uuid $$;

-- Enter a migration: shared with all other jobs, so that amend can wait until the last one has left.
CREATE FUNCTION drover.enter(p_migration integer, p_revision integer, p_replay boolean) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  m         record;
  recovered timestamptz := pg_stat_get_bgwriter_stat_reset_time();
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1148348278, p_migration);
  SELECT state, revision, crashes, crash_seen, crash_paused INTO m FROM drover.migrations WHERE id = p_migration;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no migration %', p_migration USING ERRCODE = 'DR004';
  END IF;
  IF m.state <> 'running' AND NOT (p_replay AND m.state IN ('complete', 'limited')) THEN
    RAISE EXCEPTION 'the migration is %', m.state USING ERRCODE = 'DR002', DETAIL = m.state;
  END IF;
  -- Whoever was at work when a backend crashed says so first: this may be the crash that pauses the migration. Then until it has.
  -- A server that was started anew as a whole recovers as it starts, and keeps nobody waiting.
  IF clock_timestamp() BETWEEN recovered AND recovered + interval '10 s' AND recovered > pg_postmaster_start_time() + interval '300 ms'
     AND (recovered IS DISTINCT FROM m.crash_seen
          OR (m.crashes >= 3 AND recovered IS DISTINCT FROM m.crash_paused AND m.state = 'running'))
     AND current_setting('drover.crashed', true) IS DISTINCT FROM 'true' THEN
    RAISE EXCEPTION 'the server crashed just now' USING ERRCODE = '57P03';
  END IF;
  IF m.revision <> p_revision THEN
    RAISE EXCEPTION 'the migration is at revision %, not %', m.revision, p_revision USING ERRCODE = 'DR003';
  END IF;
END $$;

-- Keys in the flat form of batches.keys -> drover.claim1..n.
CREATE FUNCTION drover.set_claim(p_keys text[], p_columns integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  FOR c IN 1..p_columns LOOP
    PERFORM set_config('drover.claim' || c, coalesce((
      SELECT array_agg(v ORDER BY o) FROM unnest(p_keys) WITH ORDINALITY AS u(v, o) WHERE (o - 1) % p_columns = c - 1)::text, '{}'), true);
  END LOOP;
END $$;

-- How many rows a batch has, for whoever would bury the one that fails: of several keys it is never one, for rows that the application has put
-- back to pending are in no count.
CREATE FUNCTION drover.rows_of(b drover.batches) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN b.keys IS NULL AND b.first_key <> b.last_key THEN greatest(b.rows, 2) ELSE b.rows END $$;

-- Claim a batch for this transaction. Waits for a predecessor whose commit is still on its way. Returns its rows and its failures so far.
CREATE FUNCTION drover.claim_batch(p_migration integer, p_number bigint, p_revision integer, p_listed boolean, p_marked boolean,
                                   OUT claimed_rows integer, OUT failures integer)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  b record;
BEGIN
  PERFORM drover.enter(p_migration, p_revision, false);
  SELECT first_key, last_key, keys, root, state, marks, drover.rows_of(t) AS rows, retry_count, conflicts INTO b
    FROM drover.batches AS t WHERE migration_id = p_migration AND number = p_number FOR NO KEY UPDATE;
  IF NOT FOUND OR b.state IN ('open', 'closed') OR (b.keys IS NOT NULL) <> p_listed THEN
    RAISE EXCEPTION 'there is no such batch' USING ERRCODE = 'DR004';
  END IF;
  IF b.state <> 'queued' THEN
    RAISE EXCEPTION 'the batch is %', b.state USING ERRCODE = 'DR001';
  END IF;
  IF b.marks IS NOT NULL AND NOT p_marked THEN
    RAISE EXCEPTION 'the batch was taken over before' USING ERRCODE = 'DR006';
  END IF;
  PERFORM set_config('drover.first', b.first_key::text, true), set_config('drover.last', b.last_key::text, true),
          set_config('drover.batch', coalesce(b.root, p_number)::text, true), set_config('drover.even', '0', true),
          set_config('drover.changed', '0', true), set_config('drover.left', '', true), set_config('drover.row', '', true),
          set_config('drover.slice_rows', '', true);
  IF p_listed THEN
    PERFORM drover.set_claim(b.keys, cardinality(b.first_key)),
            set_config('drover.windows', array_fill(coalesce(b.root, p_number), ARRAY[cardinality(b.keys) / cardinality(b.first_key)])::text, true);
  END IF;
  claimed_rows := b.rows;
  failures := b.retry_count - b.conflicts;
END $$;

-- Claim row jobs: p_claims has one array literal per key column, p_windows the window of each key. Of none of them by anyone, to look
-- what the script does over no rows; of a migration in batch mode there are none, whatever an entry in Redis says.
CREATE FUNCTION drover.claim_rows(p_migration integer, p_revision integer, p_windows text, p_claims text[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
  PERFORM drover.enter(p_migration, p_revision, false);
  IF p_windows <> '{}' AND NOT EXISTS (SELECT FROM drover.migrations WHERE id = p_migration AND mode = 'row') THEN
    RAISE EXCEPTION 'the migration has no row jobs' USING ERRCODE = 'DR004';
  END IF;
  -- From here on this counts as a transaction that may see a window open: its receipts are kept until it has ended.
  PERFORM pg_current_xact_id();
  PERFORM set_config('drover.windows', p_windows, true), set_config('drover.batch', '', true),
          set_config('drover.changed', '0', true), set_config('drover.left', '', true), set_config('drover.row', '', true);
  FOR c IN 1..cardinality(p_claims) LOOP
    PERFORM set_config('drover.claim' || c, p_claims[c], true);
  END LOOP;
END $$;

-- Claim row jobs that follow one another in their window, as the range of keys from the first to the last of them: the window's scan found
-- every row between them that was pending, and the predicate passes over those that are done. The ledger's bounds hold, whatever the entries in
-- Redis say. Rows of the window that have a dead letter are left out. A late one, of a window that is closed or became a batch, does no harm.
CREATE FUNCTION drover.claim_run(p_migration integer, p_revision integer, p_window bigint, p_first text[], p_last text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  b record;
BEGIN
  PERFORM drover.enter(p_migration, p_revision, false);
  SELECT first_key, last_key INTO b FROM drover.batches WHERE migration_id = p_migration AND number = p_window;
  IF NOT FOUND OR cardinality(p_first) <> cardinality(b.first_key) OR cardinality(p_last) <> cardinality(b.first_key) THEN
    RAISE EXCEPTION 'there is no such window' USING ERRCODE = 'DR004';
  END IF;
  PERFORM set_config('drover.first', b.first_key::text, true), set_config('drover.last', b.last_key::text, true),
          set_config('drover.run_first', p_first::text, true), set_config('drover.run_last', p_last::text, true),
          set_config('drover.batch', '', true), set_config('drover.changed', '0', true), set_config('drover.left', '', true),
          set_config('drover.row', '', true);
  FOR c IN 1..cardinality(b.first_key) LOOP
    PERFORM set_config('drover.except' || c, coalesce((
      SELECT array_agg(key[c] ORDER BY id) FROM drover.failed_jobs
       WHERE migration_id = p_migration AND root = p_window AND state IN ('dead', 'queued', 'retrying', 'ignored'))::text, '{}'), true);
  END LOOP;
END $$;

-- Claim dead letters that were queued for a replay, or rows that wait for their next attempt. Those in any other state are left
-- out; DR001 if that leaves none. Locked one by one in the order of their numbers: asked for as a set, the planner that may not sort would
-- rather read all that are queued, and there may be a million.
CREATE FUNCTION drover.claim_failed(p_migration integer, p_revision integer, p_ids bigint[], p_marked boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  f record;
BEGIN
  PERFORM drover.enter(p_migration, p_revision, true);
  SELECT array_agg(id) AS ids, array_agg(key ORDER BY id) AS keys, max(cardinality(key)) AS columns, bool_or(marks IS NOT NULL) AS watched INTO f
    FROM (SELECT locked.* FROM (SELECT DISTINCT u.id FROM unnest(p_ids) AS u(id) ORDER BY u.id) AS wanted
           CROSS JOIN LATERAL (SELECT j.id, j.key, j.marks FROM drover.failed_jobs AS j
                                WHERE j.id = wanted.id AND j.migration_id = p_migration AND j.state IN ('queued', 'retrying')
                                  FOR NO KEY UPDATE) AS locked) AS claimed;
  IF f.ids IS NULL THEN
    RAISE EXCEPTION 'nothing of it is queued' USING ERRCODE = 'DR001';
  END IF;
  IF f.watched AND NOT p_marked THEN
    RAISE EXCEPTION 'the job was taken over before' USING ERRCODE = 'DR006';
  END IF;
  PERFORM set_config('drover.failed', f.ids::text, true), set_config('drover.batch', '', true),
          set_config('drover.changed', '0', true), set_config('drover.left', '', true), set_config('drover.row', '', true);
  PERFORM drover.set_claim(ARRAY(SELECT unnest(f.keys)), f.columns);
END $$;

-- Refuse a transform that left its rows pending; the counts of the rest go to the lane's own row.
CREATE FUNCTION drover.count_rows(p_migration integer, p_lane text, p_jobs integer, p_skipped bigint) RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  changed bigint := current_setting('drover.changed')::bigint;
BEGIN
  IF current_setting('drover.left') <> '' THEN
    RAISE EXCEPTION 'the row % is still pending after it was changed', current_setting('drover.left')
      USING ERRCODE = 'DR005';
  END IF;
  INSERT INTO drover.lane_counts AS c (migration_id, lane, rows_changed, rows_skipped, jobs)
       VALUES (p_migration, p_lane, changed, greatest(p_skipped, 0), p_jobs)
  ON CONFLICT (migration_id, lane) DO UPDATE
          SET rows_changed = c.rows_changed + excluded.rows_changed, rows_skipped = c.rows_skipped + excluded.rows_skipped,
              jobs = c.jobs + excluded.jobs, updated_at = now();
  RETURN changed;
END $$;

-- Finish a claimed batch. Returns the rows changed.
CREATE FUNCTION drover.finish_batch(p_migration integer, p_number bigint, p_worker text, p_lane text) RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  v_changed bigint := current_setting('drover.changed')::bigint;
  v_skipped bigint;
BEGIN
  UPDATE drover.batches
     SET state = 'done', rows_changed = rows_changed + v_changed, rows_skipped = rows_skipped + greatest(rows - v_changed, 0), worker = p_worker,
         started_at = transaction_timestamp(), completed_at = clock_timestamp(), conflict_since = NULL
   WHERE migration_id = p_migration AND number = p_number
  RETURNING greatest(rows - v_changed, 0) INTO v_skipped;
  RETURN drover.count_rows(p_migration, p_lane, 1, v_skipped);
END $$;

-- Keep the first p_rows of a claimed list for this transaction, where it has more; drover.next then says so.
CREATE FUNCTION drover.slice_list(p_migration integer, p_number bigint, p_rows integer) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  b record;
BEGIN
  SELECT keys, cardinality(first_key) AS columns, coalesce(root, number) AS root INTO b
    FROM drover.batches WHERE migration_id = p_migration AND number = p_number;
  PERFORM set_config('drover.slice_rows', p_rows::text, true);
  IF cardinality(b.keys) > p_rows * b.columns THEN
    PERFORM drover.set_claim(b.keys[:p_rows * b.columns], b.columns),
            set_config('drover.windows', array_fill(b.root, ARRAY[p_rows])::text, true),
            set_config('drover.next', b.keys[p_rows * b.columns + 1 : (p_rows + 1) * b.columns]::text, true);
  END IF;
END $$;

-- A setting that this transaction may have made; 0 if not.
CREATE FUNCTION drover.number_of(p_setting text) RETURNS bigint
LANGUAGE sql AS $$ SELECT coalesce(nullif(pg_catalog.current_setting(p_setting, true), ''), '0')::bigint $$;

-- Of a claimed range this transaction does p_rows at most, with a pause before each p_piece_rows of them (0: without). The migration's `slice` or
-- `pieces` finds where they end; or this, if p_numbers says that keys are whole numbers of one column and, by the ledger, at least every other
-- one is a row's: without a look at the rows, of which there may be none then, or twice as many. The slice has as many rows as are changed.
CREATE FUNCTION drover.take_slice(p_migration integer, p_number bigint, p_rows integer, p_piece_rows integer, p_numbers boolean) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  v_first numeric;
  v_last  numeric;
  v_rows  integer;
  v_step  numeric;
  v_n     integer := CASE p_piece_rows WHEN 0 THEN 1 ELSE p_rows / p_piece_rows END;
BEGIN
  PERFORM set_config('drover.slice_rows', p_rows::text, true), set_config('drover.piece_rows', p_piece_rows::text, true);
  IF NOT p_numbers THEN
    RETURN;
  END IF;
  v_first := (current_setting('drover.first')::text[])[1];
  v_last := (current_setting('drover.last')::text[])[1];
  v_rows := (SELECT rows FROM drover.batches WHERE migration_id = p_migration AND number = p_number);
  IF v_last - v_first >= 2 * v_rows THEN
    RETURN;
  END IF;
  v_step := greatest(ceil((v_last - v_first + 1) * (p_rows / v_n) / v_rows), p_rows / v_n);
  PERFORM set_config('drover.slice_rows', '', true),
          set_config('drover.next', CASE WHEN v_first + v_n * v_step <= v_last THEN ARRAY[v_first + v_n * v_step]::text ELSE '' END, true);
  IF p_piece_rows = 0 THEN
    PERFORM set_config('drover.last', ARRAY[least(v_first + v_step - 1, v_last)]::text, true);
    RETURN;
  END IF;
  PERFORM set_config('drover.piece_starts', array_agg(ARRAY[k]::text ORDER BY k)::text, true),
          set_config('drover.piece_ends', array_agg(ARRAY[least(k + v_step - 1, v_last)]::text ORDER BY k)::text, true),
          set_config('drover.done_at', extract(epoch FROM clock_timestamp())::text, true)
     FROM generate_series(v_first, least(v_first + (v_n - 1) * v_step, v_last), v_step) AS k;
END $$;

-- Finish what this transaction did of a claimed batch: all of it unless drover.next says where the rest begins, which stays queued as a smaller
-- batch under the same number; and of a turn (p_turn), whose rest may be without even keys, unless it changed all that the scan found. It did
-- drover.slice_rows, or if that is empty, as many as it changed. Returns the rows changed, whether there is a rest, the rows done, and for how many
-- microseconds this transaction was at work and for how many it paused, by the server's clock: the way to the worker is neither.
CREATE FUNCTION drover.finish_slice(p_migration integer, p_number bigint, p_worker text, p_lane text, p_turn boolean,
                                    OUT changed bigint, OUT more boolean, OUT did integer, OUT worked bigint, OUT paused bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  v_next text[] := nullif(current_setting('drover.next', true), '');
BEGIN
  changed := current_setting('drover.changed');
  did := changed;
  paused := drover.number_of('drover.paused')
            + 1000000 * coalesce(extract(epoch FROM clock_timestamp()) - nullif(current_setting('drover.done_at', true), '')::numeric, 0);
  worked := 1000000 * extract(epoch FROM clock_timestamp() - transaction_timestamp()) - paused;
  more := v_next IS NOT NULL
          AND NOT (p_turn AND EXISTS (SELECT FROM drover.batches WHERE migration_id = p_migration AND number = p_number AND rows <= changed));
  IF NOT more THEN
    PERFORM drover.finish_batch(p_migration, p_number, p_worker, p_lane);
    RETURN;
  END IF;
  did := coalesce(nullif(current_setting('drover.slice_rows'), '')::integer, changed);
  PERFORM drover.count_rows(p_migration, p_lane, 0, did - changed);
  UPDATE drover.batches
     SET first_key = v_next, keys = keys[did * cardinality(v_next) + 1 :], rows = greatest(rows - did, 1),
         rows_changed = rows_changed + changed, rows_skipped = rows_skipped + greatest(did - changed, 0), worker = p_worker,
         started_at = transaction_timestamp(), conflict_since = NULL
   WHERE migration_id = p_migration AND number = p_number;
END $$;

-- Of a claimed range of whole numbers with more rows than the p_rows that a transaction should have, what this transaction does. The range is
-- cut into two parts or more; first of each part the even keys have their turn, then what is left of each. By then the pages have room where
-- the even keys' rows were, and new versions stay in them. One right after the other, the two turns of a page would be too close: a transaction
-- that began before the end of the first still keeps the old rows.
CREATE FUNCTION drover.take_turn(p_migration integer, p_number bigint, p_turn integer, p_rows integer) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  v_rows  integer := (SELECT rows + rows_changed FROM drover.batches WHERE migration_id = p_migration AND number = p_number);
  v_parts integer := greatest((v_rows + 2 * p_rows - 1) / (2 * p_rows), 2);
  v_first numeric := (current_setting('drover.first')::text[])[1];
  v_last  numeric := (current_setting('drover.last')::text[])[1];
  v_even  boolean := p_turn < v_parts;
  v_step  numeric;
BEGIN
  IF v_rows <= p_rows OR v_last - v_first < p_rows OR p_turn >= 2 * v_parts - 1 THEN
    RETURN;
  END IF;
  -- What is left begins where the part before ended. No number is made that the key's type may not have.
  v_step := div(v_last - v_first, CASE WHEN v_even THEN v_parts ELSE 2 * v_parts - p_turn END) + 1;
  PERFORM set_config('drover.next', ARRAY[CASE WHEN v_even THEN v_first ELSE least(v_first + v_step, v_last) END]::text, true);
  IF v_even THEN
    v_first := least(v_first + p_turn * v_step, v_last);
  END IF;
  PERFORM set_config('drover.first', ARRAY[v_first]::text, true), set_config('drover.even', v_even::integer::text, true),
          set_config('drover.last', ARRAY[least(v_first + v_step - 1, v_last)]::text, true);
END $$;

-- Finish claimed row jobs or dead letters. Returns the rows changed.
CREATE FUNCTION drover.finish_rows(p_migration integer, p_lane text, p_jobs integer) RETURNS bigint
LANGUAGE sql AS $$
  SELECT drover.count_rows(p_migration, p_lane, p_jobs, p_jobs - pg_catalog.current_setting('drover.changed')::bigint)
$$;

-- Finish a claimed run of row jobs, and count it for its window. Returns the rows changed.
CREATE FUNCTION drover.finish_run(p_migration integer, p_lane text, p_jobs integer, p_window bigint) RETURNS bigint
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  v_changed bigint := drover.finish_rows(p_migration, p_lane, p_jobs);
BEGIN
  IF v_changed > 0 THEN
    INSERT INTO drover.window_counts (migration_id, batch, rows) VALUES (p_migration, p_window, v_changed);
  END IF;
  RETURN v_changed;
END $$;

-- Note a failure of a batch that will be tried again. What the policy needs to know comes back; all NULL if it is not queued any more.
-- Crashes are summed up over everything that was split off the same batch: a row that kills its server does so in every part.
-- Whoever notes a failure survived this run: its mark is taken back.
CREATE FUNCTION drover.note_batch(p_migration integer, p_number bigint, p_worker text, p_kind text, p_error text, p_mark text,
                                  OUT state text, OUT rows integer, OUT attempts integer, OUT conflicts integer, OUT losses integer,
                                  OUT conflict_s double precision)
LANGUAGE sql AS $$
  WITH noted AS (
  UPDATE drover.batches AS b
     SET retry_count = b.retry_count + (p_kind IN ('conflict', 'retry', 'timeout'))::integer,
         conflicts = b.conflicts + (p_kind = 'conflict')::integer,
         losses = b.losses + (p_kind = 'loss')::integer, marks = array_remove(b.marks, p_mark),
         conflict_since = CASE WHEN p_kind = 'conflict' THEN coalesce(b.conflict_since, now()) END,
         failed_at = now(), worker = p_worker, last_error = left(p_error, 2000)
   WHERE b.migration_id = p_migration AND b.number = p_number AND b.state = 'queued'
  RETURNING b.*, drover.rows_of(b) AS several)
  SELECT n.state, n.several, n.retry_count - n.conflicts, n.conflicts,
         n.losses + (CASE WHEN p_kind <> 'loss' OR n.root IS NULL THEN 0 ELSE (
           SELECT coalesce(sum(f.losses), 0) FROM drover.batches f
            WHERE f.migration_id = p_migration AND f.number <> p_number
              AND (f.number = n.root OR f.root = n.root)) END)::integer,
         coalesce(extract(epoch FROM now() - n.conflict_since), 0)
    FROM noted n
$$;

-- Count the server's last crash against a migration under one of whose statements it happened: once, however many noticed; not if it went as a
-- whole (p_lived). Returns how many there were.
CREATE FUNCTION drover.count_crash(p_migration integer, p_lived boolean) RETURNS integer
LANGUAGE sql AS $$
  UPDATE drover.migrations
     SET crashes = crashes + (p_lived AND crash_seen IS DISTINCT FROM pg_stat_get_bgwriter_stat_reset_time())::integer,
         crash_seen = pg_stat_get_bgwriter_stat_reset_time()
   WHERE id = p_migration RETURNING crashes
$$;

-- Mark a run of a batch that was taken over, in a transaction of its own. p_mark names the run: said twice, it counts once. Returns the runs of
-- which nobody has heard that they ended, this one included; NULL if it is not queued.
CREATE FUNCTION drover.mark_start(p_migration integer, p_number bigint, p_worker text, p_mark text, OUT starts integer, OUT rows integer)
LANGUAGE sql AS $$
  UPDATE drover.batches AS b SET marks = array_append(array_remove(b.marks, p_mark), p_mark), worker = p_worker, started_at = now()
   WHERE b.migration_id = p_migration AND b.number = p_number AND b.state = 'queued' RETURNING cardinality(b.marks), drover.rows_of(b)
$$;

CREATE FUNCTION drover.mark_failed_start(p_migration integer, p_ids bigint[], p_mark text) RETURNS integer
LANGUAGE sql AS $$
  WITH marked AS (
    UPDATE drover.failed_jobs SET marks = array_append(array_remove(marks, p_mark), p_mark)
     WHERE migration_id = p_migration AND id = ANY (p_ids) AND state IN ('queued', 'retrying') RETURNING cardinality(marks) AS starts)
  SELECT max(starts) FROM marked
$$;

-- Whoever gives a job back survived it: its mark is taken back. Batches, or dead letters (p_failed).
CREATE FUNCTION drover.unmark_start(p_migration integer, p_numbers bigint[], p_failed boolean, p_mark text) RETURNS void
LANGUAGE sql AS $$
  UPDATE drover.batches SET marks = array_remove(marks, p_mark)
   WHERE NOT p_failed AND migration_id = p_migration AND number = ANY (p_numbers) AND p_mark = ANY (marks);
  UPDATE drover.failed_jobs SET marks = array_remove(marks, p_mark)
   WHERE p_failed AND migration_id = p_migration AND id = ANY (p_numbers) AND p_mark = ANY (marks)
$$;

-- Close a claimed batch whose children were inserted in this transaction. Without children nothing of it was left: it is done.
-- Children of a batch under which workers died again and again are watched from their first start.
CREATE FUNCTION drover.finish_split(p_migration integer, p_number bigint, p_worker text, p_error text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_state text;
BEGIN
  UPDATE drover.batches AS b
     SET state = CASE WHEN EXISTS (SELECT FROM drover.batches c
                                    WHERE c.migration_id = p_migration AND c.root = coalesce(b.root, b.number) AND c.parent = b.number)
                      THEN 'split' ELSE 'done' END,
         worker = p_worker, completed_at = clock_timestamp(), failed_at = now(), last_error = left(p_error, 2000)
   WHERE b.migration_id = p_migration AND b.number = p_number
  RETURNING b.state INTO v_state;
  UPDATE drover.batches SET rows_skipped = rows_skipped + rows
   WHERE migration_id = p_migration AND number = p_number AND v_state = 'done';
  UPDATE drover.batches AS c SET marks = b.marks[1:2]
    FROM drover.batches AS b
   WHERE b.migration_id = p_migration AND b.number = p_number AND cardinality(b.marks) >= 3
     AND c.migration_id = p_migration AND c.root = coalesce(b.root, b.number) AND c.parent = b.number;
  RETURN v_state;
END $$;

-- The kind of an error, for grouping: the code, and the constraint or the message without its values.
CREATE FUNCTION drover.error_fingerprint(p_sqlstate text, p_constraint text, p_message text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(p_sqlstate, '?') || ' ' || coalesce(nullif(p_constraint, ''), left(regexp_replace(coalesce(p_message, ''),
         '"[^"]*"|''[^'']*''|[0-9]+', '?', 'g'), 200))
$$;

-- Write a dead letter (or a row that waits for its next attempt) for the row in drover.row, {"key": [...], "row": ...}, which the
-- plan's row_image has locked. Returns its id; NULL if the row is gone or no longer pending, or its fate was settled by another.
CREATE FUNCTION drover.put_failed(p_migration integer, p_batch bigint, p_kind text, p_due_ms bigint, p_worker text, p_error jsonb)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_image jsonb := nullif(current_setting('drover.row'), '')::jsonb;
  v_key   text[];
  v_root  bigint;
  v_id    bigint;
  v_met   boolean := p_kind = 'conflict';
BEGIN
  IF v_image IS NULL THEN
    RETURN NULL;
  END IF;
  v_key := ARRAY(SELECT jsonb_array_elements_text(v_image -> 'key'));
  SELECT coalesce(root, number) INTO v_root FROM drover.batches WHERE migration_id = p_migration AND number = p_batch;
  INSERT INTO drover.failed_jobs AS f (migration_id, batch, root, key, key_hash, state, sqlstate, message, detail, hint, context,
                                       constraint_name, statement, "row", fingerprint, worker, due_at, conflicts, conflict_since)
  SELECT p_migration, p_batch, coalesce(v_root, p_batch), v_key, drover.key_hash(v_key),
         CASE WHEN p_due_ms IS NULL THEN 'dead' ELSE 'retrying' END, e.sqlstate, e.message, e.detail, e.hint,
         e.context, e.constraint_name, e.statement, v_image ->> 'row',
         drover.error_fingerprint(e.sqlstate, e.constraint_name, e.message), p_worker,
         now() + p_due_ms * interval '1 ms', v_met::integer, CASE WHEN v_met THEN now() END
    FROM jsonb_to_record(p_error) AS e(sqlstate text, message text, detail text, hint text, context text, constraint_name text, statement text)
  ON CONFLICT (migration_id, key_hash) DO UPDATE
     SET state = excluded.state, batch = excluded.batch, root = excluded.root, attempts = f.attempts + 1,
         conflicts = f.conflicts + excluded.conflicts, conflict_since = excluded.conflict_since,
         sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail, hint = excluded.hint,
         context = excluded.context, constraint_name = excluded.constraint_name, statement = excluded.statement,
         "row" = excluded."row", fingerprint = excluded.fingerprint, worker = excluded.worker, due_at = excluded.due_at,
         last_failed_at = now(), history = drover.history_add(f, 'failed again')
   WHERE f.state IN ('done', 'gone', 'not pending')
  RETURNING f.id INTO v_id;
  RETURN v_id;
END $$;

CREATE FUNCTION drover.history_add(f drover.failed_jobs, p_event text) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN jsonb_array_length(f.history) >= 50 THEN f.history - 0 ELSE f.history END
      || jsonb_build_array(jsonb_build_object('at', now(), 'event', p_event, 'state', f.state, 'attempts', f.attempts,
                                              'sqlstate', f.sqlstate, 'message', left(f.message, 500), 'worker', f.worker))
$$;

-- Finish a claimed batch of one row as a dead letter. Returns the dead letter's id, NULL if there was nothing to bury.
CREATE FUNCTION drover.bury_batch(p_migration integer, p_number bigint, p_worker text, p_error jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_image jsonb := nullif(current_setting('drover.row'), '')::jsonb;
  v_mine  boolean := true;
  v_id    bigint;
BEGIN
  -- A batch that was a window of row jobs, ledger-only: one of those may have done the row meanwhile.
  IF v_image IS NOT NULL AND EXISTS (SELECT FROM drover.migrations WHERE id = p_migration AND ledger_only AND mode = 'row') THEN
    INSERT INTO drover.row_receipts (migration_id, batch, key_hash)
    VALUES (p_migration, current_setting('drover.batch')::bigint,
            drover.key_hash(ARRAY(SELECT jsonb_array_elements_text(v_image -> 'key'))))
    ON CONFLICT DO NOTHING;
    v_mine := FOUND;
  END IF;
  IF v_mine THEN
    v_id := drover.put_failed(p_migration, p_number, 'retry', NULL, p_worker, p_error);
    UPDATE drover.failed_jobs AS f SET attempts = greatest(b.retry_count, 1)
      FROM drover.batches AS b WHERE f.id = v_id AND b.migration_id = p_migration AND b.number = p_number;
  END IF;
  UPDATE drover.batches
     SET state = 'done', rows_failed = (v_id IS NOT NULL)::integer, rows_skipped = rows_skipped + (v_id IS NULL)::integer * rows, worker = p_worker,
         completed_at = clock_timestamp(), failed_at = now(), last_error = left(p_error ->> 'message', 2000)
   WHERE migration_id = p_migration AND number = p_number;
  RETURN v_id;
END $$;

-- A claimed replay or retry failed: it waits for its next attempt (p_due_ms), or is dead again. If the plan's row_image has looked at
-- the row in this transaction and found none that is pending, there is nothing dead about it. Returns what it is now, NULL if it was not queued.
CREATE FUNCTION drover.fail_again(p_migration integer, p_id bigint, p_kind text, p_due_ms bigint, p_worker text, p_error jsonb, p_mark text)
RETURNS text
LANGUAGE sql AS $$
  UPDATE drover.failed_jobs AS f
     SET state = CASE WHEN p_due_ms IS NOT NULL THEN 'retrying'
                      WHEN pg_catalog.current_setting('drover.row', true) = '' THEN 'not pending' ELSE 'dead' END,
         attempts = f.attempts + (p_kind NOT IN ('loss', 'wait'))::integer, conflicts = f.conflicts + (p_kind = 'conflict')::integer,
         losses = f.losses + (p_kind = 'loss')::integer,
         marks = array_remove(f.marks, p_mark), -- as in drover.note_batch()
         due_at = now() + p_due_ms * interval '1 ms', last_failed_at = now(), worker = p_worker,
         conflict_since = CASE WHEN p_kind = 'conflict' THEN coalesce(f.conflict_since, now()) END,
         sqlstate = e.sqlstate, message = e.message, detail = e.detail, hint = e.hint, context = e.context,
         constraint_name = e.constraint_name, statement = e.statement,
         "row" = coalesce(nullif(pg_catalog.current_setting('drover.row', true), '')::jsonb ->> 'row', f."row"),
         fingerprint = drover.error_fingerprint(e.sqlstate, e.constraint_name, e.message),
         history = CASE WHEN p_due_ms IS NULL THEN drover.history_add(f, 'failed') ELSE f.history END
    FROM jsonb_to_record(p_error) AS e(sqlstate text, message text, detail text, hint text, context text, constraint_name text, statement text)
   WHERE f.migration_id = p_migration AND f.id = p_id AND f.state IN ('queued', 'retrying')
  RETURNING f.state
$$;

-- Change a migration's state, with an event. Returns false if it was not in one of the states given.
CREATE FUNCTION drover.set_state(p_migration integer, p_from text[], p_to text, p_actor text, p_reason text,
                                 p_operator boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_name     text;
  v_finished bigint := (SELECT coalesce(sum(rows_changed + rows_skipped), 0) FROM drover.lane_counts WHERE migration_id = p_migration);
BEGIN
  UPDATE drover.migrations
     SET state = p_to, state_reason = p_reason, state_by = p_actor, state_at = now(),
         halted = p_to = 'paused' AND NOT p_operator,
         completed_at = CASE WHEN p_to IN ('complete', 'limited') THEN now() END,
         breaker_from = CASE WHEN p_to = 'running' THEN v_finished ELSE breaker_from END,
         breaker_base = CASE WHEN p_to = 'running' THEN v_finished ELSE breaker_base END,
         breaker_dead = CASE WHEN p_to = 'running' THEN 0 ELSE breaker_dead END,
         -- What a sweep found before a stop says nothing of the time since: there is another before the migration is complete.
         sweep = CASE WHEN p_to = 'running' AND sweep_done_at IS NOT NULL THEN 0 ELSE sweep END,
         sweep_found = CASE WHEN p_to = 'running' AND sweep_done_at IS NOT NULL THEN 0 ELSE sweep_found END,
         sweep_cursor = CASE WHEN p_to = 'running' AND sweep_done_at IS NOT NULL THEN NULL ELSE sweep_cursor END,
         sweep_done_at = CASE WHEN p_to = 'running' THEN NULL ELSE sweep_done_at END
   WHERE id = p_migration AND state = ANY (p_from)
  RETURNING name INTO v_name;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO drover.events (migration_id, migration, actor, action, detail)
  VALUES (p_migration, v_name, p_actor,
          CASE p_to WHEN 'running' THEN 'resume' WHEN 'paused' THEN 'pause' WHEN 'cancelled' THEN 'cancel' ELSE p_to END, p_reason);
  RETURN true;
END $$;

-- Pause a migration under which the server crashed again and again: once for each crash, however many were at work then. Whoever comes late,
-- after an operator resumed it, does not pause it anew. Returns whether it was this that paused it.
CREATE FUNCTION drover.pause_for_crash(p_migration integer, p_actor text, p_reason text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE drover.migrations SET crash_paused = pg_stat_get_bgwriter_stat_reset_time()
   WHERE id = p_migration AND crash_paused IS DISTINCT FROM pg_stat_get_bgwriter_stat_reset_time();
  RETURN FOUND AND drover.set_state(p_migration, '{running}', 'paused', p_actor, p_reason);
END $$;

-- Pause a migration one of whose jobs crashed the server again and again; p_numbers of its batches, windows or dead letters (p_failed).
-- What is set aside runs from now on as after three runs that ended in a death: alone and split, so that each resume finds the row that does it
-- closer, at the price of one more crash at most. Windows of row jobs become batches for this. Returns whether it was this that paused it.
CREATE FUNCTION drover.pause_crashing(p_migration integer, p_numbers bigint[], p_failed boolean, p_set_aside boolean, p_actor text,
                                      p_reason text, p_mark text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_where text;
BEGIN
  IF p_failed THEN
    SELECT format('dead letter %s, key %s', min(id), (array_agg(key::text ORDER BY id))[1]) INTO v_where
      FROM drover.failed_jobs WHERE migration_id = p_migration AND id = ANY (p_numbers);
    UPDATE drover.failed_jobs
       SET losses = greatest(losses, 1),
           marks = (array_remove(marks, p_mark) || array_fill('crash'::text, ARRAY[3]))[1:greatest(cardinality(array_remove(marks, p_mark)), 3)]
     WHERE migration_id = p_migration AND id = ANY (p_numbers) AND state IN ('queued', 'retrying') AND p_set_aside;
  ELSE
    SELECT format('batch %s, %s rows, keys %s to %s', min(number), sum(rows), (array_agg(first_key::text ORDER BY number))[1],
                  (array_agg(last_key::text ORDER BY number DESC))[1]) INTO v_where
      FROM drover.batches WHERE migration_id = p_migration AND number = ANY (p_numbers);
    UPDATE drover.batches
       SET state = 'queued', losses = greatest(losses, 2),
           marks = (array_remove(marks, p_mark) || array_fill('crash'::text, ARRAY[3]))[1:greatest(cardinality(array_remove(marks, p_mark)), 3)]
     WHERE migration_id = p_migration AND number = ANY (p_numbers) AND state IN ('queued', 'open') AND p_set_aside;
  END IF;
  RETURN drover.pause_for_crash(p_migration, p_actor, p_reason || ': ' || left(v_where, 500));
END $$;

-- Count dead letters against the circuit breaker, in a transaction after the one that buried them. Pauses the migration and says why
-- when p_percent of the last p_window finished rows (and at least 50) were dead-lettered, when 50 were and none succeeded since the window
-- began, or when 20 rows of one batch failed alike and none of it succeeded. Returns the reason, NULL while all is well.
CREATE FUNCTION drover.breaker(p_migration integer, p_root bigint, p_dead integer, p_percent integer, p_window integer, p_actor text)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  m        record;
  finished bigint;
  alike    record;
  reason   text;
BEGIN
  SELECT coalesce(sum(rows_changed + rows_skipped), 0) INTO finished FROM drover.lane_counts WHERE migration_id = p_migration;
  UPDATE drover.migrations
     SET breaker_from = CASE WHEN finished + breaker_dead - breaker_from >= p_window THEN finished ELSE breaker_from END,
         breaker_dead = CASE WHEN finished + breaker_dead - breaker_from >= p_window THEN 0 ELSE breaker_dead END + p_dead
   WHERE id = p_migration AND state = 'running'
  RETURNING breaker_dead, breaker_base, rows_found, scan_done_at INTO m;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT f.fingerprint, count(*) AS n, min(f.message) AS message INTO alike
    FROM drover.failed_jobs f WHERE f.migration_id = p_migration AND f.root = p_root AND f.state = 'dead'
   GROUP BY 1 ORDER BY 2 DESC LIMIT 1;
  IF m.breaker_dead >= 50 AND finished = m.breaker_base THEN
    reason := format('circuit breaker: %s rows were dead-lettered and none succeeded, last with: %s', m.breaker_dead, alike.message);
  ELSIF m.breaker_dead >= greatest(50, p_percent / 100.0 * CASE WHEN m.scan_done_at IS NULL THEN p_window
                                                                ELSE least(p_window, m.rows_found) END) THEN
    reason := format('circuit breaker: %s of the last %s finished rows at most were dead-lettered, last with: %s',
                     m.breaker_dead, p_window, alike.message);
  ELSIF alike.n >= 20 AND EXISTS (SELECT FROM drover.batches b WHERE b.migration_id = p_migration AND b.number = p_root
                                                             AND b.state NOT IN ('open', 'closed')) -- a window's rows are not counted by it
    AND NOT EXISTS (SELECT FROM drover.batches b -- its slices count, which were done before it was split
                     WHERE b.migration_id = p_migration AND (b.root = p_root OR b.number = p_root) AND b.rows_changed > 0) THEN
    reason := format('circuit breaker: %s rows of batch %s failed alike and none succeeded: %s', alike.n, p_root, alike.message);
  ELSE
    RETURN NULL;
  END IF;
  PERFORM drover.set_state(p_migration, ARRAY['running'], 'paused', p_actor, reason);
  RETURN reason;
END $$;

-- Settings in force for a migration: for it, else from its file, else for all. The programs know the defaults.
CREATE FUNCTION drover.settings_of(p_migration integer) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT jsonb_object_agg(key, value) FROM drover.worker_config WHERE migration_id = 0), '{}')
      || coalesce((SELECT options FROM drover.migrations WHERE id = p_migration), '{}')
      || coalesce((SELECT jsonb_object_agg(key, value) FROM drover.worker_config WHERE migration_id = p_migration), '{}')
$$;

-- Does a dead letter fit the console's filters? NULL (0 for the migration) does not restrict. p_error: an SQLSTATE or its class, a constraint,
-- a kind (fingerprint), or a part of the message. p_since and p_before: a time, or how long ago ('2 h'). One expression, so that
-- it is inlined and indexes serve it; parallel safe, for the counts over all of them.
CREATE FUNCTION drover.failed_matches(f drover.failed_jobs, p_migration integer, p_states text[], p_error text, p_since text, p_before text,
                                      p_ids int8multirange) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT (p_migration = 0 OR f.migration_id = p_migration)
     AND (p_states IS NULL OR f.state = ANY (p_states))
     AND (p_error IS NULL
          OR CASE WHEN p_error ~ '^[0-9A-Z]{5}$' THEN f.sqlstate = p_error
                  WHEN p_error ~ '^[0-9A-Z]{2}$' THEN left(f.sqlstate, 2) = p_error
                  ELSE f.constraint_name = p_error OR f.fingerprint = p_error OR strpos(lower(f.message), lower(p_error)) > 0 END)
     AND (p_since IS NULL OR f.last_failed_at >= CASE WHEN p_since ~ '^[0-9.]+ *[a-z]*$' THEN now() - p_since::interval
                                                      ELSE p_since::timestamptz END)
     AND (p_before IS NULL OR f.last_failed_at < CASE WHEN p_before ~ '^[0-9.]+ *[a-z]*$' THEN now() - p_before::interval
                                                      ELSE p_before::timestamptz END)
     AND (p_ids IS NULL OR f.id <@ p_ids)
$$;
