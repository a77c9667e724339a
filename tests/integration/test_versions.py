"""Fleets of mixed versions: what a worker does not understand it leaves alone, says so once, and goes on by itself."""

import signal

from lib.process import wait_for
from lib.scenario import delayed, finish, queue, rows_done, stream

ROWS = 400
FILE = "-- drover: table t\n-- drover: ledger\n-- drover: batch-size 10\n-- drover: set n = n + 1\n"


def begin(pg, drover, *settings):
    """Jobs in Redis, no worker yet."""
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, {ROWS}) g")
    drover.run("init")
    drover.run("config", *settings)
    path = drover.migration("m", FILE)
    queue(drover, path)
    return path


def assert_every_row_once(pg):
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY n") == [(1, ROWS)]
    assert pg.sql("SELECT DISTINCT retry_count, marks FROM drover.batches") == [(0, None)]


def test_a_worker_steps_back_while_the_schema_is_newer_than_it(pg, redis, drover):
    path = begin(pg, drover, "processing_interval_ms=100")
    ours = pg.value("SELECT schema_version FROM drover.meta")
    worker = drover.worker("--concurrency", "1")
    wait_for(lambda: rows_done(pg, "m") > 0, "it works")
    pg.sql("UPDATE drover.meta SET schema_version = 999")
    worker.wait_for_log("schema.unusable.*version 999.*newer drover-worker")
    wait_for(lambda: redis.client().xpending(stream(pg, "m"), "workers")["pending"] == 0, "what it held is for others")
    wait_for(lambda: pg.value("SELECT state FROM drover.workers") == "outdated", "others know")
    done, beat = rows_done(pg, "m"), pg.value("SELECT heartbeat_at FROM drover.workers")
    wait_for(lambda: pg.value("SELECT heartbeat_at FROM drover.workers") > beat, "it lives")
    assert rows_done(pg, "m") == done < ROWS
    pg.sql("UPDATE drover.meta SET schema_version = %s", (ours,))
    drover.run("config", "processing_interval_ms=0")
    finish(drover, path)
    assert worker.err.count("schema.unusable") == 1
    assert_every_row_once(pg)


def test_jobs_of_a_later_version_are_left_to_others(pg, redis, drover):
    path = begin(pg, drover, "lock_timeout_ms=100")
    later = {bytes([0x93, 2, 0xA1, ord("B"), number]) for number in (1, 2, 3)}
    client = redis.client(decode_responses=False)
    for payload in later:
        client.xadd(stream(pg, "m"), {"j": payload})
    application = pg.conn(autocommit=False)
    application.execute(f"SELECT FROM t WHERE id = {ROWS} FOR UPDATE")  # so that the run does not end
    worker = drover.worker()
    worker.wait_for_log("job.newer migration=m cause='a job of version 2, this program knows 1'")
    wait_for(lambda: rows_done(pg, "m") == ROWS - 10, "all others are done")

    def there():
        entries = client.xrange(stream(pg, "m"))
        return {payload for _, fields in entries for payload in fields.values()} | set(client.zrange(delayed(pg, "m"), 0, -1))

    wait_for(lambda: later <= there(), lambda: f"they are still there, not {there()}")
    assert worker.err.count("job.newer") == 1 and "job.foreign" not in worker.err
    application.rollback()
    finish(drover, path)
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY n") == [(1, ROWS)]


def test_a_worker_that_cannot_read_a_plan_leaves_that_migration_and_its_lanes_to_others(pg, drover):
    pg.sql("CREATE TABLE u (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO u SELECT g FROM generate_series(1, 100) g")
    begin(pg, drover)
    other = drover.migration("other", FILE.replace("table t", "table u"))
    queue(drover, other)
    pg.sql("UPDATE drover.migrations SET plan = jsonb_set(plan, '{version}', '2') WHERE name = 'm'")
    worker = drover.worker()
    worker.wait_for_log("migration.unreadable migration=m.*is this worker older")
    wait_for(lambda: rows_done(pg, "other") == 100, "it works for the other one")
    wait_for(lambda: pg.value("SELECT migrations FROM drover.workers") == ["other"], "others do not count on it")
    assert rows_done(pg, "m") == 0 and worker.err.count("migration.unreadable") == 1
    pg.sql("UPDATE drover.migrations SET plan = jsonb_set(plan, '{version}', '1') WHERE name = 'm'")
    worker.signal(signal.SIGHUP)
    wait_for(lambda: rows_done(pg, "m") == ROWS, "it can, and it does")
    wait_for(lambda: pg.value("SELECT migrations FROM drover.workers") is None, "others know")
