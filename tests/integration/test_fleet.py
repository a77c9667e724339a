"""What a fleet shares: limits of all its workers together, and consumers in Redis of workers that are no more."""

import struct

from lib.drover import Drover
from lib.process import wait_for
from lib.redis_server import Redis
from lib.scenario import Gate, finish, queue, stream

TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, done timestamptz); INSERT INTO t SELECT g FROM generate_series(1, {rows}) g"
BEATS = "SELECT name, heartbeat_at FROM drover.workers ORDER BY name"


def fleet(pg, drover, *settings, rows, workers=3):
    """Workers that know each other and the limits, and a table."""
    pg.sql(TABLE.format(rows=rows))
    drover.run("init")
    drover.run("config", "throttle=off", "batch_size=10", *settings)
    made = [drover.worker("--concurrency", "4") for _ in range(workers)]
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.workers WHERE state = 'running'") == workers, "all are known")
    return made


def test_no_more_lanes_than_the_fleet_may_use_are_at_work_at_once(pg, drover):
    gate = Gate(pg)
    fleet(pg, drover, "max_lanes=4", rows=400)
    path = drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: set n = gate(n) + 1\n-- drover: lock-timeout 60s\n")
    queue(drover, path)
    gate.wait(4)
    before = dict(pg.sql(BEATS))
    wait_for(lambda: all(at > before[name] for name, at in pg.sql(BEATS)), "all have looked again")
    assert len(gate.waiting()) == 4
    gate.open()
    finish(drover, path)
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY n") == [(1, 400)]


def test_all_workers_together_keep_to_the_rows_per_second(pg, drover):
    fleet(pg, drover, "max_rows_per_s=200", rows=1000)
    finish(drover, drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: set n = n + 1\n-- drover: set done = clock_timestamp()\n"))
    at_once = 4 * 4 * 10  # each lane's first batch, those of the worker that finish() starts among them
    took_s = pg.value("SELECT extract(epoch FROM max(done) - min(done))::float8 FROM t")
    assert took_s > (1000 - at_once) / 200 / 2  # workers that come and go meanwhile share anew


def seen_time(consumer):
    """Each version of the client's library makes something else of it."""
    pairs = consumer if isinstance(consumer, dict) else dict(zip(consumer[::2], consumer[1::2]))
    return pairs["seen-time"] if "seen-time" in pairs else pairs[b"seen-time"]


def age(client, jobs, ms):
    """All consumers of the stream were last heard of so long ago: what XINFO tells of is in the middle of a dump."""
    dump = client.dump(jobs)
    consumers = client.xinfo_stream(jobs, full=True)["groups"][0]["consumers"]
    for seen in {seen_time(consumer) for consumer in consumers}:
        assert struct.pack("<q", seen) in dump
        dump = dump.replace(struct.pack("<q", seen), struct.pack("<q", seen - ms))
    client.restore(jobs, 0, dump, replace=True)


def test_consumers_that_are_gone_for_good_are_forgotten_in_redis(pg):
    with Redis(["--enable-debug-command", "local"]) as redis:
        drover = Drover(pg.url, redis.url)
        try:
            pg.sql(TABLE.format(rows=100))
            path = drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: batch-size 10\n-- drover: set n = n + 1\n")
            queue(drover, path)
            jobs, installation = stream(pg, "m"), pg.value("SELECT installation FROM drover.meta")
            client = redis.client(decode_responses=False)
            client.execute_command("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1")
            if not client.exists(jobs) or not client.xinfo_groups(jobs):
                client.xgroup_create(jobs, "workers", "0", mkstream=True)
            for name in ("gone", "silent"):
                client.xgroup_createconsumer(jobs, "workers", name)
            client.set(f"drover:{installation}:worker:silent", "1")
            client.xreadgroup("workers", "holds", {jobs: ">"}, count=1)
            age(client, jobs, 600_000)
            worker = drover.worker("--migration", "m")
            worker.wait_for_log("consumer.forgotten consumer=gone")
            names = {consumer["name"] for consumer in client.xinfo_consumers(jobs, "workers")}
            assert names >= {b"silent", b"holds"} and b"gone" not in names
        finally:
            drover.close()
