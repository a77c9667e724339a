"""Whole migrations against the one-shot UPDATE of the same rows, side by side: rows/s, CPU per row, WAL, memory."""

from lib.drover import Drover
from lib.process import spawn
from lib.redis_server import Redis

from kit import Meter, Tables
from kit.report import quartiles, spread
from kit.workloads import WORKLOADS

SHORT = ["json-batch", "json-backfill", "json-row"]
DROVER = ("worker", "producer", "Redis")


def options(add):
    add("--rows", type=int, default=1_000_000, help="rows of the table")
    add("--repeats", type=int, default=7, help="rounds, each with both sides; 0: only makes the tables (with --keep)")
    add("--only", default=",".join(SHORT), metavar="A,B", help=f"of {', '.join(WORKLOADS)}; or all; {', '.join(SHORT)} unless told")
    add("--keep", metavar="DIR", help="where the tables stay for the next time")
    add("--lanes", type=int, default=2, help="of the one worker")
    add("--worker-args", default="", metavar="ARGS", help="more of the worker's command line")
    add("--produce-args", default="", metavar="ARGS", help="more of drover produce's")


def chosen(args):
    names = list(WORKLOADS) if args.only == "all" else args.only.split(",")
    for name in names:
        if name not in WORKLOADS:
            raise SystemExit(f"there is no workload '{name}': {', '.join(WORKLOADS)}")
    return names


def done(db, work):
    left = db.value(f"SELECT count(*) FROM user_preferences WHERE {work.pending}")
    assert left == 0, f"{left} rows are left by plain SQL"


def one_shot(db, work):
    """The UPDATE by psql; a Meter."""
    meter = Meter(db)
    psql = spawn([db.server.bindir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", db.url, "-c", work.one_shot])
    meter.run("psql", psql)
    assert psql.wait() == 0
    done(db, work)
    return meter


def drover(db, work, args):
    """The migration by a worker that waits for it, from the producer's start until it has seen it complete; a Meter."""
    with Redis() as redis:
        programs = Drover(db.url, redis.url)
        try:
            programs.run("init")
            worker = programs.worker("--concurrency", str(args.lanes), *args.worker_args.split())
            worker.wait_for_log(r"worker\.ready")
            path = programs.migration("0001_preferences", work.file)
            meter = Meter(db, {"worker": worker}, redis)
            producer = programs.popen("produce", path, "--wait", *args.produce_args.split())
            meter.run("producer", producer)
            producer.wait()
            assert db.value("SELECT state FROM drover.migrations") == "complete"
            worker.terminate()
            worker.wait()
        finally:
            programs.close()
    done(db, work)
    return meter


def rounds(tables, name, work, args):
    """Both sides in turn, each on a fresh copy, the first one changing from round to round; (one-shots, Drover's), Meters."""
    sides = {"one-shot": lambda db: one_shot(db, work), "drover": lambda db: drover(db, work, args)}
    found = {side: [] for side in sides}
    for number in range(args.repeats):
        for side in list(sides)[::-1 if number % 2 else 1]:
            with tables.copy(name) as db:
                found[side].append(sides[side](db))
    return found["one-shot"], found["drover"]


def per_row(meters, process, rows):
    return [1e6 * meter.cpu[process] / rows for meter in meters]


def compare(report, work, rows, reference, ours):
    """The table of one workload; the ratios of rows/s."""
    faster = [a.seconds / b.seconds for a, b in zip(reference, ours)]
    dearer = [b.cpu["PostgreSQL"] / a.cpu["PostgreSQL"] for a, b in zip(reference, ours)]
    extra = [1e6 * sum(meter.cpu[name] for name in DROVER) / rows for meter in ours]
    share = [100 * sum(meter.cpu[name] for name in DROVER) / meter.cpu["PostgreSQL"] for meter in ours]
    wal = [b.wal / a.wal for a, b in zip(reference, ours)]

    def median(figures):
        return quartiles(figures)[1]

    table = [
        ("rows/s", spread([rows / m.seconds for m in reference]), spread([rows / m.seconds for m in ours]), spread(faster, " x"),
         report.verdict(median(faster), "x", work.faster, under=False)),
        ("seconds", spread([m.seconds for m in reference]), spread([m.seconds for m in ours]), "", ""),
        ("CPU of PostgreSQL, µs/row", spread(per_row(reference, "PostgreSQL", rows)), spread(per_row(ours, "PostgreSQL", rows)),
         spread(dearer, " x"), report.verdict(median(dearer), "x", work.cpu)),
        *((f"CPU of {name}, µs/row", "", spread(per_row(ours, name, rows)), "", "") for name in DROVER),
        ("CPU of Drover and Redis, µs/row", "", spread(extra), "", report.verdict(median(extra), "µs", work.us_per_row)),
        ("  in % of PostgreSQL's", "", spread(share), "", report.verdict(median(share), "%", work.share)),
        ("WAL, B/row", spread([m.wal / rows for m in reference]), spread([m.wal / rows for m in ours]), spread(wal, " x"), ""),
        *((f"peak memory of {name}, MiB", "", spread([m.peak[name] for m in ours]), "", report.verdict(max(m.peak[name] for m in ours), "MiB", 32))
          for name in DROVER),
    ]
    report.table(("", "one-shot", "Drover", "ratio", "bar"), table)
    return faster


def run(report, args):
    report.say(f"{args.rows:,} rows, {args.repeats} rounds; medians, and the quartiles in brackets; ratios pair by pair; "
               f"one worker with {args.lanes} lanes")
    with Tables(args.keep) as tables:
        for name in chosen(args):
            work = WORKLOADS[name]
            source, sql = work.source(args.rows)
            tables.make(source, sql)
            if args.repeats:
                with tables.copy(source) as db:
                    rows = db.value(f"SELECT count(*) FROM user_preferences WHERE {work.pending}")
                report.say(f"\n{name}: {work.title}; {rows:,} rows to change\n")
                compare(report, work, rows, *rounds(tables, source, work, args))
