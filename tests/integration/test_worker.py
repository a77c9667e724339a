"""The fleet's member: how it ends, what happens when others die, and what it stands of its servers."""

import re
import signal
import socketserver
import threading
import time

import pytest

from lib.drover import Drover
from lib.process import wait_for
from lib.proxy import Proxy
from lib.redis_server import Redis
from lib.scenario import Gate, delayed, finish, queue, rows_done, state, stream

LEASE = ["--lease", "3"]


def table(pg, rows=200, name="t"):
    pg.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, a int, b int, n int NOT NULL DEFAULT 0); INSERT INTO {name} SELECT g, g FROM "
           f"generate_series(1, {rows}) g")


def migration(drover, change="-- drover: set n = n + 1", mode="batch", size=10, name="m", of="t", lock_timeout="60s"):
    """By the ledger alone, so that a job done twice would show."""
    return drover.migration(name, f"-- drover: table {of}\n-- drover: ledger\n-- drover: mode {mode}\n-- drover: batch-size {size}\n"
                                  f"-- drover: lock-timeout {lock_timeout}\n{change}\n")


def outlives_its_lease(mode):
    """lock_timeout of a job held at the gate. A dead lane's claim of a batch is taken from it; its hold on rows ends by itself."""
    return "60s" if mode == "batch" else "6s"


GATED = "-- drover: set n = gate(n) + 1"


def assert_every_row_once(pg, rows=200, name="t"):
    assert pg.sql(f"SELECT n, count(*) FROM {name} GROUP BY 1 ORDER BY 1") == [(1, rows)]


def assert_no_attempts_used(pg):
    assert pg.sql("SELECT DISTINCT retry_count, marks, losses FROM drover.batches") == [(0, None, 0)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


def leased(redis, pg, name="m"):
    """How many jobs each consumer holds."""
    return {c["name"]: c["pending"] for c in redis.client().xpending(stream(pg, name), "workers")["consumers"]}


def test_windows_whose_rows_were_all_counted_are_closed(pg, drover):
    table(pg, 300)
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = a\n-- drover: mode row\n-- drover: batch-size 50\n")
    queue(drover, path)
    pg.sql("UPDATE t SET b = a WHERE id = 120")  # by the application: nobody counts it
    finish(drover, path)
    assert pg.sql("SELECT state, count(*) FROM drover.batches GROUP BY 1") == [("closed", 6)]
    assert rows_done(pg, "m") == 299
    assert pg.value("SELECT count(*) FROM drover.window_counts") == 0


def test_jobs_behind_one_that_takes_its_time_do_not_fill_redis(pg, drover, redis):
    table(pg, 400)
    gate = Gate(pg, "drover slow/%")
    path = migration(drover, GATED, "row", 40)
    queue(drover, path, produce=["--max-backlog", "1000"])
    drover.run("config", "m", "max_backlog=100")
    drover.worker("--name", "slow", "--concurrency", "1")
    wait_for(lambda: leased(redis, pg).get("slow"), "the first rows are taken")
    held = leased(redis, pg)["slow"]
    drover.worker("--name", "quick", "--concurrency", "1")
    wait_for(lambda: rows_done(pg, "m") == 400 - held, "all others are done")
    # A quarter of max_backlog over all workers may stay behind those that are held.
    wait_for(lambda: redis.client().xlen(stream(pg, "m")) <= held + 100 // 4, "and gone from the stream")
    gate.open()
    wait_for(lambda: rows_done(pg, "m") == 400, "all are done")
    wait_for(lambda: redis.client().xlen(stream(pg, "m")) == 0, "the stream is empty")
    assert_every_row_once(pg, 400)


# --- how it ends ---


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_drain_loses_no_time_and_uses_no_attempts(pg, drover, redis, mode):
    table(pg)
    gate = Gate(pg)
    queue(drover, migration(drover, GATED, mode))
    worker = drover.worker("--concurrency", "2", "--name", "first", "--lease", "60")
    gate.wait(2)
    worker.terminate()
    wait_for(lambda: leased(redis, pg).get("first", 0) <= (2 if mode == "batch" else 20),
             lambda: f"it gives back what is not started: {leased(redis, pg)}")
    assert worker.running and len(gate.waiting()) == 2
    gate.open()
    worker.wait()
    assert 0 < rows_done(pg, "m") <= 20
    start = time.monotonic()
    drover.run_worker("--stop-when-empty", "--lease", "60")
    assert time.monotonic() - start < 30  # nobody waited for a lease to end
    assert_every_row_once(pg)
    assert_no_attempts_used(pg)


def test_a_second_signal_ends_it_at_once(pg, drover):
    table(pg)
    gate = Gate(pg)
    path = migration(drover, GATED)
    queue(drover, path)
    worker = drover.worker(*LEASE)
    gate.wait()
    worker.terminate()
    worker.wait_for_log("(?i)drain")
    worker.terminate()
    worker.wait(10, rc=None)
    gate.open()
    finish(drover, path, worker=LEASE)
    assert_every_row_once(pg)


def test_once(pg, drover, redis):
    table(pg)
    queue(drover, migration(drover))
    drover.run_worker("--once", "--concurrency", "3")
    assert rows_done(pg, "m") == 10
    assert redis.client().xlen(stream(pg, "m")) == 19
    assert sum(leased(redis, pg).values()) == 0


def test_max_jobs(pg, drover, redis):
    table(pg)
    queue(drover, migration(drover))
    drover.run_worker("--max-jobs", "7", "--concurrency", "3")
    assert rows_done(pg, "m") == 70
    assert redis.client().xlen(stream(pg, "m")) == 13


def test_max_time(pg, drover):
    table(pg)
    queue(drover, migration(drover))
    start = time.monotonic()
    drover.run_worker("--max-time", "2")
    assert 1.5 < time.monotonic() - start < 30
    assert_every_row_once(pg)


def test_stop_when_empty(pg, drover):
    drover.run("init")
    drover.run_worker("--stop-when-empty")
    table(pg)
    queue(drover, migration(drover, mode="row"))
    drover.run_worker("--stop-when-empty")
    assert_every_row_once(pg)


def test_it_pauses_on_usr2_and_goes_on_with_cont(pg, drover):
    table(pg)
    drover.run("init")
    worker = drover.worker()
    worker.wait_for_log("(?i)ready|started|worker")
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.workers") == 1)
    worker.signal(signal.SIGUSR2)
    worker.wait_for_log("(?i)paused")
    queue(drover, migration(drover))
    wait_for(lambda: pg.value("SELECT state FROM drover.workers") == "paused", "the ledger says that it is paused")
    assert rows_done(pg, "m") == 0
    worker.signal(signal.SIGCONT)
    wait_for(lambda: rows_done(pg, "m") == 200, "all rows are done")


def test_it_works_on_the_migrations_named_alone(pg, drover):
    for name in ("t", "u", "v"):
        table(pg, 50, name)
    queue(drover, *[migration(drover, name=f"m_{name}", of=name) for name in ("t", "u", "v")])
    drover.run_worker("--stop-when-empty", "--migration", "m_t,m_v")
    assert [rows_done(pg, f"m_{name}") for name in ("t", "u", "v")] == [50, 0, 50]


def test_restart_asks_every_worker_to_drain(pg, drover):
    drover.run("init")
    workers = [drover.worker("--name", name) for name in ("a", "b")]
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.workers") == 2, "both are known")
    drover.run("restart")
    for worker in workers:
        worker.wait()
    drover.run_worker("--once", "--max-time", "1")  # the next one is not asked


# --- others ---


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_the_jobs_of_a_killed_worker_are_taken_over(pg, drover, mode):
    """Its transaction still holds the claim: the server does not know yet that it is dead."""
    table(pg)
    gate = Gate(pg, who="drover a/%")
    path = migration(drover, GATED, mode, lock_timeout=outlives_its_lease(mode))
    queue(drover, path)
    dead = drover.worker("--name", "a", "--concurrency", "2", *LEASE)
    gate.wait(2)
    dead.kill()
    drover.run("config", "m", "lock_timeout_ms=200")
    finish(drover, path, worker=["--name", "b", *LEASE])
    gate.open()
    assert_every_row_once(pg)
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state <> 'done'") == 0


def test_a_lease_is_renewed_while_a_long_job_runs(pg, drover, redis):
    table(pg, 10)
    gate = Gate(pg)
    queue(drover, migration(drover, GATED))
    drover.worker("--name", "a", *LEASE)
    gate.wait()
    drover.worker("--name", "b", *LEASE)
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.workers") == 2, "both are known")
    until = time.monotonic() + 7  # more than two leases
    while time.monotonic() < until:
        assert leased(redis, pg) == {"a": 1}
        time.sleep(0.1)
    gate.open()
    wait_for(lambda: rows_done(pg, "m") == 10, "the job is done")
    drover.stop_all()
    assert_every_row_once(pg, 10)
    assert pg.sql("SELECT worker, marks FROM drover.batches") == [("a", None)]


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_zombie_does_nothing_twice(pg, drover, mode):
    """Stopped for longer than its lease in the middle of a job; another takes over; then it wakes up."""
    table(pg)
    gate = Gate(pg, who="drover a/%")
    path = migration(drover, GATED, mode, lock_timeout=outlives_its_lease(mode))
    queue(drover, path)
    zombie = drover.worker("--name", "a", "--concurrency", "2", *LEASE)
    gate.wait(2)
    zombie.signal(signal.SIGSTOP)
    drover.run("config", "m", "lock_timeout_ms=200")
    other = drover.worker("--name", "b", *LEASE)
    wait_for(lambda: rows_done(pg, "m") == 200, lambda: f"the other does it all: {rows_done(pg, 'm')}")
    gate.open()
    zombie.signal(signal.SIGCONT)
    wait_for(lambda: state(pg, "m")[0] == "complete", "it is complete")
    zombie.wait_for_log("lease.lost")
    assert zombie.running
    for worker in (zombie, other):
        worker.terminate()
        worker.wait()
    assert zombie.err.count("lease.lost") == 1
    assert_every_row_once(pg)
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state <> 'done'") == 0


def test_a_zombie_whose_commit_went_through_meanwhile(pg, drover, redis):
    table(pg, 50)
    gate = Gate(pg)
    queue(drover, migration(drover, GATED, size=50))
    zombie = drover.worker("--name", "a", *LEASE)
    gate.wait()
    zombie.signal(signal.SIGSTOP)
    gate.open()  # all of the transaction is with the server already
    wait_for(lambda: rows_done(pg, "m") == 50, "the server has committed it")
    assert redis.client().xlen(stream(pg, "m")) == 1
    drover.worker("--name", "b", *LEASE)
    wait_for(lambda: redis.client().xlen(stream(pg, "m")) == 0, "the other acknowledges it")
    zombie.signal(signal.SIGCONT)
    drover.stop_all()
    assert_every_row_once(pg, 50)


def hand_out_to_the_dead(pg, redis, n, name="m"):
    """n jobs of a consumer that is no more, whose lease is over."""
    client = redis.client(decode_responses=False)
    [[_, entries]] = client.xreadgroup("workers", "dead", {stream(pg, name): ">"}, count=n)
    client.xclaim(stream(pg, name), "workers", "dead", 0, [id for id, _ in entries], idle=3600000, justid=True)


def test_a_busy_worker_takes_over_before_it_takes_what_is_new(pg, drover, redis):
    table(pg, 80)
    queue(drover, migration(drover, "-- drover: set n = n + 1 + length(pg_sleep(0.05)::text)", size=1))
    hand_out_to_the_dead(pg, redis, 3)
    worker = drover.worker("--concurrency", "1", *LEASE)
    wait_for(lambda: rows_done(pg, "m") == 80, "all is done")
    worker.terminate()
    worker.wait()
    order = [row[0] for row in pg.sql("SELECT number FROM drover.batches ORDER BY completed_at")]
    assert max(order.index(number) for number in (1, 2, 3)) < 60, order
    assert_every_row_once(pg, 80)


def test_jobs_of_an_answer_that_was_lost_do_not_wait_for_their_lease(pg, drover, redis):
    table(pg)
    path = migration(drover)
    drover.run("init")
    with Proxy(redis.socket) as proxy:
        worker = drover.worker("--lease", "1h", env={"REDIS_URL": proxy.url(redis.url)})
        worker.wait_for_log("worker.ready")
        proxy.lose_answer(b"XREADGROUP", answers=[b":jobs"])
        queue(drover, path)
        wait_for(lambda: rows_done(pg, "m") == 200, lambda: f"all is done: {worker!r}")
        assert proxy.lost_answers == 1
        worker.wait_for_log("job.recovered migration=m jobs=[1-9]")
        worker.terminate()
        worker.wait()
    assert_every_row_once(pg)
    assert redis.client().xlen(stream(pg, "m")) == 0


def test_lanes_whose_answers_were_lost_do_not_wait_for_them(pg, drover):
    """The ways that there are to PostgreSQL carry nothing any more, and nobody says so; new ones work."""
    table(pg)
    queue(drover, migration(drover, "-- drover: set n = n + 1 + length(pg_sleep(0.05)::text)"))
    with Proxy(pg.server.socket) as proxy:
        worker = drover.worker(env={"DATABASE_URL": proxy.url(pg.url)})
        wait_for(lambda: rows_done(pg, "m") > 0, "it is at work")
        proxy.silence(lost=True)
        proxy.heal()
        worker.wait_for_log("lane.silent")
        wait_for(lambda: rows_done(pg, "m") == 200, lambda: f"all is done: {worker!r}")
        worker.terminate()
        worker.wait()
    assert_every_row_once(pg)
    assert_no_attempts_used(pg)


def test_a_dead_auditor_keeps_nobody_waiting(pg, drover):
    table(pg)
    queue(drover, migration(drover))
    pg.sql("""UPDATE drover.migrations SET auditor = 'ghost', auditor_until = now() + interval '1 hour';
              INSERT INTO drover.workers (name, host, pid, version, lanes, state, heartbeat_at)
              VALUES ('ghost', 'h', 1, '0', 1, 'running', now() - interval '13 s')""")
    drover.worker()
    wait_for(lambda: state(pg, "m")[0] == "complete", "it is complete")
    assert_every_row_once(pg)


def test_many_migrations_share_a_worker_fairly(pg, drover):
    names = ["t", "u", "v"]
    for name in names:
        table(pg, 400, name)
    queue(drover, *[migration(drover, name=f"m_{name}", of=name) for name in names])
    drover.run_worker("--stop-when-empty", "--concurrency", "2")
    order = [row[0] for row in pg.sql("SELECT migration_id FROM drover.batches ORDER BY completed_at")]
    assert len(order) == 120
    share = [order[:60].count(id_) for id_ in sorted(set(order))]
    assert len(share) == 3 and min(share) >= 12, share


def test_more_migrations_than_a_read_takes_all_have_their_turn(pg, drover):
    """Copies of one, in the ledger: the audit pushes their jobs."""
    table(pg, 1)
    queue(drover, migration(drover))
    for of, new in (("migrations", "'id', 1000 + g, 'name', 'copy' || g"), ("batches", "'migration_id', 1000 + g")):
        pg.sql(f"""INSERT INTO drover.{of} OVERRIDING SYSTEM VALUE
                   SELECT (jsonb_populate_record(m, jsonb_build_object({new}))).* FROM drover.{of} m, generate_series(1, 80) g""")
    drover.worker("--concurrency", "1")
    wait_for(lambda: pg.value("SELECT n FROM t") == 81, lambda: f"each does its job once: {pg.value('SELECT n FROM t')}")


def test_a_finished_migration_does_not_make_a_worker_take_more_of_another(pg, drover, redis):
    """Replays of what is finished are read many at once; batches that lie with a worker are out of the others' reach."""
    table(pg)
    table(pg, name="u")
    gate = Gate(pg)
    finish(drover, migration(drover))
    queue(drover, migration(drover, GATED, name="later", of="u"))
    drover.worker("--concurrency", "1")
    gate.wait()
    assert sum(leased(redis, pg, "later").values()) <= 4  # one runs, three wait for the lane
    gate.open()
    wait_for(lambda: state(pg, "later")[0] == "complete", "it is complete")
    assert_every_row_once(pg, name="u")


def test_a_migration_added_later_is_not_held_up_by_a_long_one(pg, drover):
    table(pg, 2000)
    table(pg, 50, "u")
    drover.run("init")
    drover.run("config", "processing_interval_ms=20")
    queue(drover, migration(drover))
    drover.worker("--concurrency", "1")
    wait_for(lambda: rows_done(pg, "m") >= 100, "the first is under way")
    queue(drover, migration(drover, name="later", of="u"))
    wait_for(lambda: rows_done(pg, "later") == 50, "the second is done")
    assert rows_done(pg, "m") < 2000


def test_a_shorter_pause_between_jobs_counts_for_lanes_that_rest(pg, drover):
    table(pg)
    drover.run("init")
    drover.run("config", "processing_interval_ms=1h")
    queue(drover, migration(drover))
    drover.worker("--concurrency", "1")
    wait_for(lambda: rows_done(pg, "m") > 0, "the first job is done")
    drover.run("config", "processing_interval_ms=")
    wait_for(lambda: state(pg, "m")[0] == "complete", "it is complete")
    assert_every_row_once(pg)


# --- servers ---


def test_redis_away_and_back_empty(pg, drover, redis):
    table(pg, 1000)
    drover.run("init")
    drover.run("config", "processing_interval_ms=5")
    producer = drover.popen("produce", migration(drover), "--wait")
    worker = drover.worker("--concurrency", "2")
    wait_for(lambda: rows_done(pg, "m") >= 100, "it is under way")
    redis.kill()
    worker.wait_for_log("(?i)redis")
    lines = len(worker.err.splitlines())
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert worker.running and producer.running
        time.sleep(0.1)
    assert len(worker.err.splitlines()) - lines < 10  # no flood
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
    lines = len(worker.err.splitlines())
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert worker.running and producer.running
        time.sleep(0.1)
    assert len(worker.err.splitlines()) - lines < 15  # no flood
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
