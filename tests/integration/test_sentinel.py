"""redis+sentinel://: the fleet asks the Sentinels where the master is, and follows."""

import pytest

from lib.process import free_port, wait_for
from lib.scenario import finish, rows_done
from lib.sentinel import NAME, Sentinel, Watched

LEDGER_ONLY = "-- drover: table t\n-- drover: ledger\n-- drover: set n = n + 1\n"


@pytest.fixture
def table(pg):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, 4000)")


@pytest.fixture
def watched():
    with Watched() as servers:
        yield servers


def each_row_is_changed_once(pg):
    return pg.sql("SELECT n, count(*) FROM t GROUP BY n") == [(1, 4000)]


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_the_fleet_follows_when_the_master_is_killed(pg, drover, table, watched, mode):
    drover.env["REDIS_URL"] = watched.url
    drover.run("config", "processing_interval_ms=50", "batch_size=40", "max_backlog=50")
    workers = [drover.worker() for _ in range(2)]
    producer = drover.popen("produce", drover.migration("0001_n", LEDGER_ONLY), "--wait", "--mode", mode)
    wait_for(lambda: rows_done(pg, "0001_n") > 500, "the run is in its middle")
    watched.servers[0].kill()
    wait_for(lambda: watched.master() is watched.servers[1], "the replica is promoted")
    at_promotion = rows_done(pg, "0001_n")
    wait_for(lambda: rows_done(pg, "0001_n") > at_promotion, "rows are changed again")
    producer.wait()
    assert each_row_is_changed_once(pg)
    assert all(worker.running for worker in workers)


def test_the_fleet_follows_an_ordered_failover_and_does_not_return_to_the_old_master(pg, drover, table, watched):
    drover.env["REDIS_URL"] = watched.url
    drover.run("config", "processing_interval_ms=50", "batch_size=40", "max_backlog=50")
    drover.worker()
    producer = drover.popen("produce", drover.migration("0001_n", LEDGER_ONLY), "--wait")
    wait_for(lambda: rows_done(pg, "0001_n") > 500, "the run is in its middle")
    watched.sentinels[0].client().sentinel_failover(NAME)
    wait_for(lambda: watched.servers[0].client().info("replication")["role"] == "slave", "the old master has become a replica")
    producer.wait()
    assert each_row_is_changed_once(pg)


def test_a_sentinel_that_is_gone_or_silent_is_passed_over(pg, drover, table, redis):
    with Sentinel() as silent, Sentinel() as good, Watched() as watched:
        good.monitor(watched.servers[0].port)
        silent.freeze()
        drover.env["REDIS_URL"] = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{silent.port},127.0.0.1:{good.port}/{NAME}"
        finish(drover, drover.migration("0001_n", LEDGER_ONLY))
        silent.thaw()
    assert each_row_is_changed_once(pg)


def test_a_sentinel_that_knows_no_master_is_one_clear_line_and_a_retry(pg, drover, table):
    with Sentinel() as sentinel, Watched() as watched:
        drover.env["REDIS_URL"] = f"redis+sentinel://127.0.0.1:{sentinel.port}/{NAME}"
        worker = drover.worker()
        producer = drover.popen("produce", drover.migration("0001_n", LEDGER_ONLY), "--wait")
        line = rf"no Sentinel says who the master is; 127.0.0.1:{sentinel.port}: it knows no master \\?'{NAME}"
        for process in (worker, producer):
            process.wait_for_log(line)
        sentinel.monitor(watched.servers[0].port)
        producer.wait()
        assert producer.err.count("it knows no master") == worker.err.count("it knows no master") == 1
    assert each_row_is_changed_once(pg)


def test_sentinels_may_want_a_password_of_their_own(pg, drover, table):
    with Sentinel(password="s e c r e t") as sentinel, Watched() as watched:
        sentinel.monitor(watched.servers[0].port)
        drover.env["REDIS_URL"] = f"redis+sentinel://127.0.0.1:{sentinel.port}/{NAME}"
        worker = drover.worker()
        worker.wait_for_log(f"127.0.0.1:{sentinel.port}: NOAUTH")
        worker.terminate()
        worker.wait(rc=None)
        drover.env["REDIS_SENTINEL_PASSWORD"] = "s e c r e t"
        finish(drover, drover.migration("0001_n", LEDGER_ONLY))
    assert each_row_is_changed_once(pg)
