"""What must be refused: a migration that is wrong as a whole stops soon, with one clear reason; what does not hold is rolled back."""

import random
import re
import time

import pytest

from lib.drover import Drover
from lib.pgbouncer import PgBouncer
from lib.process import wait_for
from lib.scenario import BY_STEPS, dead, finish, queue, state, stream, wait_for_state

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
        worker.wait_for_log(r"worker\.ready")  # the other may have been quicker than this one's start
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
    # Sooner after its start than this a server that crashed is one that was started anew.
    wait_for(lambda: pg.value("SELECT clock_timestamp() > pg_postmaster_start_time() + interval '300 ms'"), "the server is there for a while")
    programs = Drover(pg.url, redis.url)
    programs.pg = pg
    yield programs
    programs.close()


def crashes(server):
    """Of the server: several backends may have their part in one of them."""
    return len(re.findall(r"all server processes terminated; reinitializing", server.log()))


def small(pg, more, rows=200):
    table(pg, rows)
    pg.sql(CRASH + more)


def wait_until_over(own):
    """Until nothing runs: paused (False) or complete (True)."""
    wait_for(lambda: state(own.pg, "m")[0] != "running", lambda: f"paused or complete, not {state(own.pg, 'm')}")
    return state(own.pg, "m")[0] == "complete"


def resume(own):
    """The next crash may come before its answer."""
    count = "SELECT count(*) FROM drover.events WHERE action = 'resume'"
    before = own.pg.value(count)
    own.run("resume", "m", rc=None)
    wait_for(lambda: own.pg.value(count) == before + 1, "it is resumed")


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
        resume(own)
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
def test_many_rows_that_crash_the_server_do_so_three_times_in_all_and_once_after_each_resume(own, own_pg_server, mode):
    small(own.pg, """CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                       IF NEW.id % 20 = 2 THEN PERFORM crash(); END IF; RETURN NEW; END $$;
                     CREATE TRIGGER bad BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bad()""")
    queue(own, migration(own, "-- drover: batch-size 20\n-- drover: set b = a", mode))
    workers = [own.worker("--name", name, "--concurrency", "2") for name in ("a", "b")]
    assert not wait_until_over(own)
    assert crashes(own_pg_server) == 3, "\n".join(worker.err for worker in workers) + own_pg_server.log()
    for resumes in range(1, 3):
        resume(own)
        assert not wait_until_over(own)
        assert crashes(own_pg_server) == 3 + resumes, "\n".join(worker.err for worker in workers) + own_pg_server.log()


def test_one_crash_pauses_once_however_late_the_second_job_says_so(pg, drover):
    """Two jobs may have been at work, and the second hears of it only after somebody has resumed the migration."""
    table(pg, 100)
    queue(drover, migration(drover, "-- drover: batch-size 50\n-- drover: set b = a"))
    pg.sql("UPDATE drover.migrations SET crash_seen = NULL, crashes = 2")
    late = "SELECT drover.pause_crashing(1, ARRAY[{}], false, true, 'w', 'the server crashed', '')"
    assert [pg.value("SELECT drover.count_crash(1, true)") for _ in range(2)] == [3, 3]
    assert pg.value(late.format(1)) is True and state(pg, "m")[0] == "paused"
    drover.run("resume", "m")
    assert pg.value(late.format(2)) is False and state(pg, "m")[0] == "running"
    assert pg.value("SELECT bool_and(cardinality(marks) = 3) FROM drover.batches") is True, "both are set aside"


@pytest.mark.parametrize("over", [True, False], ids=["complete", "running"])
def test_a_replay_that_crashes_the_server_does_so_twice_and_is_dead_again(own, own_pg_server, over):
    """The others that were replayed with it are done. Only a migration that runs can be paused for it, and only after three crashes."""
    pg = own.pg
    small(pg, "ALTER TABLE t ADD CONSTRAINT nice CHECK (b IS NULL OR id % 30 <> 14)", 400)
    path = migration(own, "-- drover: set b = a")
    finish(own, path, rc=4)
    pg.sql("""ALTER TABLE t DROP CONSTRAINT nice;
              CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 134 THEN PERFORM crash(); END IF; RETURN NEW; END $$;
              CREATE TRIGGER bad BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION bad()""")
    if not over:
        pg.sql("UPDATE drover.migrations SET state = 'running'")
    own.worker("--concurrency", "2")
    own.run("retry", "all")
    done = "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'dead') FROM drover.failed_jobs"
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state IN ('queued', 'retrying')") == 0 or state(pg, "m")[0] == "paused",
             "all are settled")
    if state(pg, "m")[0] == "paused":
        own.run("resume", "m")
    wait_for(lambda: pg.sql(done) == [(12, 1)], lambda: f"all but one are done, not {pg.sql(done)}")
    assert dead(pg, "m") == [["134"]] and "crashed" in pg.value("SELECT message FROM drover.failed_jobs WHERE state = 'dead'")
    assert crashes(own_pg_server) == 2


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
            bouncer.kill() if "killed" in what else bouncer.stop()
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
    assert own.pg.sql("SELECT sum(losses)::int, count(marks)::int, sum(retry_count)::int FROM drover.batches") == [(0, 0, 0)]
    assert own.pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    worker.terminate()
    worker.wait()
    if bouncer:
        bouncer.remove()


# --- what does not converge ---

PATHS = {
    "set": "-- drover: set {column} = {expression}\n",
    "backfill": "-- drover: backfill\nUPDATE t SET {column} = {expression} FROM :batch x WHERE x.id = t.id" + BY_STEPS,
    "handler": "-- drover: handler procedure p\n",
}

# What is left pending: SQL beforehand (of t with n numeric, b text, c char(8), at timestamptz), column, expression, predicate.
DIVERGES = {
    "a predicate that stays true": ("", "b", "'x'", "id > 0"),
    "a counter under a predicate": ("", "n", "n + 1", "n < 2"),
    "a trigger before that undoes it": ("""CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := OLD.b; RETURN NEW; END $$;
                                        CREATE TRIGGER undo BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION undo()""", "b", "'x'", "b IS NULL"),
    "a trigger before that leaves rows out": ("""CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
                                               CREATE TRIGGER skip BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION skip()""", "b", "'x'", "b IS NULL"),
    "a trigger after that undoes it": ("""CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                                           UPDATE t SET b = NULL WHERE id = NEW.id AND b IS NOT NULL; RETURN NULL; END $$;
                                         CREATE TRIGGER undo AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION undo()""", "b", "'x'", "b IS NULL"),
    "numeric that rounds": ("ALTER TABLE t ALTER n TYPE numeric(10,2)", "n", "1.005", "n IS DISTINCT FROM 1.005"),
    "float text of fewer digits": ("", "b", "(0.1::float8 + 0.2::float8)::text", "b::float8 IS DISTINCT FROM 0.3::float8"),
    "char that is padded": ("", "c", "'x'", "b IS NULL OR length(c::text || '|') > 2 OR octet_length(c) > 2"),
    "varchar that is cut": ("", "b", "'too long for it'::varchar(3)", "b IS DISTINCT FROM 'too long for it'"),
    "another time zone's text": ("", "b", "at::text", "b IS DISTINCT FROM (at AT TIME ZONE 'Asia/Tokyo')::text"),
}


def of_a_few(pg, more=""):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n numeric NOT NULL DEFAULT 0, b text, c char(8), at timestamptz DEFAULT '2024-06-30 20:00+00');"
           "INSERT INTO t SELECT g FROM generate_series(1, 60) g")
    pg.sql(more)


@pytest.mark.parametrize("way", PATHS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", DIVERGES)
def test_a_transform_that_leaves_its_rows_pending_is_rolled_back_and_the_migration_paused(pg, drover, kind, mode, way):
    before, column, expression, pending = DIVERGES[kind]
    of_a_few(pg, before)
    pg.sql(f"CREATE PROCEDURE p(keys int[]) LANGUAGE sql AS $$ UPDATE t SET {column} = {expression} WHERE id = ANY (keys) $$")
    was = pg.sql("SELECT * FROM t ORDER BY id")
    queue(drover, drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: batch-size 20\n-- drover: pending {pending}\n"
                                   + PATHS[way].format(column=column, expression=expression)))
    worker = drover.worker()
    reason = wait_for_state(pg, "m", "paused")
    assert re.search(r"does not converge.*the row \{\d+\}", reason), reason
    worker.terminate()
    worker.wait()
    assert pg.sql("SELECT * FROM t ORDER BY id") == was
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    assert re.search("does not converge.*drover amend m FILE .*then: drover resume m", drover.run("status", "m").out)


@pytest.mark.parametrize("way", PATHS)
@pytest.mark.parametrize("mode", MODES)
def test_settings_of_role_and_database_are_not_those_of_the_migration(pg, drover, mode, way):
    """Time zone, dates, digits: as they were at registration, whatever the worker's role and database say now."""
    of_a_few(pg)
    expression = "at::text || ' ' || '2024-02-01'::date || ' ' || (0.1::float8 + 0.2) || ' ' || interval '1 day 2 hours'"
    pg.sql(f"CREATE PROCEDURE p(keys int[]) LANGUAGE sql AS $$ UPDATE t SET b = {expression} WHERE id = ANY (keys) $$")
    path = drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: pending b IS NULL\n-- drover: batch-size 20\n"
                            + PATHS[way].format(column="b", expression=expression))
    options = "-c TimeZone=Asia/Tokyo -c DateStyle=German,DMY -c extra_float_digits=0 -c IntervalStyle=sql_standard"
    drover.run("produce", path, env={"PGOPTIONS": options})
    role = pg.role("worker", "LOGIN SUPERUSER")
    for name, value in [("TimeZone", "America/New_York"), ("DateStyle", "SQL, MDY"), ("extra_float_digits", "3"), ("IntervalStyle", "iso_8601")]:
        pg.sql(f'ALTER ROLE {role} SET {name} = \'{value}\'; ALTER DATABASE "{pg.name}" SET {name} = \'{value}\'')
    drover.run_worker("--stop-when-empty", env={"DATABASE_URL": pg.url_as(role)})
    assert pg.sql("SELECT DISTINCT b FROM t") == [("01.07.2024 05:00:00 JST 01.02.2024 0.3 1 2:00:00",)]
    drover.run("verify", "m", env={"DATABASE_URL": pg.url_as(role)})


# --- a predicate over another table ---


@pytest.mark.parametrize("seed", range(6))
def test_a_predicate_over_another_table_puts_no_row_there_twice(pg, drover, redis, seed):
    """Every delivery many times over, replays, sweeps and three workers at once."""
    print("seed", seed)
    rng = random.Random(seed)
    mode = MODES[seed % 2]
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, bad bool NOT NULL DEFAULT false); INSERT INTO t SELECT g FROM generate_series(1, 240) g;
              CREATE TABLE u (t_id int);
              CREATE FUNCTION check_bad(b bool) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF b THEN RAISE 'bad'; END IF; RETURN 1; END $$""")
    bad = rng.sample(range(1, 241), 6)
    pg.sql(f"UPDATE t SET bad = true WHERE id = ANY (ARRAY{bad})")
    path = drover.migration("m", f"""-- drover: table t
-- drover: mode {mode}
-- drover: batch-size 20
-- drover: pending NOT EXISTS (SELECT FROM u WHERE u.t_id = t.id)
-- drover: backfill
SELECT check_bad(t.bad), pg_sleep(0.002) FROM t JOIN :batch b ON b.id = t.id;
INSERT INTO u SELECT id FROM :batch;
""")
    queue(drover, path)
    client = redis.client(decode_responses=False)
    jobs = [fields for _, fields in client.xrange(stream(pg, "m"))]
    workers = [drover.worker("--name", name, "--concurrency", "3", "--lease", "5") for name in "abc"]
    producer = drover.popen("produce", path, "--wait")
    for n in range(12):
        for fields in rng.sample(jobs, len(jobs) // 3):
            client.xadd(stream(pg, "m"), fields)
        if n == 4:
            pg.sql("UPDATE t SET bad = false")
        if n >= 3 and dead(pg, "m"):
            drover.run("retry", "all", "--migration", "m", rc=None)
        pg.sql("INSERT INTO t VALUES (%s)", (1000 + n,))
    wait_for(lambda: not dead(pg, "m") or drover.run("retry", "all", "--migration", "m", rc=None) is None, "no dead letters are left")
    producer.wait(120, rc=None)
    drover.run("produce", path, "--wait")
    for worker in workers:
        worker.terminate()
        worker.wait()
    assert pg.sql("SELECT t_id, count(*) FROM u GROUP BY 1 HAVING count(*) > 1") == []
    assert pg.value("SELECT count(*) FROM t WHERE NOT EXISTS (SELECT FROM u WHERE t_id = id)") == 0
    drover.run("verify", "m")


# --- row level security ---


@pytest.mark.parametrize("force", [False, True], ids=["worker", "owner"])
@pytest.mark.parametrize("mode", MODES)
def test_a_policy_that_comes_in_the_middle_is_an_error_for_all_and_never_a_clean_verify(pg, drover, mode, force):
    role = pg.role("app")
    pg.sql(f'GRANT CREATE ON DATABASE "{pg.name}" TO {role}; GRANT ALL ON SCHEMA public TO {role}')
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 200) g", user=role if force
           else "postgres")
    if not force:
        pg.sql(f"GRANT SELECT, UPDATE ON t TO {role}")
    there = {"DATABASE_URL": pg.url_as(role)}
    path = migration(drover, "-- drover: batch-size 20\n-- drover: set b = a", mode)
    drover.run("produce", path, env=there)
    pg.sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id > 100)" + ("; ALTER TABLE t FORCE ROW LEVEL SECURITY" if force else ""))
    result = drover.run("verify", "m", rc=1, env=there)
    assert re.search("row-level security", result.err), result
    worker = drover.worker(env=there)
    assert re.search("row-level security", wait_for_state(pg, "m", "paused"))
    drover.run("resume", "m", env=there)
    wait_for_state(pg, "m", "paused")
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") == 0
    pg.sql("ALTER TABLE t DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")
    drover.run("resume", "m", env=there)
    drover.env.update(there)
    finish(drover, path)
    # Produced again, and swept by workers alone, under the policy.
    pg.sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY" + ("; ALTER TABLE t FORCE ROW LEVEL SECURITY" if force else ""))
    pg.sql("INSERT INTO t VALUES (50000, 1)")
    again = drover.popen("produce", path, "--wait")
    assert re.search("row-level security", wait_for_state(pg, "m", "paused"))
    again.terminate()
    again.wait(rc=130)
    drover.run("resume", "m")
    worker = drover.worker()
    assert re.search("row-level security", wait_for_state(pg, "m", "paused"))
    drover.run("verify", "m", rc=1)


# --- Redis, and databases that are not the one ---


@pytest.mark.parametrize("producer", [False, True], ids=["workers alone", "with a producer"])
@pytest.mark.parametrize("mode", MODES)
def test_half_of_the_jobs_lost_while_others_flow_are_found_and_pushed_again(pg, drover, redis, mode, producer):
    table(pg, 2000)
    path = migration(drover, "-- drover: batch-size 20\n-- drover: set b = coalesce(b, 0) + a", mode, ledger=True)
    drover.run("init")
    drover.run("config", "max_rows_per_s=200")
    queue(drover, path)
    runner = drover.popen("produce", path, "--wait") if producer else None
    worker = drover.worker("--concurrency", "2")
    wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") > 50, "jobs flow")
    client = redis.client(decode_responses=False)
    entries = [id_ for id_, _ in client.xrange(stream(pg, "m"))]
    assert client.xdel(stream(pg, "m"), *entries[1::2]) > 20
    drover.run("config", "max_rows_per_s=0")
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"complete, not {state(pg, 'm')}", 90)
    if runner:
        runner.wait()
    worker.terminate()
    worker.wait()
    assert pg.sql("SELECT count(*) FROM t WHERE b = a") == [(2000,)]


def test_a_worker_whose_database_is_swapped_for_a_copy_stops(pg, drover):
    """The jobs in Redis are the original's: the copy, under its name now, must not eat them."""
    table(pg, 200)
    queue(drover, migration(drover, "-- drover: set b = a"))
    drover.run("pause", "m")
    worker = drover.worker()
    worker.wait_for_log("worker.ready")
    copy = f"{pg.name}_copy"
    pg.server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{pg.name}'")
    for _ in range(20):
        try:
            pg.server.sql(f'ALTER DATABASE "{pg.name}" ALLOW_CONNECTIONS false')
            pg.server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{pg.name}'")
            pg.server.sql(f'CREATE DATABASE "{copy}" TEMPLATE "{pg.name}"')
            break
        except Exception as e:
            print(e)
    pg.server.sql(f'ALTER DATABASE "{pg.name}" RENAME TO "{copy}_old"')
    pg.server.sql(f'ALTER DATABASE "{copy}" RENAME TO "{pg.name}"')
    try:
        result = worker.wait(rc=1)
        assert "drover init --rekey" in result.err
        assert pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") == 0
    finally:
        pg.server.sql(f'DROP DATABASE "{copy}_old" WITH (FORCE)')


@pytest.mark.parametrize("mode", MODES)
def test_a_silent_cut_in_a_pipeline_that_leaves_a_lock_behind_uses_up_nobodys_tries(own, own_pg_server, network, mode):
    """The transform was sent, and then nothing passes in either direction: the successor gets rid of what holds the row."""
    small(own.pg, SLOW, 60)
    queue(own, migration(own, "-- drover: set b = slow(a)\n-- drover: pending b IS NULL\n-- drover: timeout 60s", mode))
    proxy = network(own_pg_server)
    first = own.worker("--name", "a", "--concurrency", "1", "--lease", "5", env={"DATABASE_URL": proxy.url(own.pg.url)})
    wait_for(lambda: at_work(own.pg), "the job is at work")
    proxy.silence(lost=True)
    own.pg.sql("UPDATE gate SET closed = false")
    second = own.worker("--name", "b", "--concurrency", "2", "--lease", "5")
    wait_for(lambda: state(own.pg, "m")[0] == "complete", lambda: f"complete, not {state(own.pg, 'm')}", 90)
    assert own.pg.value("SELECT count(*) FROM t WHERE b = a") == 60
    assert own.pg.sql("SELECT sum(losses)::int, sum(retry_count)::int FROM drover.batches") == [(0, 0)]
    assert own.pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    assert own.pg.value("SELECT count(*) FROM drover.events WHERE action = 'pause'") == 0
    proxy.heal()
    for worker in (first, second):
        worker.terminate()
        worker.wait()


# --- what would go on for ever, or end as something else ---


@pytest.mark.parametrize("mode", MODES)
def test_a_script_that_takes_too_long_over_no_rows_pauses(pg, drover, mode):
    table(pg, 40)
    queue(drover, migration(drover, "-- drover: timeout 200ms\n-- drover: pending b IS NULL\n-- drover: backfill\nSELECT pg_sleep(30);\n"
                            "UPDATE t SET b = a FROM :batch x WHERE x.id = t.id;", mode))
    worker = drover.worker("--concurrency", "2")
    assert "takes too long, over no rows as well" in wait_for_state(pg, "m", "paused")
    assert "drover amend m FILE" in drover.run("status", "m").out
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


def test_a_limit_leaves_a_complete_migration_complete(pg, drover):
    table(pg, 40)
    path = migration(drover, "-- drover: set b = a")
    finish(drover, path)
    pg.sql("INSERT INTO t VALUES (41, 41)")
    finish(drover, path, produce=["--limit", "10"])
    assert state(pg, "m")[0] == "complete"
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0


def test_a_database_without_an_encoding_is_refused(own_pg_server, redis):
    own_pg_server.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    programs = Drover(own_pg_server.url("bytes"), redis.url)
    own_pg_server.sql("CREATE TABLE t (id text PRIMARY KEY, a int, b int)", dbname="bytes")
    result = programs.run("produce", migration(programs, "-- drover: set b = a"), rc=1)
    assert "SQL_ASCII" in result.err and "UTF8" in result.err
    programs.close()
