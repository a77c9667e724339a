"""Few rows are pending, one in a hundred unless told otherwise: the migration against one bare index scan over all keys, and against the one-shot UPDATE."""

from kit import Meter, Tables, chart, sides
from kit.report import median, quartiles, spread
from kit.workloads import PENDING, SET_FILE, Workload

SCAN = f"""SET enable_seqscan = off; SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0; SET jit = off;
SELECT count(id) FROM (SELECT id FROM user_preferences WHERE {PENDING} ORDER BY id OFFSET 0) AS pending"""


def workload(one_in, index=False):
    more = f"CREATE INDEX ON user_preferences (id) WHERE {PENDING};" if index else ""
    return Workload(f"JSON backfill, one row in {one_in} pending", SET_FILE, {"done": f"hashint8(g) % {one_in} <> 0", "more": more})


def options(add):
    add("--sparse-rows", type=int, default=5_000_000, metavar="N", help="rows of the table")
    add("--one-in", type=int, default=100, metavar="N", help="rows that are pending")
    add("--index", action="store_true", help="with an index of the rows that are pending")


def index_scan(db, _work, _args):
    """The keys in their order, each row looked at once; a Meter."""
    meter = Meter(db)
    process = sides.psql(db, "-c", SCAN)
    meter.run("psql", process)
    assert process.wait() == 0
    return meter


def run(report, args):
    work = workload(args.one_in, args.index)
    with Tables(args.keep) as tables:
        source = f"sparse_{args.sparse_rows}" + (f"_{args.one_in}" if args.one_in != 100 else "") + ("_index" if args.index else "")
        tables.make(source, work.sql(args.sparse_rows))
        if not args.repeats:
            return
        rows = sides.pending_rows(tables, source, work)
        found = sides.rounds(tables, source, work, args, {"index scan": index_scan, "one-shot": sides.one_shot, "Drover": sides.drover})
    bar = None if args.index else 1.3  # that index scan reads the pending rows alone
    ratios = {name: [ours.seconds / other.seconds for ours, other in zip(found["Drover"], found[name])] for name in ("index scan", "one-shot")}
    report.say(f"{args.sparse_rows:,} rows, {rows:,} to change, {args.repeats} rounds\n")
    report.table(("", *found), [("seconds", *(spread([m.seconds for m in meters]) for meters in found.values())),
                                ("CPU of PostgreSQL, s", *(spread([m.cpu["PostgreSQL"] for m in meters]) for meters in found.values()))])
    report.say(f"\nDrover's time, of the index scan's: {spread(ratios['index scan'], ' x')}  "
               f"{report.verdict(median(ratios['index scan']), 'x', bar)}\nDrover's time, of the one-shot's: {spread(ratios['one-shot'], ' x')}")
    report.plot("sparse", chart.bars(f"one of {args.one_in} of {args.sparse_rows:,} rows pending", "seconds", [
        (name, *quartiles([m.seconds for m in meters]), bar * median([m.seconds for m in found["index scan"]]) if bar and name == "Drover" else None)
        for name, meters in found.items()]))
