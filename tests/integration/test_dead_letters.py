"""Dead letters in numbers: none is lost, a replay may be interrupted at any moment and be repeated, what failed again keeps its history."""

import random
import signal
import time

import pytest

from lib.process import wait_for
from lib.scenario import Gate, dead, finish

DEAD = 4  # exit status: finished, with dead letters
ROWS = 300
LEDGER = "-- drover: table t\n-- drover: mode {mode}\n-- drover: ledger\n-- drover: set n = n + 1\n"
OPEN = "SELECT count(*) FROM drover.failed_jobs WHERE state <> 'done'"


def all_fail(pg, drover, mode, rows=ROWS):
    """A ledger-only migration that has run, each row of it a dead letter; then the cause is mended."""
    pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0 CONSTRAINT never CHECK (n = 0));
               INSERT INTO t SELECT g FROM generate_series(1, {rows}) g""")
    drover.run("init")
    drover.run("config", "breaker=off", "backoff=0.1")
    finish(drover, drover.migration("m", LEDGER.format(mode=mode)), worker=["--concurrency", "4"], rc=DEAD)
    assert len(dead(pg, "m")) == rows
    pg.sql("ALTER TABLE t DROP CONSTRAINT never")


def each_was_done_once(pg):
    assert pg.sql("SELECT DISTINCT n FROM t") == [(1,)]
    assert pg.sql("SELECT DISTINCT state, replays FROM drover.failed_jobs") == [("done", 1)]


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_none_of_many_dead_letters_is_dropped(pg, drover, mode):
    all_fail(pg, drover, mode, 1500)
    assert pg.value("SELECT count(DISTINCT key) FROM drover.failed_jobs") == 1500
    assert len(drover.run("failed", "--limit", 0, "--json").json) == 1500
    assert [g["count"] for g in drover.run("failed", "--group", "--json").json] == [1500]
    assert drover.run("status", "m", "--json").json["failed"] == 1500


@pytest.mark.parametrize("predicate", ["ledger", "pending b IS NULL"])
def test_produce_wait_waits_for_a_replay(pg, drover, predicate):
    gate = Gate(pg)
    gate.open()
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int CONSTRAINT never CHECK (b IS NULL)); INSERT INTO t SELECT g, g FROM generate_series(1, 40) g")
    drover.run("init")
    drover.run("config", "breaker=off")
    finish(drover, drover.migration("m", f"-- drover: table t\n-- drover: {predicate}\n-- drover: set b = gate(a)\n-- drover: lock-timeout 60s\n"), rc=DEAD)
    pg.sql("ALTER TABLE t DROP CONSTRAINT never")
    gate.close()
    drover.worker()
    drover.run("retry", "all", "--migration", "m")
    gate.wait()
    producer = drover.popen("produce", "m", "--wait")
    wait_for(lambda: pg.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drover produce'") > 0)
    assert producer.running
    gate.open()
    producer.wait(rc=0)
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 40 and pg.value(OPEN) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_replay_that_is_interrupted_and_run_again_replays_nothing_twice(pg, drover, mode, number):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    all_fail(pg, drover, mode)
    drover.worker()
    for _ in range(6):
        replay = drover.popen("retry", "all", "--rate", "200/s")
        time.sleep(rng.uniform(0, 0.4))  # any moment: before its first chunk, in the middle, between ledger and push
        replay.signal(number)
        replay.wait(rc=None)
    drover.run("retry", "all")
    # What was queued and not pushed is pushed by the audit.
    wait_for(lambda: pg.value(OPEN) == 0, lambda: f"all are done, {pg.sql('SELECT state, count(*) FROM drover.failed_jobs GROUP BY 1')}")
    each_was_done_once(pg)


def test_the_backlog_bounds_replays_too(pg, drover, redis):
    all_fail(pg, drover, "row")
    drover.run("config", "max_backlog=40")
    replay = drover.run("retry", "all", "--json").json
    assert (replay["queued"], replay["pushed"]) == (ROWS, 40)
    stream = f"drover:{{{pg.value('SELECT installation FROM drover.meta')}:1}}:jobs"
    assert redis.client().xlen(stream) == 40
    drover.worker()
    while pg.value(OPEN) > 0:
        assert redis.client().xlen(stream) <= 40
        time.sleep(0.05)
    each_was_done_once(pg)


def test_replays_at_once_share_the_work(pg, drover):
    all_fail(pg, drover, "batch")
    workers = [drover.worker() for _ in range(2)]
    replays = [drover.popen("retry", "all", "--rate", "400/s", "--json") for _ in range(3)]
    assert sum(replay.wait().json["queued"] for replay in replays) == ROWS
    wait_for(lambda: pg.value(OPEN) == 0, "all are done")
    each_was_done_once(pg)
    for worker in workers:
        worker.terminate()
        worker.wait()


def test_a_rate_holds_for_the_whole_replay(pg, drover):
    all_fail(pg, drover, "batch", 60)
    drover.worker()
    begun = time.monotonic()
    drover.run("retry", "all", "--rate", "30/s")
    assert time.monotonic() - begun >= 1.5  # two seconds' worth, less the first quarter that goes at once
    wait_for(lambda: pg.value(OPEN) == 0, "all are done")
    each_was_done_once(pg)


def test_what_fails_again_and_again_keeps_its_history(pg, drover):
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, s text, b int); INSERT INTO t VALUES (1, 'one'), (2, '2')""")
    drover.run("init")
    drover.run("config", "tries=2", "backoff=0.01")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = s::int\n-- drover: pending b IS NULL\n")
    finish(drover, path, worker=["--name", "first"], rc=DEAD)
    first = pg.sql("SELECT id, first_failed_at, last_failed_at, attempts, message FROM drover.failed_jobs")[0]
    assert first[3:] == (2, 'invalid input syntax for type integer: "one"')
    for worker, change in [("second", "UPDATE t SET s = 'two' WHERE id = 1"), ("third", "UPDATE t SET s = '99999999999' WHERE id = 1"),
                           ("fourth", "UPDATE t SET s = '1' WHERE id = 1")]:
        pg.sql(change)
        drover.run("retry", first[0])
        drover.run_worker("--stop-when-empty", "--name", worker)
        wait_for(lambda: pg.value("SELECT state NOT IN ('queued', 'retrying') FROM drover.failed_jobs"), "its fate is settled")
    letter = drover.run("failed", "show", first[0], "--json").json
    assert (letter["state"], letter["replays"], letter["sqlstate"], letter["worker"]) == ("done", 3, "22003", "third")
    # Every replay and its outcome; with each replay, the failure that it was to put right.
    events = [h["event"].partition(" by ")[0] for h in letter["history"]]
    assert events == ["replayed", "failed", "replayed", "failed", "replayed", "done"]
    failures = [(h["sqlstate"], h["worker"], h["attempts"]) for h in letter["history"] if h["event"].startswith("replayed")]
    assert failures == [("22P02", "first", 2), ("22P02", "second", 2), ("22003", "third", 2)]
    times = pg.sql("SELECT first_failed_at, last_failed_at, queued_at FROM drover.failed_jobs")[0]
    assert times[0] == first[1] and times[1] > first[2] and times[2] > first[2]
    assert "replayed by" in drover.run("failed", "show", first[0]).out


def test_a_replay_leaves_what_was_forgotten_and_takes_it_by_its_id(pg, drover):
    all_fail(pg, drover, "batch", 30)
    ids = [row[0] for row in pg.sql("SELECT id FROM drover.failed_jobs ORDER BY id")]
    drover.run("forget", f"{ids[0]}-{ids[9]}", "--yes")
    drover.run("retry", "all")
    assert drover.run("forget", "all", "--yes", "--json").json["dropped"] == 0  # what is on its way is not dropped
    drover.run_worker("--stop-when-empty")
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(0, 10), (1, 20)]
    drover.run("verify", "m")
    drover.run("retry", ids[0], ids[5])
    drover.run_worker("--stop-when-empty")
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(0, 8), (1, 22)]
