"""The fleet's member: how it ends, and what happens when others die."""

import signal
import time

import pytest

from lib.counted import assert_every_row_once, migration, table
from lib.process import wait_for
from lib.proxy import DOWN, Proxy
from lib.scenario import Gate, finish, queue, rows_done, state, stream, worker_backends

LEASE = ["--lease", "3"]


def outlives_its_lease(mode):
    """lock_timeout of a job held at the gate. A dead lane's claim of a batch is taken from it; its hold on rows ends by itself."""
    return "60s" if mode == "batch" else "6s"


GATED = "-- drover: set n = gate(n) + 1"


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
    drover.worker("--name", "quick", "--concurrency", "1")
    wait_for(lambda: rows_done(pg, "m") == 400 - leased(redis, pg)["slow"], "all others are done")
    held = leased(redis, pg)["slow"]
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
    queue(drover, migration(drover, GATED, mode), produce=["--full-speed"])
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


def test_a_name_that_nobody_has_registered_is_told_once_and_waited_for(pg, drover):
    table(pg, 50, "t")
    drover.run("init")
    worker = drover.worker("--migration", "m_t,typo")
    worker.wait_for_log("migration.unknown.*m_t, typo.*not registered; waiting")
    queue(drover, migration(drover, name="m_t", of="t"))
    wait_for(lambda: rows_done(pg, "m_t") == 50, "all rows are done")
    again = drover.worker("--migration", "m_t,typo")
    again.wait_for_log("migration.unknown migrations=typo ")
    assert worker.err.count("migration.unknown") == again.err.count("migration.unknown") == 1


@pytest.mark.parametrize("why", ["another migration", "paused"])
def test_the_only_lane_goes_to_a_worker_that_can_use_it(pg, drover, why):
    """a is the first by name."""
    table(pg)
    drover.run("init")
    drover.run("config", "max_lanes=1")
    first = drover.worker("--name", "a", *(["--migration", "other"] if why == "another migration" else []))
    wait_for(lambda: pg.value("SELECT state FROM drover.workers") == "running", "it is known")
    if why == "paused":
        first.signal(signal.SIGUSR2)
        first.wait_for_log("worker.paused")
    finish(drover, migration(drover), worker=["--name", "b"])
    assert_every_row_once(pg)
    assert first.running and pg.sql("SELECT DISTINCT worker FROM drover.batches") == [("b",)]


def test_the_only_lane_goes_to_another_worker_when_the_one_that_has_it_is_killed(pg, drover):
    """Not with its lease, which is long here: what it held waits for that, the others do not."""
    table(pg)
    gate = Gate(pg, who="drover a/%")
    path = migration(drover, GATED, lock_timeout=600)
    drover.run("init")
    drover.run("config", "max_lanes=1", "batch_size=10")
    queue(drover, path)
    first, _ = (drover.worker("--name", name, "--lease", "10m") for name in ("a", "b"))
    gate.wait()
    first.kill()
    wait_for(lambda: rows_done(pg, "m") > 0, "b works, though a's lease goes on", 60)
    gate.open()


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
    queue(drover, path, produce=["--full-speed"])
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
    queue(drover, path, produce=["--full-speed"])
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


def test_a_renewal_behind_an_acknowledgement_has_lost_nothing(pg, drover, redis):
    """Both are answered at once: the entry is gone because it was acknowledged."""
    table(pg, 10)
    client = redis.client()

    def calls(command):
        return client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]

    with Proxy(redis.socket) as proxy:
        worker = drover.worker("--lease", "3", env={"REDIS_URL": proxy.url(redis.url)})
        finish(drover, migration(drover, "-- drover: set b = a", name="first"))  # from now on Redis knows the script that acknowledges
        gate = Gate(pg)
        queue(drover, migration(drover, GATED))
        gate.wait()
        wait_for(lambda: calls("xclaim") > 0, "its lease is renewed once")
        proxy.silence(DOWN)
        gate.open()
        wait_for(lambda: client.xlen(stream(pg, "m")) == 0, "it is acknowledged")
        looks = calls("xpending")
        wait_for(lambda: calls("xpending") > looks, "its lease was to be renewed")
        proxy.heal()
        wait_for(lambda: state(pg, "m")[0] == "complete", "it is complete")
        worker.terminate()
        assert "lease.lost" not in worker.wait().err
    assert_every_row_once(pg, 10)


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


def test_lanes_that_waited_for_nothing_do_not_ask_where_nobody_hears_them(pg, drover):
    """Connections that were idle when the ways to PostgreSQL were lost: nobody says so of them either."""
    table(pg)
    table(pg, name="u")
    with Proxy(pg.server.socket) as proxy:
        finish(drover, migration(drover))
        worker = drover.worker("--concurrency", "3", env={"DATABASE_URL": proxy.url(pg.url)})
        worker.wait_for_log("migration.loaded")
        before = wait_for(lambda: len(found := worker_backends(pg)) == 4 and found, "its lanes are connected, and its control is")
        proxy.silence(lost=True)
        proxy.heal()
        wait_for(lambda: len(worker_backends(pg) - before) == 4, lambda: f"all are connected anew: {worker!r}")
        queue(drover, migration(drover, name="later", of="u"))
        wait_for(lambda: rows_done(pg, "later") == 200, lambda: f"all is done: {worker!r}")
        worker.terminate()
        worker.wait()
    assert_every_row_once(pg, name="u")
    assert_no_attempts_used(pg)
    assert "lane.silent" not in worker.err


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
