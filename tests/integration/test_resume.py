"""Producer and workers killed with -9 at ten moments of one run: every row is done, and done once."""

import random

import pytest

from lib.process import wait_for
from lib.scenario import BY_STEPS, queue, rows_done, stream

ROWS = 2000
LEASE = ["--lease", "3"]

CHANGES = {
    "ledger-only batches": "-- drover: ledger\n-- drover: set n = n + 1\n",
    "ledger-only rows": "-- drover: ledger\n-- drover: mode row\n-- drover: set n = n + 1\n",
    "predicate batches": "-- drover: pending n = 0\n-- drover: set n = n + 1\n",
    "predicate rows": "-- drover: pending n = 0\n-- drover: mode row\n-- drover: backfill\nUPDATE t SET n = n + 1 FROM :batch x WHERE x.id "
                      "= t.id" + BY_STEPS,
}


@pytest.mark.parametrize("kind", CHANGES)
def test_killed_at_ten_moments_every_row_once(pg, drover, kind):
    """The trigger counts every change that commits; poison rows are there too."""
    seed = sorted(CHANGES).index(kind)
    chance = random.Random(seed)
    pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0 CHECK (id % 500 <> 77 OR n = 0), changes int NOT NULL DEFAULT 0);
               INSERT INTO t SELECT g FROM generate_series(1, {ROWS}) g;
               CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changes := OLD.changes + 1; RETURN NEW; END $$;
               CREATE TRIGGER c BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION count_change()""")
    path = drover.migration("m", f"-- drover: table t\n-- drover: batch-size 10\n{CHANGES[kind]}")
    drover.run("init")
    drover.run("config", "processing_interval_ms=30", "max_backlog=300")

    def start(who):
        return drover.popen("produce", path, "--wait") if who == "producer" else drover.worker("--name", who, "--concurrency", "2", *LEASE)

    fleet = {who: start(who) for who in ("producer", "a", "b")}
    moments = sorted(chance.sample(range(1, ROWS * 9 // 10), 10))
    for moment in moments:
        wait_for(lambda: rows_done(pg, "m") >= moment, lambda: f"seed {seed}: {moment} rows are done, not {rows_done(pg, 'm')}; {fleet}")
        for who in chance.sample(sorted(fleet), chance.randint(1, 3)):
            fleet[who].kill()
            fleet[who] = start(who)
    fleet["producer"].wait(150, rc=4)
    for who in ("a", "b"):
        fleet[who].terminate()
        fleet[who].wait()
    assert pg.sql("SELECT n, changes, count(*) FROM t GROUP BY 1, 2 ORDER BY 1, 2") == [(0, 0, 4), (1, 1, ROWS - 4)], f"seed {seed}"
    assert sorted(row[0] for row in pg.sql("SELECT key[1]::int FROM drover.failed_jobs WHERE state = 'dead'")) == [77, 577, 1077, 1577]


def test_an_interrupted_producer_goes_on_where_it_was(pg, drover):
    """TERM in the middle of the scan: the next one begins at the cursor, not at the head."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 1000) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: batch-size 10\n-- drover: set n = n + 1\n")
    producer = drover.popen("produce", path, "--max-backlog", "20")
    wait_for(lambda: pg.value("SELECT rows_scanned FROM drover.migrations") >= 100, "it has begun, and waits for workers")
    producer.terminate()
    producer.wait(rc=130)
    scanned = pg.value("SELECT rows_scanned FROM drover.migrations")
    assert 100 <= scanned < 1000
    queue(drover, path)
    assert pg.value("SELECT rows_scanned FROM drover.migrations") == 1000
    assert pg.sql("SELECT count(*), sum(rows)::int FROM drover.batches") == [(100, 1000)]
    drover.run_worker("--stop-when-empty")
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 1000)]


@pytest.mark.parametrize("kind", ["ledger-only batches", "ledger-only rows"])
def test_the_next_worker_drops_what_a_redis_of_before_has_again(pg, redis, drover, kind):
    """A failover after the end, to a replica of a second ago: jobs that are done lie there, one of them in a dead worker's hands."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 100) g")
    path = drover.migration("m", f"-- drover: table t\n-- drover: batch-size 10\n{CHANGES[kind]}")
    queue(drover, path)
    client, jobs = redis.client(decode_responses=False), stream(pg, "m")
    if not client.xinfo_groups(jobs):
        client.xgroup_create(jobs, "workers", "0")
    client.xreadgroup("workers", "dead", {jobs: ">"}, count=1)
    before = client.dump(jobs)
    drover.run("run", path, "--workers", "1", env={"DROVER_LEASE": "3s"})
    assert client.xlen(jobs) == 0
    client.restore(jobs, 0, before, replace=True)
    drover.run_worker("--stop-when-empty", *LEASE)
    assert (client.xlen(jobs), client.xpending(jobs, "workers")["pending"]) == (0, 0)
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 100)]
