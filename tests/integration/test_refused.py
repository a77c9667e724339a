"""What must be refused: a migration that is wrong as a whole stops soon, with one clear reason; what does not hold is rolled back."""

import re
import signal
import time

import pytest

from lib.drover import Drover
from lib.pgbouncer import PgBouncer
from lib.process import wait_for
from lib.scenario import dead, finish, queue, state, wait_for_state

MODES = ["batch", "row"]
ROWS = 100_000


def table(pg, rows=ROWS, more=""):
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int); INSERT INTO t SELECT g, g FROM generate_series(1, {rows}) g; {more}")


def migration(drover, lines, mode="batch", ledger=False, more=""):
    return drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n{'-- drover: ledger' if ledger else ''}\n{lines}\n{more}")


# --- wrong as a whole ---

TRIGGER = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'nobody changes row %', NEW.id; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse()"""

# What is wrong: SQL before the registration, `set`, SQL that breaks it, SQL that mends it, what the reason says, whether the rows are to blame.
WRONG = {
    "a column dropped later": ("", "b = a", "ALTER TABLE t RENAME a TO aa", "ALTER TABLE t RENAME aa TO a", 'column "?a"? does not exist', False),
    "a table dropped later": ("", "b = a", "ALTER TABLE t RENAME TO tt", "ALTER TABLE tt RENAME TO t", 'relation .*t"? does not exist', False),
    "no right on the table": ("", "b = a", "REVOKE UPDATE ON t FROM {role}", "GRANT UPDATE ON t TO {role}", "permission denied", False),
    "no right on one column": ("", "b = a", "REVOKE UPDATE ON t FROM {role}; GRANT UPDATE (a) ON t TO {role}",
                               "GRANT UPDATE ON t TO {role}", "permission denied", False),
    "no right on a sequence": ("CREATE SEQUENCE s; GRANT ALL ON SEQUENCE s TO {role}", "b = nextval('s')", "REVOKE ALL ON SEQUENCE s FROM {role}",
                               "GRANT ALL ON SEQUENCE s TO {role}", "permission denied for sequence s", False),
    "no right on a function": ("CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN i; END'", "b = f(a)",
                               "REVOKE ALL ON FUNCTION f FROM PUBLIC", "GRANT ALL ON FUNCTION f TO PUBLIC",
                               "permission denied for function f", False),
    "a function dropped later": ("CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN i; END'", "b = f(a)",
                                 "ALTER FUNCTION f RENAME TO ff", "ALTER FUNCTION ff RENAME TO f", "function f.* does not exist", False),
    "a constraint that every row breaks": ("", "b = a", "ALTER TABLE t ADD CONSTRAINT never CHECK (b < 0) NOT VALID",
                                           "ALTER TABLE t DROP CONSTRAINT never", 'check constraint "never"', True),
    "a trigger that raises for every row": ("", "b = a", TRIGGER, "DROP TRIGGER refuse ON t", "nobody changes row", True),
}


@pytest.mark.parametrize("ledger", [False, True], ids=["pending", "ledger"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", WRONG)
def test_a_migration_that_is_wrong_as_a_whole_stops_with_one_reason_and_few_dead_letters(pg, drover, kind, mode, ledger):
    """Two workers of four lanes over 100,000 rows, everything else as it is by default. Mended and resumed, it finishes."""
    before, change, broken, mended, pattern, data = WRONG[kind]
    role = pg.role("worker")
    table(pg, more=f"GRANT SELECT, UPDATE ON t TO {role}; {before.format(role=role)}")
    drover.run("init", "--worker-role", role)
    path = migration(drover, f"-- drover: set {change}" + ("" if ledger else "\n-- drover: pending b IS NULL"), mode, ledger)
    queue(drover, path, produce=["--max-backlog", "200000"])
    pg.sql(broken.format(role=role))
    start = time.monotonic()
    workers = [drover.worker("--name", name, "--concurrency", "4", env={"DATABASE_URL": pg.url_as(role)}) for name in ("a", "b")]
    reason = wait_for_state(pg, "m", "paused")
    took = time.monotonic() - start
    assert re.search(pattern, reason), reason
    for worker in workers:
        worker.terminate()
    logs = "".join(worker.wait().err for worker in workers)
    letters = len(dead(pg, "m"))
    print(f"{kind}, {mode}, {'ledger' if ledger else 'pending'}: paused after {took:.1f} s with {letters} dead letters")
    assert letters == 0 if not data else 20 <= letters < 100
    assert pg.value("SELECT count(*) FROM drover.events WHERE action = 'pause'") == 1
    assert len(re.findall("warn  migration.(?:paused|breaker) ", logs)) == 1, logs
    assert len(logs) < 60_000, logs
    assert drover.run("status", "m").out.count(reason.split(":")[0]) == 1
    pg.sql(mended.format(role=role))
    drover.run("resume", "m")
    finish(drover, path, rc=4 if letters else 0, worker=["--concurrency", "2"])
    if letters:
        drover.run("retry", "all", "--migration", "m")
        drover.run_worker("--stop-when-empty")
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0
    assert state(pg, "m")[0] == "complete" and dead(pg, "m") == []


# --- rows that crash the server, and servers that go away by themselves ---

CRASH = """CREATE FUNCTION crash() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
             COPY (SELECT 1) TO PROGRAM 'kill -SEGV $PPID'; PERFORM pg_sleep(10); END $$;"""


@pytest.fixture
def own(own_pg_server, redis):
    """The programs with a server of their own; own.pg is its database."""
    pg = own_pg_server.database()
    programs = Drover(pg.url, redis.url)
    programs.pg = pg
    yield programs
    programs.close()


def crashes(server):
    return len(re.findall(r"was terminated by signal", server.log()))


def small(pg, more, rows=200):
    table(pg, rows)
    pg.sql(CRASH + more)


def wait_until_over(own):
    """Until nothing runs: paused (False) or complete (True)."""
    wait_for(lambda: state(own.pg, "m")[0] != "running", lambda: f"paused or complete, not {state(own.pg, 'm')}")
    return state(own.pg, "m")[0] == "complete"


@pytest.mark.parametrize("ledger", [False, True], ids=["pending", "ledger"])
@pytest.mark.parametrize("mode", MODES)
def test_a_row_that_crashes_the_server_does_so_three_times_and_is_then_found_one_resume_at_a_time(own, own_pg_server, mode, ledger):
    pg = own.pg
    small(pg, """CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 142 THEN PERFORM crash(); END IF; RETURN NEW; END $$;
                 CREATE TRIGGER bad BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bad()""")
    path = migration(own, "-- drover: batch-size 64\n-- drover: set b = " + ("a" if not ledger else "coalesce(b, 0) + a"), mode, ledger)
    queue(own, path)
    workers = [own.worker("--name", name, "--concurrency", "4") for name in ("a", "b")]
    assert not wait_until_over(own)
    reason = state(pg, "m")[1]
    first, last = map(int, re.search(r"the server crashed again and again.*: batch \d+, \d+ rows, keys \{(\d+)\} to \{(\d+)\}", reason).groups())
    assert first <= 142 <= last, reason
    assert 1 <= crashes(own_pg_server) <= 3
    resumes = 0
    while not wait_until_over(own):
        before, resumes = crashes(own_pg_server), resumes + 1
        own.run("resume", "m")
        assert wait_until_over(own) or crashes(own_pg_server) <= before + 1
        assert resumes < 8
    print(f"{mode}, ledger {ledger}: {crashes(own_pg_server)} crashes, {resumes} resumes")
    assert dead(pg, "m") == [["142"]]
    assert "crashed" in pg.value("SELECT message FROM drover.failed_jobs")
    assert pg.sql("SELECT id FROM t WHERE b IS DISTINCT FROM a") == [(142,)]
    pg.sql("DROP TRIGGER bad ON t")
    own.run("retry", "all", "--migration", "m")
    wait_for(lambda: dead(pg, "m") == [] and pg.value("SELECT count(*) FROM t WHERE b IS DISTINCT FROM a") == 0, "the row is done as well")
    for worker in workers:
        worker.terminate()
        worker.wait()


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_that_is_mended_is_over_with_a_resume(own, own_pg_server, mode):
    small(own.pg, """CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 142 THEN PERFORM crash(); END IF; RETURN NEW; END $$;
                     CREATE TRIGGER bad BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bad()""")
    path = migration(own, "-- drover: batch-size 64\n-- drover: set b = a", mode)
    queue(own, path)
    worker = own.worker("--concurrency", "4")
    assert not wait_until_over(own)
    assert crashes(own_pg_server) <= 3
    worker.terminate()
    worker.wait()
    own.pg.sql("DROP TRIGGER bad ON t")
    own.run("resume", "m")
    finish(own, path)
    assert own.pg.value("SELECT count(*) FROM t WHERE b = a") == 200


@pytest.mark.parametrize("who", ["scan", "sweep"])
def test_a_predicate_that_crashes_the_server_is_not_asked_again_and_again(own, own_pg_server, who):
    small(own.pg, "CREATE FUNCTION bad(i int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN IF i = 142 THEN PERFORM crash(); END IF; RETURN true; END $$")
    path = migration(own, "-- drover: set b = a\n-- drover: pending b IS NULL AND bad(a)\n-- drover: batch-size 50")
    if who == "scan":
        producer = own.popen("produce", path)
    else:
        own.pg.sql("DELETE FROM t WHERE id = 142")
        own.run("produce", path)
        own.run_worker("--max-jobs", "4")
        own.pg.sql("INSERT INTO t VALUES (142, 142)")
        producer = own.worker()
    assert not wait_until_over(own)
    assert re.search(r"crashed again and again while the rows after key \{", state(own.pg, "m")[1])
    assert crashes(own_pg_server) == 3
    producer.terminate()
    producer.wait(rc=130 if who == "scan" else 0)


SLOW = """CREATE TABLE gate (closed bool); INSERT INTO gate VALUES (true);
          CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
            WHILE (SELECT closed FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN i; END $$"""


def at_work(pg):
    return pg.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'drover a/%' AND wait_event = 'PgSleep'")


@pytest.mark.parametrize("what", ["postgres stopped at once", "postgres stopped", "pgbouncer killed", "pgbouncer stopped", "the network cut"])
@pytest.mark.parametrize("mode", MODES)
def test_servers_that_go_away_five_times_under_the_same_job_are_not_its_fault(own, own_pg_server, network, mode, what):
    """Neither a pause nor a count: the server says good-bye, or has not crashed."""
    small(own.pg, SLOW, 60)
    queue(own, migration(own, "-- drover: set b = slow(a)\n-- drover: pending b IS NULL\n-- drover: timeout 60s", mode))
    url, bouncer, proxy = own.pg.url, None, None
    if "pgbouncer" in what:
        bouncer = PgBouncer(own_pg_server)
        bouncer.start()
        url = bouncer.url(own.pg.name)
    elif "network" in what:
        proxy = network(own_pg_server)
        url = proxy.url(own.pg.url)
    worker = own.worker("--name", "a", "--concurrency", "2", "--lease", "5", env={"DATABASE_URL": url})
    for _ in range(5):
        wait_for(lambda: at_work(own.pg), "the job is at work")
        if bouncer:
            bouncer.process.send_signal(signal.SIGKILL if "killed" in what else signal.SIGTERM)
            bouncer.process.wait(60)
            bouncer.start()
        elif proxy:
            proxy.cut()
        else:
            own_pg_server.stop("immediate" if "at once" in what else "fast")
            own_pg_server.start()
        wait_for(lambda: own.pg.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'drover a/%'"), "it is back")
    own.pg.sql("UPDATE gate SET closed = false")
    wait_for(lambda: state(own.pg, "m")[0] == "complete", lambda: f"complete, not {state(own.pg, 'm')}")
    assert own.pg.value("SELECT count(*) FROM t WHERE b = a") == 60
    assert own.pg.sql("SELECT sum(losses)::int, sum(starts)::int, sum(retry_count)::int FROM drover.batches") == [(0, 0, 0)]
    assert own.pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    worker.terminate()
    worker.wait()
    if bouncer:
        bouncer.remove()
