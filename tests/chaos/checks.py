"""What must be so after a round, decided by plain SQL and by the programs' own words."""

from lib.process import wait_for

# name -> rows that must not be there. n is what the application added (thousands) plus what was migrated (ones).
_ALWAYS = {
    "rows that changed more than once": "SELECT k, count(*) FROM changes WHERE drover GROUP BY k HAVING count(*) > 1",
    "rows whose value is not the sum of all changes of it":
        """SELECT k, n, drover.times, journal.by FROM t LEFT JOIN (SELECT k, count(*) times FROM changes WHERE drover GROUP BY k) drover USING (k)
             LEFT JOIN (SELECT k, sum(by) AS by FROM journal GROUP BY k) journal USING (k)
            WHERE n <> coalesce(drover.times, 0) + coalesce(journal.by, 0)""",
    "rows of the application that are lost, overwritten or back from the dead":
        """SELECT j.k, j.deleted, j.note, t.note FROM (SELECT DISTINCT ON (k) * FROM journal ORDER BY k, seq DESC) j LEFT JOIN t USING (k)
            WHERE j.deleted <> (t.k IS NULL) OR NOT j.deleted AND j.note IS DISTINCT FROM t.note""",
    "rows that nobody deleted and that are gone":
        "SELECT k FROM origin WHERE k NOT IN (SELECT k FROM t) AND k NOT IN (SELECT k FROM journal WHERE deleted)",
    "dead letters of rows that are not poison": "SELECT f.* FROM letters f JOIN t USING (k) WHERE ok = 1 AND state = 'dead'",
    "dead letters that wait for ever": "SELECT * FROM letters WHERE state NOT IN ('dead', 'done', 'gone', 'not pending')",
    "jobs that are not finished": "SELECT number, state, parent FROM drover.batches WHERE state NOT IN ('done', 'split', 'closed')",
    "counts that disagree with the table":
        """SELECT * FROM (SELECT coalesce(sum(rows_changed), 0) counted FROM drover.lane_counts) a,
                         (SELECT count(*) changed FROM changes WHERE drover) b
            WHERE counted <> changed""",
    "a ledger that disagrees with the table":
        """SELECT * FROM (SELECT sum(rows_changed) ledger FROM drover.batches) a,
                         (SELECT count(*) later FROM letters WHERE state = 'done') b, (SELECT count(*) changed FROM changes WHERE drover) c
            WHERE (SELECT mode FROM drover.migrations) = 'batch' AND ledger + later <> changed""",
}

_PENDING = {
    "rows that were not migrated": "SELECT k FROM t WHERE shape = 1 AND ok = 1",
    "rows in the new shape already that were migrated": "SELECT * FROM changes WHERE drover AND was_shape <> 1",
    "poison rows without a dead letter": "SELECT k FROM t WHERE shape = 1 AND ok = 0 AND k NOT IN (SELECT k FROM letters WHERE state = 'dead')",
}

_LEDGER = {
    "rows of before that the scan did not find": "SELECT k FROM origin JOIN t USING (k) WHERE k NOT IN (SELECT k FROM found)",
    "rows found twice": "SELECT k FROM found GROUP BY k HAVING count(*) > 1",
    "rows found and not migrated":
        "SELECT k FROM found JOIN t USING (k) WHERE ok = 1 AND k NOT IN (SELECT k FROM changes WHERE drover)",
    "rows migrated and not found": "SELECT k FROM changes WHERE drover AND k NOT IN (SELECT k FROM found)",
    "poison rows without a dead letter":
        "SELECT k FROM found JOIN t USING (k) WHERE ok = 0 AND k NOT IN (SELECT k FROM letters WHERE state = 'dead')",
}

# The ledger as the scan wrote it: of a batch that is done in slices it keeps what is left.
NOTE_WHAT_IS_FOUND = """
CREATE TABLE public.scanned AS SELECT * FROM drover.batches;
CREATE FUNCTION public.note_batch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.scanned SELECT NEW.*; RETURN NULL; END $$;
CREATE TRIGGER note_batch AFTER INSERT ON drover.batches FOR EACH ROW WHEN (NEW.parent IS NULL) EXECUTE FUNCTION public.note_batch();
"""

# found: keys as the scan wrote them; a batch without keys is a range of integers with no gap.
_VIEWS = """
CREATE TEMP VIEW letters AS SELECT array_to_string(key, ',') k, state, sqlstate, message, worker FROM drover.failed_jobs;
CREATE TEMP VIEW found AS
  SELECT array_to_string(keys[i : i + width - 1], ',') k
    FROM scanned, (SELECT cardinality(key_columns) width FROM drover.migrations) m, generate_series(1, cardinality(keys), width) i
   WHERE keys IS NOT NULL
   UNION ALL
  SELECT i::text FROM scanned, generate_series(first_key[1]::bigint, last_key[1]::bigint) i
   WHERE keys IS NULL AND (SELECT ledger_only FROM drover.migrations);
"""

_GONE_BACK = {"redis_failover_loses_a_second", "redis_restarted_with_an_old_snapshot"}


def all_of(r):
    """Everything; AssertionError says all that is wrong."""
    redis_is_empty(r)
    wrong = rows(r) + verdicts(r)
    assert not wrong, "\n".join(wrong)
    r.programs.stop_all()


def rows(r):
    wrong = []
    queries = {**_ALWAYS, **(_PENDING if r.draw.way == "pending" else _LEDGER)}
    with r.database.conn() as conn:
        conn.execute(_VIEWS)
        for name, query in queries.items():
            found = conn.execute(query).fetchall()
            if found:
                wrong.append(f"{len(found)} {name}: {found[:10]}")
    return wrong


def verdicts(r):
    """The programs say what is so."""
    left = r.sql("SELECT count(*) FROM drover.failed_jobs WHERE state = 'dead'")[0][0]
    still = r.sql("SELECT count(*) FROM t WHERE shape = 1")[0][0] if r.draw.way == "pending" else left
    verify = r.programs.run("verify", "m", rc=None, env=r.direct)
    wrong = []
    if r.state()[0] != "complete":
        wrong.append(f"the migration is {r.state()}")
    if r.fleet.result != (4 if left else 0):
        wrong.append(f"the producer ended with {r.fleet.result}, with {left} dead letters")
    if verify.rc != (3 if still else 0):
        wrong.append(f"verify, with {still} rows left: {verify!r}")
    if r.draw.way == "ledger" and not still and "covered by the ledger" not in verify.out:
        wrong.append(f"verify: {verify!r}")
    return wrong


def redis_is_empty(r):
    # `drover run` takes its workers along: what a Redis that went back in time has again, the next worker drops.
    if r.draw.launcher == "run" and _GONE_BACK.intersection(r.hit):
        r.programs.run("--stop-when-empty", program="drover-worker", env={**r.direct, "DROVER_LEASE": f"{r.lease_s}s"})

    def held():
        client = r.redis.client()
        jobs, delayed = client.xlen(r.stream), client.zcard(r.stream.removesuffix("jobs") + "delayed")
        pending = client.xpending(r.stream, "workers")["pending"] if client.exists(r.stream) else 0
        return jobs, delayed, pending

    wait_for(lambda: held() == (0, 0, 0), lambda: f"Redis is empty, not (jobs, delayed, pending) {held()}", 30)
