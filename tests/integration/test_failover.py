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
    drover.run("config", "processing_interval_ms=50", "batch_size=20", "max_backlog=40")
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
