"""What wakes workers that wait, and that nothing depends on it."""

import pytest

from lib.counted import migration, table
from lib.process import wait_for
from lib.scenario import queue, rows_done, state, wait_for_state


def bell(pg):
    return f"drover:{pg.value('SELECT installation FROM drover.meta')}:bell"


def rings(redis, pg):
    """How often it has rung lately."""
    info = redis.client().xinfo_stream(bell(pg)) if redis.client().exists(bell(pg)) else {}
    return info.get("entries-added", 0)


def ring(redis, pg):
    return redis.client().xadd(bell(pg), {"j": ""}, maxlen=1)


def test_a_ring_is_heard_by_every_worker_that_waits(pg, drover, redis):
    drover.run("init")
    workers = [drover.worker("--name", name, "--log-level", "debug") for name in ("a", "b")]
    for worker in workers:
        worker.wait_for_log(r"worker\.ready")
    id = ring(redis, pg)
    for worker in workers:
        worker.wait_for_log(rf"bell\.heard.*id={id}")


def test_a_ring_while_a_worker_connects_anew_is_heard(pg, drover, redis):
    drover.run("init")
    worker = drover.worker("--log-level", "debug")
    worker.wait_for_log(r"worker\.ready")
    redis.client().client_kill_filter(_type="normal", skipme=True)
    id = ring(redis, pg)
    worker.wait_for_log(rf"bell\.heard.*id={id}")


@pytest.mark.parametrize("words", [("pause", "m"), ("resume", "m"), ("config", "m", "tries=3"), ("cancel", "m", "--yes"), ("restart",),
                                   ("clear", "m", "--yes"), ("produce", "m")], ids=lambda words: words[0])
def test_whoever_changes_something_rings(pg, drover, redis, words):
    table(pg, 10)
    queue(drover, migration(drover, "-- drover: set n = n + 1"))
    before = rings(redis, pg)
    assert before > 0  # by the one who produced it
    drover.run(*words)
    assert rings(redis, pg) > before
    assert 0 < redis.client().pttl(bell(pg)) <= 10000


def test_without_its_bell_a_worker_follows_all_the_same(pg, drover, redis):
    table(pg, 100)
    path = migration(drover, "-- drover: set n = n + 1")
    drover.run("init")
    redis.client().set(bell(pg), "something else")
    worker = drover.worker()
    worker.wait_for_log(r"worker\.ready")
    drover.run("produce", path)
    wait_for(lambda: rows_done(pg, "m") == 100, "all are done")
    wait_for_state(pg, "m", "complete")
    assert redis.client().get(bell(pg)) == "something else"


def test_the_console_needs_no_redis_to_pause(pg, drover, redis):
    table(pg, 10)
    queue(drover, migration(drover, "-- drover: set n = n + 1"))
    redis.kill()
    drover.run("pause", "m")
    assert state(pg, "m")[0] == "paused"
    del drover.env["REDIS_URL"]
    drover.run("resume", "m")
    assert state(pg, "m")[0] == "running"
