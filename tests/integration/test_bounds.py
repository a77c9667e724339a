"""Ceilings: memory, huge rows and keys, tables of no row and of one."""

import re
from pathlib import Path

import pytest

from lib.drover import Drover, binaries
from lib.scenario import BY_STEPS, dead, finish, queue, stream

MIB = 1024  # KiB


def uninstrumented():
    """The release build: with sanitizers, memory says nothing."""
    for path in (binaries(), Path(__file__).resolve().parents[2] / "build/release/bin"):
        program = path / "drover-worker"
        if program.exists() and b"__asan_init" not in program.read_bytes():
            return path
    return None


def peak_kib(process):
    return int(re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)[1])


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_worker_of_four_lanes_and_a_producer_stay_under_32_mib(pg, redis, mode):
    bindir = uninstrumented()
    if bindir is None:
        pytest.skip("no build without sanitizers: ./dev build makes one")
    drover = Drover(pg.url, redis.url, bindir=bindir)
    try:
        rows = 60000
        pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, "
               f"{rows}) g")
        path = drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: set b = a || '!'\n")
        drover.run("init")
        worker = drover.worker("--concurrency", "4")
        producer = drover.popen("produce", path, "--wait")
        peaks = [0, 0]
        while producer.running:
            try:
                peaks = [max(old, peak_kib(p)) for old, p in zip(peaks, (worker, producer))]
            except (TypeError, FileNotFoundError):
                pass  # it ended between the two lines
            if pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0 and peaks[1]:
                break
        producer.wait()
        assert 0 < peaks[0] < 32 * MIB and 0 < peaks[1] < 32 * MIB, peaks
        assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0
    finally:
        drover.close()


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("way", ["set", "backfill"])
def test_tables_of_no_row_and_of_one(pg, drover, mode, way):
    pg.sql("CREATE TABLE none (id int PRIMARY KEY, a int, b int); CREATE TABLE one (LIKE none INCLUDING ALL); INSERT INTO one VALUES (-7, "
           "1)")
    change = {"set": "-- drover: set b = a\n",
              "backfill": "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE {} t SET b = a FROM :batch x WHERE x.id = t.id" + BY_STEPS}[way]
    finish(drover, *[drover.migration(name, f"-- drover: table {name}\n-- drover: mode {mode}\n{change.format(name)}") for name in ("none", "one")])
    assert pg.sql("SELECT * FROM one") == [(-7, 1, 1)]
    for name in ("none", "one"):
        drover.run("verify", name)
        assert pg.value("SELECT state FROM drover.migrations WHERE name = %s", (name,)) == "complete"


def test_a_table_with_nothing_to_do_is_complete_without_a_worker(pg, drover):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g, g FROM generate_series(1, 500) g")
    drover.run("produce", drover.migration("m", "-- drover: table t\n-- drover: set b = a\n"), "--wait")
    assert pg.value("SELECT count(*) FROM drover.batches") == 0


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_row_of_100_mb(pg, drover, mode):
    """Among small ones; it is changed like them, and where it is poison its dead letter stays small."""
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, a text, b int, c int CHECK (c < 1000000)); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 50) g;
              UPDATE t SET a = repeat('x', 100000000) WHERE id = 25""")
    finish(drover, drover.migration("good", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: set b = length(a)\n"))
    assert pg.sql("SELECT b, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(1, 49), (100000000, 1)]
    finish(drover, drover.migration("poison", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: pending c IS NULL\n-- drover: set c "
                                              f"= length(a)\n"), rc=4)
    assert dead(pg, "poison") == [["25"]]
    assert pg.value("SELECT length(f::text) FROM drover.failed_jobs f") < 100000


@pytest.mark.parametrize("length", [8000, 100000])
@pytest.mark.parametrize("way", ["set", "backfill", "ledger"])
def test_long_keys(pg, drover, way, length):
    """8 kB, and more than an entry in Redis may have."""
    pg.sql(f"""CREATE TABLE t (k text PRIMARY KEY, a int, b int, c int CHECK (c <> 30));
               INSERT INTO t SELECT repeat('k', {length}) || g, g FROM generate_series(1, 30) g""")
    paths = []
    for mode, column in (("batch", "b"), ("row", "c")):
        change = {"set": f"-- drover: set {column} = a\n",
                  "ledger": f"-- drover: ledger\n-- drover: set {column} = coalesce({column}, 0) + a\n",
                  "backfill": f"-- drover: pending {column} IS NULL\n-- drover: backfill\nUPDATE t SET {column} = a FROM :batch x WHERE "
                              f"x.k = t.k{BY_STEPS}"}[way]
        paths.append(drover.migration(mode, f"-- drover: table t\n-- drover: mode {mode}\n-- drover: batch-size 7\n-- drover: lock-timeout "
                                            f"10s\n{change}"))
    finish(drover, paths[0])
    finish(drover, paths[1], rc=4)
    assert pg.sql("SELECT count(*) FILTER (WHERE b = a), count(*) FILTER (WHERE c = a) FROM t") == [(30, 29)]
    assert pg.sql("SELECT length(key[1]), state FROM drover.failed_jobs") == [(length + 2, "dead")]
    drover.run("verify", "batch")


def test_the_backlog_has_a_ceiling(pg, drover, redis):
    """The producer waits at the high water and goes on as workers take jobs; entries in Redis never go beyond it by more than a window."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 2000) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: mode row\n-- drover: batch-size 50\n-- drover: set b = a\n")
    drover.run("init")
    producer = drover.popen("produce", path, "--wait", "--max-backlog", "200")
    worker = None
    most = 0
    while producer.running:
        most = max(most, redis.client().xlen(stream(pg, "m")) if pg.value("SELECT count(*) FROM drover.migrations") else 0)
        if most >= 200 and worker is None:
            worker = drover.worker()
    producer.wait()
    assert 200 <= most <= 300, most
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 2000


def test_row_images_of_many_poison_rows_do_not_pile_up(pg, drover):
    """200 dead letters in one run, breaker off: each its own, and the run ends."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int CHECK (b % 2 = 0)); INSERT INTO t SELECT g, g FROM generate_series(1, 400) g")
    drover.run("init")
    drover.run("config", "breaker=off")
    path = drover.migration("m", "-- drover: table t\n-- drover: batch-size 100\n-- drover: set b = a\n")
    queue(drover, path)
    finish(drover, path, worker=["--concurrency", "4"], rc=4)
    assert len(dead(pg, "m")) == 200
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 200
