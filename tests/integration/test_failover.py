"""Several hosts in DATABASE_URL: the primary dies, a standby is promoted, the fleet follows."""

import pytest

from lib.process import wait_for
from lib.standby import Pair

ROWS = 4000
MIGRATIONS = {
    "predicate": "-- drover: table t\n-- drover: set n = n + 1\n-- drover: pending n = 0\n",
    "ledger": "-- drover: table t\n-- drover: ledger\n-- drover: set n = n + 1\n",
}


def rows_done(server, dbname):
    return server.sql("SELECT count(*) FROM t WHERE n > 0", dbname=dbname)[0][0]


@pytest.fixture(params=["asynchronous", "synchronous"])
def pair(request):
    with Pair(sync=request.param == "synchronous") as servers:
        yield servers


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("kind", MIGRATIONS)
def test_the_fleet_follows_a_promotion_and_does_again_what_it_lost(drover, pair, kind, mode):
    pair.primary.sql("CREATE DATABASE app")
    pair.primary.sql(f"CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, {ROWS})",
                     dbname="app")
    drover.env["DATABASE_URL"] = pair.url("app")
    # Jobs' commits wait for no standby either, unless told to.
    drover.run("config", "processing_interval_ms=50", "batch_size=20", "max_backlog=40", f"synchronous_commit={'on' if pair.sync else 'off'}")
    workers = [drover.worker() for _ in range(2)]
    producer = drover.popen("produce", drover.migration("0001_n", MIGRATIONS[kind]), "--wait", "--mode", mode)
    wait_for(lambda: rows_done(pair.primary, "app") > 500, "the run is in its middle")
    if not pair.sync:
        pair.fall_behind()
        received = rows_done(pair.standby, "app")
        wait_for(lambda: rows_done(pair.primary, "app") > received + 300, "the standby has missed something")
    before = rows_done(pair.primary, "app")
    pair.fail_over()
    after = rows_done(pair.standby, "app")
    assert after < before if not pair.sync else after >= before
    wait_for(lambda: rows_done(pair.standby, "app") > after, "rows are changed again")
    producer.wait(timeout_s=180)
    assert pair.standby.sql("SELECT n, count(*) FROM t GROUP BY n", dbname="app") == [(1, ROWS)]
    assert all(worker.running for worker in workers)
    drover.run("verify", "0001_n")


@pytest.fixture
def lossy(drover):
    """A pair whose standby may fall behind, and a table in it."""
    with Pair() as servers:
        servers.primary.sql("CREATE DATABASE app")
        servers.primary.sql(f"""CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0 CONSTRAINT never CHECK (n = 0 OR id % 100 <> 7));
                                INSERT INTO t SELECT generate_series(1, {ROWS})""", dbname="app")
        drover.env["DATABASE_URL"] = servers.url("app")
        drover.run("init")
        yield servers


def fall_behind(pair):
    """From here on: what is there now is kept, what comes is lost."""
    there = pair.primary.sql("SELECT pg_current_wal_lsn()")[0][0]
    wait_for(lambda: pair.standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{there}'") == [(True,)], "the standby has it all")
    pair.fall_behind()


def wait_for_value(server, wanted, sql):
    wait_for(lambda: server.sql(sql, dbname="app") == [(wanted,)], lambda: f"{wanted}, not {server.sql(sql, dbname='app')}", 60)


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("kind", MIGRATIONS)
def test_a_migration_that_was_complete_and_is_no_more_is_done_again_without_a_producer(drover, lossy, kind, mode):
    lossy.primary.sql("ALTER TABLE t DROP CONSTRAINT never", dbname="app")
    drover.run("produce", drover.migration("0001_n", MIGRATIONS[kind]), "--mode", mode)
    fall_behind(lossy)
    worker = drover.worker()
    wait_for_value(lossy.primary, "complete", "SELECT state FROM drover.migrations")
    lossy.fail_over()
    assert rows_done(lossy.standby, "app") < ROWS
    wait_for_value(lossy.standby, "complete", "SELECT state FROM drover.migrations")
    assert lossy.standby.sql("SELECT n, count(*) FROM t GROUP BY n", dbname="app") == [(1, ROWS)]
    assert lossy.standby.sql("SELECT count(*) FROM drover.window_counts", dbname="app") == [(0,)]
    assert worker.running


@pytest.mark.parametrize("kind", MIGRATIONS)
def test_replays_that_were_done_and_are_no_more_are_done_again(drover, lossy, kind):
    waiting = "SELECT count(*) FROM drover.failed_jobs WHERE state <> 'done'"
    producer = drover.popen("produce", drover.migration("0001_n", MIGRATIONS[kind]), "--wait")
    worker = drover.worker()
    producer.wait(rc=4)
    worker.terminate()
    worker.wait()
    wait_for_value(lossy.primary, ROWS // 100, waiting)
    lossy.primary.sql("ALTER TABLE t DROP CONSTRAINT never", dbname="app")
    drover.run("retry", "all")
    fall_behind(lossy)
    worker = drover.worker()
    wait_for_value(lossy.primary, 0, waiting)
    lossy.fail_over()
    assert lossy.standby.sql(waiting, dbname="app") == [(ROWS // 100,)]
    wait_for_value(lossy.standby, 0, waiting)
    assert lossy.standby.sql("SELECT n, count(*) FROM t GROUP BY n", dbname="app") == [(1, ROWS)]
    assert worker.running
