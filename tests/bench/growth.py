"""Ten times the rows: the JSON backfill's rows/s must stay what they are; and what becomes of the one-shot UPDATE's, and of bare ranges'."""

from kit import Tables, chart, sides
from kit.report import median, quartiles, spread
from kit.workloads import WORKLOADS

MODES = ["json-batch", "json-row"]
SIDES = {"one-shot": sides.one_shot, "bare ranges": sides.ranges, "Drover": sides.drover}


def options(add):
    add("--growth", type=int, default=10, metavar="N", help="so many times --rows")
    add("--growth-repeats", type=int, default=3, metavar="N", help="rounds, each with both sizes and all sides")
    add("--growth-modes", default=",".join(MODES), metavar="A,B", help="workloads of speed")


def rows_per_s(tables, work, sizes, args):
    """{(side, rows of the table): [rows/s]}."""
    found = {(side, size): [] for size in sizes for side in SIDES}
    changed = {size: sides.pending_rows(tables, work.source(size)[0], work) for size in sizes}
    for number in range(args.growth_repeats):
        for side, size in list(found)[::-1 if number % 2 else 1]:
            with tables.copy(work.source(size)[0]) as db:
                found[side, size].append(changed[size] / SIDES[side](db, work, args).seconds)
    return found


def run(report, args):
    plot, sizes = [], [args.rows, args.rows * args.growth]
    with Tables(args.keep) as tables:
        for name in args.growth_modes.split(","):
            work = WORKLOADS[name]
            for size in sizes:
                tables.make(*work.source(size))
            if not args.repeats:
                continue
            found = rows_per_s(tables, work, sizes, args)
            ratios = {side: [large / small for small, large in zip(*(found[side, size] for size in sizes))] for side in SIDES}
            report.say(f"{name}: {work.title}\n")
            report.table(("rows/s of", *(f"{size:,} rows" for size in sizes), "ratio", "bar"), [
                (side, *(spread(found[side, size]) for size in sizes), spread(ratios[side], " x"),
                 report.verdict(median(ratios[side]), "x", 0.95 if side == "Drover" else None, under=False)) for side in SIDES])
            report.say("")
            plot += [(f"{side}, {name}", *quartiles(ratios[side]), 0.95 if side == "Drover" else None) for side in SIDES]
    if plot:
        report.plot("growth", chart.bars(f"{args.growth} times the rows", "rows/s of the large table, times those of the small one", plot))
