"""One piece of work done to its end on a fresh table by Drover, by the one-shot UPDATE, or by bare UPDATEs of key ranges; each gives a Meter."""

import contextlib
import subprocess

from lib.drover import Drover
from lib.process import spawn
from lib.redis_server import Redis

from kit.costs import Meter

DROVER = ("worker", "producer", "Redis")


def options(add):
    add("--rows", type=int, default=1_000_000, help="rows of the table")
    add("--repeats", type=int, default=7, help="rounds, each with every side; 0: only makes the tables (with --keep)")
    add("--keep", metavar="DIR", help="where the tables stay for the next time")
    add("--lanes", type=int, default=2, help="of a worker")
    add("--worker-args", default="", metavar="ARGS", help="more of the worker's command line")
    add("--produce-args", default="", metavar="ARGS", help="more of drover produce's")


def assert_done(db, work):
    left = db.value(f"SELECT count(*) FROM user_preferences WHERE {work.pending}")
    assert left == 0, f"{left} rows are left by plain SQL"


def psql(db, *args, **kwargs):
    """psql with these arguments, started; it stops at the first error."""
    return spawn([db.server.bindir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", db.url, *args], stdout=subprocess.DEVNULL, **kwargs)


def one_shot(db, work, args):
    """By psql, on one connection."""
    meter = Meter(db)
    process = psql(db, "-c", work.one_shot)
    meter.run("psql", process)
    assert process.wait() == 0
    assert_done(db, work)
    return meter


def ranges(db, work, args, size=5000):
    """Prepared UPDATEs of so many ids each and nothing else, on as many connections as Drover has lanes: what PostgreSQL can do."""
    first, last = db.sql("SELECT min(id), max(id) FROM user_preferences")[0]
    paths = [db.server.dir / f"ranges-{number}.sql" for number in range(args.lanes)]
    for number, path in enumerate(paths):
        starts = range(first + number * size, last + 1, size * args.lanes)
        path.write_text("SET plan_cache_mode = force_generic_plan;\n"
                        f"PREPARE batch(bigint, bigint) AS {work.one_shot} AND id BETWEEN $1 AND $2;\n"
                        + "".join(f"EXECUTE batch({start}, {start + size - 1});\n" for start in starts))
    meter = Meter(db)
    processes = [psql(db, "-f", path) for path in paths]
    assert [process.wait() for process in processes] == [0] * len(paths)
    meter.stop()
    assert_done(db, work)
    return meter


@contextlib.contextmanager
def programs(db, *workers):
    """(Drover, its Redis, a worker for each list of arguments), the schema installed, the workers ready; stopped in order at the end."""
    with Redis() as redis:
        drover = Drover(db.url, redis.url)
        try:
            drover.run("init")
            fleet = [drover.worker(*args) for args in workers]
            for worker in fleet:
                worker.wait_for_log(r"worker\.ready")
            yield drover, redis, fleet
        finally:
            drover.close()


def drover(db, work, args):
    """By one worker that waits for it, from the producer's start until that has seen the migration complete."""
    with programs(db, ["--concurrency", str(args.lanes), *args.worker_args.split()]) as (console, redis, (worker,)):
        path = console.migration("0001_preferences", work.file)
        meter = Meter(db, {"worker": worker}, redis)
        producer = console.popen("produce", path, "--wait", *args.produce_args.split())
        meter.run("producer", producer)
        producer.wait()
        assert db.value("SELECT state FROM drover.migrations") == "complete"
    assert_done(db, work)
    return meter


def rounds(tables, source, work, args, sides):
    """The sides in turn, each on a fresh copy, the order turned round after each round; {name: Meters}. sides: {name: function as above}."""
    found = {name: [] for name in sides}
    for number in range(args.repeats):
        for name in list(sides)[::-1 if number % 2 else 1]:
            with tables.copy(source) as db:
                found[name].append(sides[name](db, work, args))
    return found


def pending_rows(tables, source, work):
    return tables.server.sql(f"SELECT count(*) FROM user_preferences WHERE {work.pending}", dbname=source)[0][0]
