"""What becomes of an error: poison rows, wrong migrations, conflicts, time-outs, dead letters and their replay."""

import json
import re
import signal

import pytest

from lib.process import is_stopped, wait_for
from lib.scenario import BY_STEPS, Gate, dead, delayed, finish, queue, rows_done, state, stream, wait_for_state

MODES = ["batch", "row"]
DEAD = 4  # exit status: finished, with dead letters


def table(pg, rows=400, more=""):
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, {rows}) g; {more}")


def migration(drover, lines, mode="batch", name="m"):
    return drover.migration(name, f"-- drover: table t\n-- drover: mode {mode}\n-- drover: batch-size 100\n{lines}\n")


def in_retries(pg, drover):
    """Short waits, so that the tests do not take long."""
    drover.run("init")
    drover.run("config", "backoff=0.1,0.2")


POISON = [1, 7, 133, 134, 250, 400]
IN_POISON = f"IN ({', '.join(map(str, POISON))})"

# what makes the rows in POISON fail: SQL beforehand, directives, and the SQLSTATE
POISONS = {
    "a check constraint": (f"ALTER TABLE t ADD CONSTRAINT nice CHECK (b IS NULL OR id NOT {IN_POISON})", "-- drover: set b = a", "23514"),
    "a unique constraint": (f"ALTER TABLE t ADD UNIQUE (b); INSERT INTO t SELECT -g, NULL, g FROM generate_series(1, 400) g WHERE g "
                            f"{IN_POISON}",
                            "-- drover: set b = a\n-- drover: where id > 0", "23505"),
    "a foreign key": (f"CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT g FROM generate_series(1, 400) g WHERE g NOT "
                      f"{IN_POISON};"
                      "ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES parent", "-- drover: set b = a", "23503"),
    "a deferred constraint": (f"CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT g FROM generate_series(1, 400) g WHERE "
                              f"g NOT {IN_POISON};"
                              "ALTER TABLE t ADD CONSTRAINT later FOREIGN KEY (b) REFERENCES parent DEFERRABLE INITIALLY DEFERRED",
                              "-- drover: set b = a", "23503"),
    "division by zero": (f"UPDATE t SET a = 0 WHERE id {IN_POISON}", "-- drover: set b = 100 / a\n-- drover: pending b IS NULL", "22012"),
    "a value out of range": (f"UPDATE t SET a = 2147483647 WHERE id {IN_POISON}", "-- drover: set b = a + 1\n-- drover: pending b IS NULL",
                             "22003"),
    "an expression that raises in the derived predicate": (f"ALTER TABLE t ADD s text; UPDATE t SET s = CASE WHEN id {IN_POISON} THEN 'x' "
                                                           f"ELSE '1' END",
                                                           "-- drover: set b = s::int", "22P02"),
    "a predicate that raises": (f"ALTER TABLE t ADD s text; UPDATE t SET s = CASE WHEN id {IN_POISON} THEN 'x' ELSE '1' END",
                                "-- drover: set b = a\n-- drover: pending b IS NULL AND s::int > 0", "22P02"),
    "a trigger of the application": ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                                     f"IF NEW.id {IN_POISON} THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;"
                                     "CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", "-- drover: set b = a",
                                     "P0001"),
    "a name that comes from the data": ("CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE r int; BEGIN "
                                        f"EXECUTE 'SELECT ' || CASE WHEN i {IN_POISON} THEN 'nonsense' ELSE 'i' END || ' FROM (SELECT 1 AS "
                                        f"i) s' INTO r; "
                                        "RETURN r; END $$", "-- drover: set b = f(id)\n-- drover: pending b IS NULL", "42703"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", POISONS)
def test_poison_rows_are_dead_lettered_alone(pg, drover, mode, kind):
    before, lines, sqlstate = POISONS[kind]
    table(pg, more=before)
    finish(drover, migration(drover, lines, mode), rc=DEAD)
    assert sorted(int(key[0]) for key in dead(pg, "m")) == POISON
    assert pg.sql("SELECT DISTINCT sqlstate, state, replays FROM drover.failed_jobs") == [(sqlstate, "dead", 0)]
    assert pg.value("SELECT array_agg(id ORDER BY id) FROM t WHERE id > 0 AND b IS NULL") == POISON
    assert state(pg, "m")[0] == "complete"
    if mode == "batch":
        assert pg.sql("SELECT sum(rows_changed)::int, sum(rows_failed)::int FROM drover.batches WHERE state = 'done'") == [(394, 6)]
    result = drover.run("verify", "m", rc=3)
    assert "6" in result.out


@pytest.mark.parametrize("mode", MODES)
def test_poison_rows_of_a_ledger_only_migration(pg, drover, mode):
    table(pg, more=f"UPDATE t SET b = 0; ALTER TABLE t ADD CHECK (b = 0 OR id NOT {IN_POISON})")
    finish(drover, migration(drover, "-- drover: ledger\n-- drover: set b = b + 1", mode), rc=DEAD)
    assert sorted(int(key[0]) for key in dead(pg, "m")) == POISON
    assert pg.sql("SELECT b, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(0, 6), (1, 394)]
    pg.sql("ALTER TABLE t DROP CONSTRAINT t_check")
    replay(drover, "all")
    assert pg.sql("SELECT b, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(1, 400)]
    drover.run("verify", "m")


@pytest.mark.parametrize("mode", MODES)
def test_a_dead_letter_has_everything_an_engineer_needs(pg, drover, mode):
    table(pg, 100, """ALTER TABLE t ADD note text; UPDATE t SET note = 'a "quoted" note' WHERE id = 42;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NEW.id = 42 THEN
            RAISE 'row 42 is special' USING ERRCODE = '23514', DETAIL = 'the detail', HINT = 'the hint', CONSTRAINT = 'nice', TABLE = 't', SCHEMA = 'public';
          END IF; RETURN NEW; END $$;
        CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse()""")
    path = migration(drover, "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = a\n  FROM :batch x WHERE x.id = t.id" + BY_STEPS,
                     mode)
    finish(drover, path, worker=["--name", "barn"], rc=DEAD)
    letter = pg.sql("""SELECT key, sqlstate, message, detail, hint, constraint_name, worker, attempts, "row"::jsonb, statement, context, fingerprint
                         FROM drover.failed_jobs""")
    assert letter[0][:9] == (["42"], "23514", "row 42 is special", "the detail", "the hint", "nice", "barn", 1,
                             {"id": 42, "a": 42, "b": None, "note": 'a "quoted" note'})
    assert "UPDATE t SET b = a" in letter[0][9] and "function refuse()" in letter[0][10]
    assert "nice" in letter[0][11]
    assert pg.value("SELECT last_failed_at = first_failed_at AND now() - first_failed_at < interval '5 min' FROM drover.failed_jobs")
    id_ = pg.value("SELECT id FROM drover.failed_jobs")
    shown = drover.run("failed", "show", id_).out
    for text in ("row 42 is special", "the detail", "the hint", "nice", "barn", "23514", "UPDATE t SET b = a", 'quoted', "refuse()"):
        assert text in shown, text
    assert "row 42 is special" in json.dumps(drover.run("failed", "show", id_, "--json").json)


def test_the_image_of_a_row_is_capped_and_can_be_switched_off(pg, drover):
    table(pg, 40, "ALTER TABLE t ADD big text; UPDATE t SET big = repeat('x', 1000000) WHERE id = 1; ALTER TABLE t ADD CONSTRAINT nice "
                  "CHECK (b > 2)")
    finish(drover, migration(drover, "-- drover: set b = a"), rc=DEAD)
    assert pg.value('SELECT max(length("row")) FROM drover.failed_jobs WHERE key = %s', (["1"],)) < 66000
    assert pg.value('SELECT "row"::jsonb -> \'a\' FROM drover.failed_jobs WHERE key = %s', (["2"],)) == 2
    pg.sql("ALTER TABLE t ADD c int CHECK (c > 2)")
    drover.run("config", "keep_row_image=off")
    finish(drover, migration(drover, "-- drover: set c = a", name="off"), rc=DEAD)
    assert pg.sql("""SELECT key, "row" FROM drover.failed_jobs f JOIN drover.migrations m ON m.id = migration_id WHERE name = 'off' ORDER BY 1""") == [
        (["1"], None), (["2"], None)]


# --- the migration is wrong ---


def assert_pauses(pg, drover, path, pattern):
    queue(drover, path)
    assert_worker_pauses(pg, drover, pattern)


def assert_worker_pauses(pg, drover, pattern):
    worker = drover.worker()
    reason = wait_for_state(pg, "m", "paused")
    assert re.search(pattern, reason, re.IGNORECASE), reason
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL AND id <= 100") == 100  # of the first batch
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    assert "paused" in drover.run("status", "m").out


@pytest.mark.parametrize("mode", MODES)
def test_a_procedure_that_commits_pauses(pg, drover, mode):
    table(pg, more="CREATE PROCEDURE p(keys int[]) LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET b = a WHERE id = ANY (keys); COMMIT; END $$")
    assert_pauses(pg, drover, migration(drover, "-- drover: pending b IS NULL\n-- drover: handler procedure p", mode), "commit|transaction")


@pytest.mark.parametrize("mode", MODES)
def test_what_fails_over_no_rows_as_well_pauses(pg, drover, mode):
    """An error of class 42 may be the data's; this one is the migration's."""
    table(pg, more="CREATE PROCEDURE p(keys int[]) LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET b = a WHERE id = ANY (keys); END $$")
    queue(drover, migration(drover, "-- drover: pending b IS NULL\n-- drover: handler procedure p", mode))
    pg.sql("DROP PROCEDURE p")
    assert_worker_pauses(pg, drover, r"procedure .*p.* does not exist")


def test_a_column_that_went_away_pauses_and_resume_goes_on(pg, drover):
    table(pg)
    path = migration(drover, "-- drover: set b = a")
    queue(drover, path)
    pg.sql("ALTER TABLE t RENAME a TO aa")
    assert_worker_pauses(pg, drover, 'column "?a"? does not exist')
    advice = r"mend the file .*drover amend m FILE .*then: drover resume m"
    assert re.search(advice, drover.run("status", "m").out)
    producer = drover.popen("produce", path)
    producer.wait_for_log(advice)
    producer.terminate()
    producer.wait(rc=130)
    pg.sql("ALTER TABLE t RENAME aa TO a")
    drover.run("resume", "m")
    finish(drover, path)
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 400


@pytest.mark.parametrize("code, pattern", [("53100", "disk"), ("53200", "memory"), ("58030", "I/O|io"), ("XX001", "corrupt"),
                                           ("72000", "72000")])
def test_out_of_resources_corruption_and_the_unknown_pause(pg, drover, code, pattern):
    table(pg, more=f"CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i = 7 THEN RAISE 'it is the disk or memory, io "
                   f"or corrupt' "
                   f"USING ERRCODE = '{code}'; END IF; RETURN i; END $$")
    assert_pauses(pg, drover, migration(drover, "-- drover: set b = f(a)\n-- drover: pending b IS NULL"), pattern)


def test_a_role_without_rights_on_the_table_pauses(pg, drover):
    table(pg, more="REVOKE ALL ON t FROM PUBLIC")
    queue(drover, migration(drover, "-- drover: set b = a"))
    role = pg.role("worker")
    drover.run("init", "--worker-role", role)
    worker = drover.worker(env={"DATABASE_URL": pg.url_as(role)})
    reason = wait_for_state(pg, "m", "paused")
    assert f"a right is missing: permission denied for table t; role {role} lacks the right: GRANT ... ON table t TO {role}; " in reason
    assert "the migration is wrong" not in reason and f"--worker-role {role}" in reason
    assert re.search(r"SQLSTATE 42501; in: WITH .*\S \.\.\.$", reason), f"cut between words: {reason}"
    advice = drover.run("status", "m").out
    assert "grant it; then: drover resume m" in advice and "amend" not in advice
    worker.terminate()
    worker.wait()


@pytest.mark.parametrize("mode", MODES)
def test_the_circuit_breaker_pauses_when_most_rows_fail(pg, drover, mode):
    table(pg, 600, "ALTER TABLE t ADD CHECK (b < 0 OR b % 3 = 0)")
    queue(drover, migration(drover, "-- drover: set b = a", mode))
    worker = drover.worker()
    assert "circuit breaker" in wait_for_state(pg, "m", "paused")
    worker.terminate()
    worker.wait()
    assert len(dead(pg, "m")) < 400
    assert drover.run("monitor", rc=1).out.count("ALERT") == 1


@pytest.mark.parametrize("mode", MODES)
def test_replays_that_fail_again_do_not_open_the_circuit_breaker(pg, drover, mode):
    """Two hundred of them, before and among rows that are fine, where twenty of a hundred would open it."""
    table(pg, 800, "ALTER TABLE t ADD CHECK (b < 0 OR b % 4 > 0)")
    drover.run("init")
    drover.run("config", "breaker=off")
    path = migration(drover, "-- drover: set b = a", mode)
    finish(drover, path, rc=DEAD)
    assert len(dead(pg, "m")) == 200
    pg.sql("INSERT INTO t (id, a) SELECT g, 1 FROM generate_series(1001, 1200) g")
    drover.run("config", "breaker=20%/100")
    drover.run("pause", "m")
    drover.run("retry", "all", "--yes")
    drover.run("resume", "m")
    finish(drover, path, rc=DEAD)
    assert len(dead(pg, "m")) == 200
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE replays = 1") == 200


def test_splitting_stops_when_all_of_a_batch_fails_alike(pg, drover):
    table(pg, 400, "ALTER TABLE t ADD CONSTRAINT never CHECK (b IS NULL)")
    queue(drover, migration(drover, "-- drover: set b = a"))
    worker = drover.worker("--concurrency", "1")
    reason = wait_for_state(pg, "m", "paused")
    assert "circuit breaker" in reason and "never" in reason
    worker.terminate()
    worker.wait()
    assert 20 <= len(dead(pg, "m")) < 100


def test_the_breaker_can_be_switched_off(pg, drover):
    table(pg, 60, "ALTER TABLE t ADD CONSTRAINT never CHECK (b IS NULL)")
    drover.run("init")
    drover.run("config", "breaker=off")
    finish(drover, migration(drover, "-- drover: set b = a"), rc=DEAD)
    assert len(dead(pg, "m")) == 60


# --- what may succeed later ---


@pytest.mark.parametrize("mode", MODES)
def test_a_locked_row_is_waited_for_and_holds_up_no_other(pg, drover, mode):
    table(pg)
    in_retries(pg, drover)
    path = migration(drover, "-- drover: set b = a\n-- drover: lock-timeout 50ms", mode)
    with pg.conn(autocommit=False) as app:
        app.execute("UPDATE t SET a = -1 WHERE id = 42")
        producer = drover.popen("produce", path, "--wait")
        worker = drover.worker()
        wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 1,
                 lambda: f"all but one are done; left {pg.value('SELECT count(*) FROM t WHERE b IS NULL')}")
        assert producer.running
        app.commit()
    producer.wait()
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT b FROM t WHERE id = 42") == -1
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state <> 'done' OR replays > 0") == 0


def test_a_conflict_beyond_its_budget_is_a_dead_letter(pg, drover):
    table(pg)
    in_retries(pg, drover)
    drover.run("config", "conflict_budget_s=1")
    path = migration(drover, "-- drover: set b = a\n-- drover: lock-timeout 20ms")
    with pg.conn(autocommit=False) as app:
        app.execute("UPDATE t SET a = -1 WHERE id = 42")
        producer = drover.popen("produce", path, "--wait")
        worker = drover.worker()
        wait_for(lambda: dead(pg, "m") == [["42"]], "the locked row is a dead letter")
        app.commit()
    producer.wait(rc=DEAD)
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT sqlstate FROM drover.failed_jobs") == "55P03"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "55006", "55000"])
def test_conflicts_are_retried(pg, drover, mode, code):
    table(pg, more=f"""CREATE SEQUENCE fails;
        CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
          IF i = 42 AND nextval('fails') <= 4 THEN RAISE 'try again' USING ERRCODE = '{code}'; END IF; RETURN i; END $$""")
    in_retries(pg, drover)
    finish(drover, migration(drover, "-- drover: set b = f(a)\n-- drover: pending b IS NULL", mode))
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 400
    assert pg.value("SELECT last_value FROM fails") == 5
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state <> 'done' OR replays > 0") == 0


def test_deadlocks_with_the_application_are_survived(pg, drover):
    """The application locks rows against Drover's order again and again; both get through."""
    table(pg, 200)
    in_retries(pg, drover)
    drover.run("config", "processing_interval_ms=10")
    path = drover.migration("m", "-- drover: table t\n-- drover: batch-size 10\n-- drover: set b = a\n-- drover: lock-timeout 5s\n")
    producer = drover.popen("produce", path, "--wait")
    worker = drover.worker("--concurrency", "2")
    lost = 0
    with pg.conn() as app:
        app.execute("SET deadlock_timeout = '20ms'")
        while producer.running:
            try:
                with app.transaction():
                    for id_ in range(200, 0, -7):
                        app.execute("UPDATE t SET a = a WHERE id = %s", (id_,))
            except Exception as e:
                assert "deadlock" in str(e), e
                lost += 1
    producer.wait()
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 200
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state <> 'done'") == 0


def test_a_batch_that_takes_too_long_is_split(pg, drover):
    table(pg, 100, "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN i; END $$")
    in_retries(pg, drover)
    finish(drover, migration(drover, "-- drover: set b = slow(a)\n-- drover: pending b IS NULL\n-- drover: timeout 1s"))
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 100
    assert pg.value("SELECT count(*) FROM drover.batches WHERE state = 'split'") >= 1
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_row_that_takes_too_long_alone_is_a_dead_letter(pg, drover, mode):
    table(pg, 100, "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i = 42 THEN PERFORM pg_sleep(60); END IF; "
                   "RETURN i; END $$")
    in_retries(pg, drover)
    finish(drover, migration(drover, "-- drover: set b = slow(a)\n-- drover: pending b IS NULL\n-- drover: timeout 500ms", mode), rc=DEAD)
    assert dead(pg, "m") == [["42"]]
    assert pg.value("SELECT sqlstate FROM drover.failed_jobs") == "57014"
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 99


def test_a_job_cancelled_by_someone_pauses(pg, drover):
    table(pg, 100)
    gate = Gate(pg)
    queue(drover, migration(drover, "-- drover: set b = gate(a)\n-- drover: pending b IS NULL\n-- drover: lock-timeout 60s"))
    worker = drover.worker()
    gate.wait()
    pg.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()")
    assert re.search("cancelled by", wait_for_state(pg, "m", "paused"))
    gate.open()
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_unique_violation_of_what_the_application_has_just_written_is_no_dead_letter(pg, drover, mode):
    """The application writes the row between the failure and the test whether it is still pending.

    f says that it is immutable, so one UPDATE does it all, and the row is not locked yet when f is called.
    """
    dsn = f"host={pg.server.dir} port={pg.server.port} dbname={pg.name} user=postgres"
    table(pg, 100, f"""CREATE EXTENSION dblink;
        CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
          IF i = 42 THEN
            PERFORM dblink_exec('{dsn}', 'UPDATE t SET b = -1 WHERE id = 42');
            RAISE unique_violation;
          END IF; RETURN i; END $$""")
    finish(drover, drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: batch-size 1\n-- drover: set b = "
                                         f"f(a)\n-- drover: pending b IS NULL\n"))
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 99
    assert pg.value("SELECT b FROM t WHERE id = 42") == -1
    assert dead(pg, "m") == []


@pytest.mark.parametrize("mode", MODES)
def test_tries_and_backoff_of_rows_that_fail_for_their_own_reasons(pg, drover, mode):
    table(pg, 100, """CREATE SEQUENCE fails;
        CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
          IF i = 7 THEN RAISE 'always'; END IF;
          IF i = 42 AND nextval('fails') <= 5 THEN RAISE 'for a while'; END IF; RETURN i; END $$""")
    in_retries(pg, drover)
    finish(drover, migration(drover, "-- drover: set b = f(a)\n-- drover: pending b IS NULL\n-- drover: tries 7\n-- drover: backoff 0.1",
                             mode), rc=DEAD)
    assert dead(pg, "m") == [["7"]]
    assert pg.value("SELECT attempts FROM drover.failed_jobs WHERE state = 'dead'") >= 7
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 99


# --- replay ---


def replay(drover, *args):
    """`drover retry`, with a worker, until the queue is empty again."""
    drover.run("retry", *args)
    drover.run_worker("--stop-when-empty")


@pytest.mark.parametrize("mode", MODES)
def test_a_replay_after_the_fix_and_what_is_kept_of_it(pg, drover, mode):
    table(pg, more=f"ALTER TABLE t ADD CONSTRAINT nice CHECK (b IS NULL OR id NOT {IN_POISON})")
    finish(drover, migration(drover, "-- drover: set b = a", mode), rc=DEAD)
    replay(drover, "all")  # nothing was mended: dead again
    assert pg.sql("SELECT DISTINCT state, replays FROM drover.failed_jobs") == [("dead", 1)]
    pg.sql("ALTER TABLE t DROP CONSTRAINT nice; DELETE FROM t WHERE id = 7; UPDATE t SET b = -1 WHERE id = 133")
    replay(drover, "all", "--migration", "m")
    assert dict(pg.sql("SELECT key[1]::int, state FROM drover.failed_jobs")) == {1: "done", 7: "gone", 133: "not pending", 134: "done",
                                                                                 250: "done", 400: "done"}
    assert pg.sql("SELECT DISTINCT replays FROM drover.failed_jobs") == [(2,)]
    history = pg.value("SELECT history FROM drover.failed_jobs WHERE key = %s", (["1"],))
    assert any(event["sqlstate"] == "23514" for event in history), history
    shown = drover.run("failed", "show", pg.value("SELECT id FROM drover.failed_jobs WHERE key = %s", (["1"],))).out
    assert re.search("replayed twice|2 replays|replays +2", shown), shown
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0
    assert pg.value("SELECT b FROM t WHERE id = 133") == -1
    assert state(pg, "m")[0] == "complete"
    drover.run("verify", "m")


def test_replay_takes_ids_ranges_and_filters(pg, drover):
    table(pg, 100, "ALTER TABLE t ADD CONSTRAINT nice CHECK (b % 10 <> 0), ADD CONSTRAINT other CHECK (b % 25 <> 3)")
    finish(drover, migration(drover, "-- drover: set b = a"), rc=DEAD)
    pg.sql("ALTER TABLE t DROP CONSTRAINT nice, DROP CONSTRAINT other")
    ids = [row[0] for row in pg.sql("SELECT id FROM drover.failed_jobs WHERE constraint_name = 'nice' ORDER BY id")]
    assert len(ids) == 10

    def done():
        return pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state = 'done'")

    drover.run("retry", "all", "--dry-run")
    drover.run_worker("--stop-when-empty")
    assert done() == 0
    replay(drover, str(ids[0]))
    assert done() == 1
    replay(drover, "all", "--error", "other")
    assert done() == 5
    low, high = pg.sql("SELECT min(id), max(id) FROM (SELECT id FROM drover.failed_jobs WHERE state = 'dead' ORDER BY id LIMIT 3) s")[0]
    replay(drover, "--range", f"{low}-{high}")
    assert done() == 8
    replay(drover, "all", "--error", "23514", "--rate", "50/s")
    assert done() == 14
    drover.run("verify", "m")


def test_a_forgotten_row_is_skipped_and_shown(pg, drover):
    table(pg, 100, "ALTER TABLE t ADD CONSTRAINT nice CHECK (b <> 42)")
    path = migration(drover, "-- drover: set b = a")
    finish(drover, path, rc=DEAD)
    drover.run("forget", pg.value("SELECT id FROM drover.failed_jobs"), "--yes")
    assert pg.value("SELECT state FROM drover.failed_jobs") == "ignored"
    finish(drover, path)
    assert "forgotten" in drover.run("verify", "m").out
    assert drover.run("verify", "m", "--json").json["ignored"] == 1
    assert pg.value("SELECT b FROM t WHERE id = 42") is None


def test_dead_letters_queued_for_a_replay_survive_the_loss_of_redis(pg, drover, redis):
    table(pg, more=f"ALTER TABLE t ADD CONSTRAINT nice CHECK (b IS NULL OR id NOT {IN_POISON})")
    path = migration(drover, "-- drover: set b = a")
    finish(drover, path, rc=DEAD)
    pg.sql("ALTER TABLE t DROP CONSTRAINT nice")
    drover.run("retry", "all")
    redis.client().flushall()
    finish(drover, path)
    assert pg.sql("SELECT DISTINCT state FROM drover.failed_jobs") == [("done",)]


def test_starts_that_were_survived_are_no_deaths(pg, drover):
    """A batch was taken over once; ever since, the application holds its row. That is waited for, and no worker died of it again."""
    table(pg, 1)
    in_retries(pg, drover)
    path = migration(drover, "-- drover: set b = a\n-- drover: lock-timeout 20ms")
    queue(drover, path)
    pg.sql("UPDATE drover.batches SET marks = '{}'")
    with pg.conn(autocommit=False) as app:
        app.execute("SELECT FROM t FOR UPDATE")
        drover.worker()
        wait_for(lambda: pg.value("SELECT retry_count FROM drover.batches") >= 8, "its row is locked, again and again")
    wait_for(lambda: state(pg, "m")[0] == "complete", "the job is done")
    assert pg.sql("SELECT b, (SELECT count(*) FROM drover.failed_jobs) FROM t") == [(1, 0)]


def test_a_job_that_is_given_back_again_and_again_is_not_taken_for_one_that_kills_its_workers(pg, drover, redis):
    """Three workers died under it, two more would make it a dead letter. Six more times it is paused between its mark and its claim."""
    table(pg, 1)
    path = migration(drover, "-- drover: set b = a\n-- drover: pending b IS NULL")
    queue(drover, path)
    pg.sql("UPDATE drover.batches SET marks = '{x, y, z}'")
    for _ in range(6):
        worker = drover.worker(env={"DROVER_FAILPOINT": "worker_marked=stop@1"})
        wait_for(lambda: is_stopped(worker.pid), "its start is marked")
        drover.run("pause", "m")
        worker.signal(signal.SIGCONT)
        wait_for(lambda: pg.value("SELECT marks FROM drover.batches") == ["x", "y", "z"], "the mark is taken back")
        wait_for(lambda: redis.client().xpending(stream(pg, "m"), "workers")["pending"] == 0, "the job is given back")
        worker.terminate()
        worker.wait()
        drover.run("resume", "m")
    finish(drover, path)
    assert pg.sql("SELECT b, (SELECT count(*) FROM drover.failed_jobs) FROM t") == [(1, 0)]


def test_a_start_whose_mark_was_not_heard_of_is_one_start(pg, drover):
    table(pg, 1)
    queue(drover, migration(drover, "-- drover: set b = a"))
    mark = "SELECT starts FROM drover.mark_start(1, (SELECT number FROM drover.batches), 'a', %s)"
    assert [pg.value(mark, (run,)) for run in ("a 1", "a 1", "b 1", "a 1")] == [1, 1, 2, 2]
    pg.sql("SELECT drover.unmark_start(1, ARRAY(SELECT number FROM drover.batches), false, 'a 1')")
    assert pg.value("SELECT marks FROM drover.batches") == ["b 1"]


@pytest.mark.parametrize("mode", MODES)
def test_whoever_waits_for_a_complete_migration_waits_for_its_replays(pg, drover, redis, mode):
    """A ledger-only one is not looked at again; its replays are jobs all the same, and Redis may lose them."""
    table(pg, more=f"UPDATE t SET b = 0; ALTER TABLE t ADD CONSTRAINT nice CHECK (b = 0 OR id NOT {IN_POISON})")
    path = migration(drover, "-- drover: ledger\n-- drover: set b = b + 1", mode)
    finish(drover, path, rc=DEAD)
    pg.sql("ALTER TABLE t DROP CONSTRAINT nice")
    drover.run("retry", "all")
    redis.client().flushall()
    finish(drover, path)
    assert pg.sql("SELECT b, count(*) FROM t GROUP BY 1") == [(1, 400)]
    assert pg.sql("SELECT DISTINCT state FROM drover.failed_jobs") == [("done",)]


def test_delayed_jobs_wait_in_the_sorted_set_and_not_in_the_stream(pg, drover, redis):
    table(pg, 10)
    drover.run("init")
    drover.run("config", "backoff=3600")
    path = migration(drover, "-- drover: set b = a\n-- drover: lock-timeout 20ms")
    queue(drover, path)
    with pg.conn(autocommit=False) as app:
        app.execute("UPDATE t SET a = -1 WHERE id = 5")
        worker = drover.worker()
        client = redis.client(decode_responses=False)
        wait_for(lambda: client.zcard(delayed(pg, "m")) == 1, "the job is delayed")
        assert client.xlen(stream(pg, "m")) == 0
        due = client.zrange(delayed(pg, "m"), 0, -1, withscores=True)[0][1]
        assert 0 < due - client.time()[0] * 1000 < 3601000  # full jitter
        worker.terminate()
        worker.wait()
    assert rows_done(pg, "m") == 0


def test_nobody_waits_for_a_job_that_is_due_in_longer_than_any_back_off(pg, drover, redis):
    """Another server's clock may have set it, or somebody who is not us: the audit believes that it is on its way."""
    table(pg, 10)
    queue(drover, migration(drover, "-- drover: set b = a"))
    client = redis.client(decode_responses=False)
    (entry, fields), = client.xrange(stream(pg, "m"))
    client.xdel(stream(pg, "m"), entry)
    client.zadd(delayed(pg, "m"), {fields[b"j"]: 1e15, b"garbage": 2e15})
    drover.worker()
    wait_for(lambda: state(pg, "m")[0] == "complete", "the job is done")
    wait_for(lambda: client.zcard(delayed(pg, "m")) == 0, "nothing is left in the delayed set")


def test_pauses_that_a_job_survived_are_no_deaths(pg, drover):
    """A batch that was taken over once, and pauses its migration again and again because the disk is full."""
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t VALUES (1, 1);
              CREATE TABLE full_disk (); CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
                IF to_regclass('full_disk') IS NOT NULL THEN RAISE 'no space' USING ERRCODE = '53100'; END IF; RETURN i; END $$""")
    drover.run("produce", drover.migration("m", "-- drover: table t\n-- drover: set b = f(a)\n-- drover: pending b IS NULL\n"))
    pg.sql("UPDATE drover.batches SET marks = '{}'")
    worker = drover.worker()
    for _ in range(7):
        wait_for(lambda: pg.value("SELECT state FROM drover.migrations") == "paused", "it is paused")
        drover.run("resume", "m")
    pg.sql("DROP TABLE full_disk")
    wait_for(lambda: drover.run("resume", "m", rc=None) and pg.value("SELECT b FROM t") == 1, "the row is changed")
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    worker.terminate()
    worker.wait()
