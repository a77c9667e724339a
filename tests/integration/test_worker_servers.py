"""What the fleet's member stands of its servers, and which rights it needs."""

import re
import socketserver
import threading
import time

import pytest

from lib.counted import assert_every_row_once, migration, table
from lib.drover import Drover
from lib.process import wait_for
from lib.redis_server import Redis
from lib.scenario import delayed, finish, queue, rows_done, state, stream

LEASE = ["--lease", "3"]


def lines_while_they_wait(worker, producer):
    """What the worker says in three seconds, through which both go on running."""
    lines = len(worker.err.splitlines())
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert worker.running and producer.running
        time.sleep(0.1)
    return len(worker.err.splitlines()) - lines


def test_redis_away_and_back_empty(pg, drover, redis):
    table(pg, 1000)
    drover.run("init")
    drover.run("config", "processing_interval_ms=5")
    producer = drover.popen("produce", migration(drover), "--wait")
    worker = drover.worker("--concurrency", "2")
    wait_for(lambda: rows_done(pg, "m") >= 100, "it is under way")
    redis.kill()
    worker.wait_for_log("(?i)redis")
    assert lines_while_they_wait(worker, producer) < 10  # no flood
    redis.start()
    producer.wait(120)
    worker.terminate()
    worker.wait()
    assert_every_row_once(pg, 1000)
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    assert pg.value("SELECT max(retry_count) FROM drover.batches") == 0


def test_redis_that_answers_nothing_for_a_while(pg, drover, redis):
    table(pg, 1000)
    drover.run("init")
    drover.run("config", "processing_interval_ms=5")
    producer = drover.popen("produce", migration(drover), "--wait")
    worker = drover.worker("--concurrency", "2", *LEASE)
    wait_for(lambda: rows_done(pg, "m") >= 100, "it is under way")
    redis.freeze()
    worker.wait_for_log("(?i)redis")  # it notices by its own deadlines
    redis.thaw()
    producer.wait(120)
    worker.terminate()
    worker.wait()
    assert_every_row_once(pg, 1000)


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_redis_flushed_with_no_producer_there(pg, drover, redis, mode):
    table(pg)
    queue(drover, migration(drover, mode=mode))
    redis.client().flushall()
    worker = drover.worker("--concurrency", "2")
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"the worker refills it by itself: {rows_done(pg, 'm')}; {worker!r}")
    assert_every_row_once(pg)


def test_entries_that_redis_lost_silently_are_pushed_again(pg, drover, redis):
    """A failover with lost writes: the marker and the group are there, some entries are not."""
    table(pg)
    queue(drover, migration(drover))
    entries = [id_ for id_, _ in redis.client(decode_responses=False).xrange(stream(pg, "m"))]
    redis.client().xdel(stream(pg, "m"), *entries[3:15])
    worker = drover.worker()
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"the audit finds them: {rows_done(pg, 'm')}; {worker!r}")
    assert sum(map(int, re.findall(r"redis\.refilled jobs=(\d+)", worker.err))) >= 12, worker
    assert_every_row_once(pg)


def test_what_a_crash_of_postgresql_took_back_does_not_wait_for_an_older_job(pg, drover, redis):
    """Its entry is acknowledged, and still there behind one that is pending: nobody would deliver it."""
    table(pg)
    queue(drover, migration(drover))
    jobs, client = stream(pg, "m"), redis.client(decode_responses=False)
    ((_, ((oldest, _),)),) = client.xreadgroup("workers", "slow", {jobs: ">"}, count=1)

    def done(number):
        client.xclaim(jobs, "workers", "slow", 0, [oldest], idle=0)  # it lives
        return pg.value("SELECT state = 'done' FROM drover.batches WHERE number = %s", (number,))

    worker = drover.worker()
    numbers = [number for number, in pg.sql("SELECT number FROM drover.batches ORDER BY 1")]
    wait_for(lambda: all(map(done, numbers[1:])), "all the others are done")
    assert client.xlen(jobs) == 20
    pg.sql(f"""UPDATE drover.batches SET state = 'queued', rows_changed = 0, completed_at = NULL WHERE number = {numbers[5]};
               UPDATE drover.lane_counts SET rows_changed = rows_changed - 10; UPDATE t SET n = 0 WHERE id BETWEEN 51 AND 60""")
    wait_for(lambda: done(numbers[5]), lambda: f"it is done again: {worker!r}")
    wait_for(lambda: state(pg, "m")[0] == "complete", "it is complete")
    assert_every_row_once(pg)


@pytest.fixture
def own(own_pg_server, redis):
    """(database, programs) on a PostgreSQL of this test's own."""
    database = own_pg_server.database()
    programs = Drover(database.url, redis.url)
    yield database, programs
    own_pg_server.start()
    programs.close()


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_postgresql_away_and_back(own, own_pg_server, mode, how):
    pg, drover = own
    table(pg, 1000)
    drover.run("init")
    drover.run("config", "processing_interval_ms=5")
    producer = drover.popen("produce", migration(drover, mode=mode), "--wait")
    worker = drover.worker("--concurrency", "2", *LEASE)
    wait_for(lambda: rows_done(pg, "m") >= 100, "it is under way")
    getattr(own_pg_server, how)()
    worker.wait_for_log("(?i)postgres|database|server")
    assert lines_while_they_wait(worker, producer) < 15  # no flood
    own_pg_server.start()
    producer.wait(120)
    worker.terminate()
    worker.wait()
    assert_every_row_once(pg, 1000)
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    assert pg.value("SELECT max(retry_count) FROM drover.batches") == 0


def test_programs_started_while_the_servers_are_away_wait_and_say_so(own, own_pg_server, redis):
    pg, drover = own
    table(pg)
    drover.run("init")
    own_pg_server.stop()
    redis.kill()
    producer = drover.popen("produce", migration(drover), "--wait")
    worker = drover.worker()
    producer.wait_for_log("(?i)postgres|database")
    worker.wait_for_log("(?i)postgres|database|redis")
    own_pg_server.start()
    redis.start()
    producer.wait(120)
    assert_every_row_once(pg)


GARBAGE = [
    {"j": b""}, {"j": b"\xc1"}, {"j": b"\xff" * 100}, {"j": b"DROP TABLE t"}, {"x": b"y"}, {"j": b"\x93\x01\xa1B\x01", "more": b"1"},
    {"j": b"\x93\x01\xa1B\x00"}, {"j": b"\x93\x01\xa1B\xff"}, {"j": b"\x93\x01\xa1B\xce\xff\xff\xff\xff"},
           {"j": b"\x93\x01\xa1B\xcf" + b"\xff" * 8},
    {"j": b"\x93\x02\xa1B\x01"}, {"j": b"\x93\x01\xa1Z\x01"}, {"j": b"\x93\x01\xa1L\x01"}, {"j": b"\x93\x01\xa1F\x01"},
           {"j": b"\x93\x01\xa1F\xcd\x03\xe7"},
    {"j": b"\x94\x01\xa1R\x01\x91\xa11"}, {"j": b"\x94\x01\xa1R\xcd\x03\xe7\x91\xa11"}, {"j": b"\x94\x01\xa1R\x01\x92\xa11\xa12"},
    {"j": b"\x94\x01\xa1R\x01\x91\xa3abc"}, {"j": b"\x94\x01\xa1R\x01\x91\xa9999999999"}, {"j": b"\xdd\xff\xff\xff\xff"},
           {"j": b"\x94\x01\xa1R\x01\xdd\xff\xff\xff\xff"},
    {"j": b"\x93\x01\xa1B\x01\x00"}, {"j": b"\x81\x01\x02"}, {"j": b"x" * 70000},
]


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_entries_that_are_not_ours_are_dropped(pg, drover, redis, mode):
    """Whoever can write to Redis can at worst cause work that the ledger refuses."""
    table(pg)
    pg.sql("INSERT INTO t (id, a) VALUES (1000000, 1)")
    path = migration(drover, "-- drover: set n = n + 1\n-- drover: where id < 1000000", mode, size=200)
    queue(drover, path)
    client = redis.client(decode_responses=False)
    jobs, later = stream(pg, "m"), delayed(pg, "m")
    for garbage in GARBAGE * 3:
        client.xadd(jobs, garbage)
    for n, garbage in enumerate(GARBAGE):
        client.zadd(later, {garbage.get("j", b"?"): n})
    # A row that the scan did not find, as one of its window.
    window = pg.value("SELECT min(number) FROM drover.batches")
    assert window < 128
    client.xadd(stream(pg, "m"), {"j": b"\x94\x01\xa1R" + bytes([window]) + b"\x91\xa71000000"})
    finish(drover, path)
    drover.run_worker("--stop-when-empty")
    assert client.xlen(stream(pg, "m")) == 0
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(0, 1), (1, 200)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


@pytest.mark.parametrize("variable, url, said", [
    ("DATABASE_URL", "postgresql://user:hunter2@[::bad/db", "DATABASE_URL|URI|database"),
    ("DATABASE_URL", "nonsense=1 password=hunter2", "option"),
    ("DATABASE_URL", "mysql://user:hunter2@host/db", "DATABASE_URL|missing|database"),
    ("REDIS_URL", "http://user:hunter2@host", "redis://"),
    ("REDIS_URL", "redis://user:hunter2@host:port", "port|REDIS_URL"),
    ("REDIS_URL", "redis://:hunter2@host/x", "redis"),
    ("REDIS_URL", "", "REDIS_URL"),
])
@pytest.mark.parametrize("program", ["drover", "drover-worker"])
def test_a_wrong_url_is_one_clear_error_without_the_password(pg, drover, program, variable, url, said):
    table(pg)
    drover.run("init")
    args = ["produce", migration(drover)] if program == "drover" else []
    result = drover.run(*args, program=program, env={variable: url}, rc=None, timeout_s=30)
    assert result.rc in (1, 2), result
    assert re.search(said, result.err, re.IGNORECASE), result
    assert "hunter2" not in result.err + result.out
    assert len(result.err.splitlines()) <= 3, result


def test_a_database_that_does_not_exist_or_lets_nobody_in_is_an_error(pg, drover):
    drover.run("init")
    for url in (pg.server.url("nowhere"), pg.server.url(pg.name, user="nobody")):
        for program, args in (("drover", ["status"]), ("drover-worker", [])):
            result = drover.run(*args, program=program, env={"DATABASE_URL": url}, rc=1, timeout_s=30)
            assert re.search("nowhere|nobody", result.err), result


class FakeRedis(socketserver.ThreadingUnixStreamServer):
    """Says to be of a version, and no more than that."""

    daemon_threads = True

    def __init__(self, path, version):
        self.info = f"# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\nrun_id:{'0' * 40}\r\n".encode()
        super().__init__(str(path), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2].upper())
                self.wfile.write(self.answer(words[0]))

        def answer(self, command):
            if command == b"INFO":
                return b"$%d\r\n%s\r\n" % (len(self.server.info), self.server.info)
            return b"+OK\r\n" if command in (b"AUTH", b"SELECT", b"CLIENT", b"PING") else b"-ERR unknown command\r\n"


@pytest.mark.parametrize("program", ["drover", "drover-worker"])
@pytest.mark.parametrize("version", ["6.2.14", "7.0.4"])
def test_redis_older_than_7_0_5_is_refused(pg, drover, program, version):
    table(pg)
    drover.run("init")
    args = ["produce", migration(drover)] if program == "drover" else []
    with FakeRedis(drover.dir / "fake.sock", version) as fake:
        result = drover.run(*args, program=program, env={"REDIS_URL": f"unix://{drover.dir}/fake.sock"}, rc=1, timeout_s=30)
        fake.shutdown()
    assert version in result.err and "7.0.5" in result.err, result


def test_a_redis_with_a_password_and_a_database_of_its_own(pg, drover):
    table(pg)
    with Redis(args=["--requirepass", "pass/word@1"], tcp=True) as server:
        env = {"REDIS_URL": f"redis://:pass%2Fword%401@127.0.0.1:{server.port}/3"}
        drover.run("produce", migration(drover), env=env)
        drover.run_worker("--stop-when-empty", env=env)
        assert server.client(password="pass/word@1", db=3).dbsize() > 0
        result = drover.run_worker(env={"REDIS_URL": f"redis://:wrong-secret@127.0.0.1:{server.port}"}, rc=1, timeout_s=30)
        assert "wrong-secret" not in result.err
    assert_every_row_once(pg)


def test_a_redis_that_evicts_is_warned_of(pg, drover):
    table(pg)
    with Redis(args=["--maxmemory-policy", "allkeys-lru"]) as server:
        env = {"REDIS_URL": server.url}
        drover.run("produce", migration(drover), env=env)
        assert "noeviction" in drover.run_worker("--stop-when-empty", env=env).err


# --- rights ---


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_worker_with_the_least_rights(pg, drover, redis, mode):
    """Poison rows, splits, retries, a lost Redis and the end of the migration, all under the documented grants."""
    table(pg)
    pg.sql("ALTER TABLE t ADD CONSTRAINT nice CHECK (n = 0 OR id NOT IN (13, 77))")
    role = pg.role("worker")
    drover.run("init", "--worker-role", role)
    pg.sql(f"GRANT SELECT (id, a, b, n), UPDATE (n) ON t TO {role}")
    path = migration(drover, mode=mode)
    queue(drover, path)
    redis.client().flushall()
    worker = drover.worker(env={"DATABASE_URL": pg.url_as(role)})
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"complete: {state(pg, 'm')}; {worker!r}")
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(0, 2), (1, 198)]
    pg.sql("ALTER TABLE t DROP CONSTRAINT nice")
    drover.run("retry", "all")
    wait_for(lambda: rows_done(pg, "m") == 200, "the replay is done")
    worker.terminate()
    worker.wait()
    assert_every_row_once(pg)
    for query in ("UPDATE drover.migrations SET source = 'x'", "UPDATE drover.migrations SET plan = '{}'", "DELETE FROM drover.batches",
                  "INSERT INTO drover.migrations (name) VALUES ('x')", "DELETE FROM t", "UPDATE drover.worker_config SET value = 1",
                  "DROP SCHEMA drover CASCADE"):
        with pytest.raises(Exception, match="permission denied|must be owner"):
            pg.sql(query, user=role)


def test_a_worker_without_rights_says_what_to_grant_and_waits_for_it(pg, drover):
    table(pg)
    queue(drover, migration(drover))
    role = pg.role("stranger")
    pg.sql(f"GRANT SELECT, UPDATE ON t TO {role}")
    worker = drover.worker(env={"DATABASE_URL": pg.url_as(role)})
    worker.wait_for_log("permission denied.*drover init --worker-role")
    drover.run("init", "--worker-role", role)
    wait_for(lambda: rows_done(pg, "m") == 200, lambda: f"it goes on by itself: {worker!r}")
    assert worker.err.count("permission denied") == 1
    assert_every_row_once(pg)


def test_row_jobs_whose_rows_a_trigger_leaves_out_end(pg, drover, redis):
    """Nobody sees it in the trigger's text: its jobs are done, and the rows are not. The audit does not push them for ever."""
    table(pg)
    pg.sql("""CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE nothing t; BEGIN IF NEW.id % 100 = 7 THEN NEW := nothing; END IF; RETURN NEW; END $$;
              CREATE TRIGGER leave_out BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION leave_out()""")
    queue(drover, drover.migration("m", "-- drover: table t\n-- drover: mode row\n-- drover: batch-size 10\n-- drover: pending n = 0\n"
                                   "-- drover: set n = n + 1\n"))
    marker = stream(pg, "m").removesuffix("jobs") + "marker"
    worker = drover.worker()

    def are_batches():
        redis.client().delete(marker)  # the next audit is due at once
        return pg.sql("SELECT first_key[1]::int, lost FROM drover.batches WHERE state = 'done' ORDER BY number LIMIT 2") == [(1, 4), (101, 4)]

    wait_for(are_batches, lambda: f"windows are batches, and done: {pg.sql('SELECT first_key, state, lost FROM drover.batches')}; {worker!r}")
    assert pg.sql("SELECT id FROM t WHERE n = 0 ORDER BY id") == [(7,), (107,)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
