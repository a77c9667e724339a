"""Ten times the rows: the JSON backfill's rows/s must stay what they are."""

from kit import Tables, chart, sides
from kit.report import quartiles, spread
from kit.workloads import WORKLOADS

MODES = ["json-batch", "json-row"]


def options(add):
    add("--growth", type=int, default=10, metavar="N", help="so many times --rows")
    add("--growth-repeats", type=int, default=3, metavar="N", help="runs of each size")
    add("--growth-modes", default=",".join(MODES), metavar="A,B", help="workloads of speed")


def run(report, args):
    plot = []
    with Tables(args.keep) as tables:
        sizes = [args.rows, args.rows * args.growth]
        for name in args.growth_modes.split(","):
            work = WORKLOADS[name]
            for rows in sizes:
                tables.make(*work.source(rows))
            per_s = {rows: [] for rows in sizes}
            for number in range(args.growth_repeats if args.repeats else 0):
                for rows in sizes[::-1 if number % 2 else 1]:
                    source, _ = work.source(rows)
                    changed = sides.pending_rows(tables, source, work)
                    with tables.copy(source) as db:
                        per_s[rows].append(changed / sides.drover(db, work, args).seconds)
            if per_s[args.rows]:
                ratios = [large / small for small, large in zip(*per_s.values())]
                report.say(f"{name}: {work.title}")
                report.table(("rows", "rows/s"), [(f"{rows:,}", spread(figures)) for rows, figures in per_s.items()])
                report.say(f"rows/s of the large table: {spread(ratios, ' x')}  "
                           f"{report.verdict(quartiles(ratios)[1], 'x', 0.95, under=False)}\n")
                plot.append((name, *quartiles(ratios), 0.95))
    if plot:
        report.plot("growth", chart.bars(f"{args.growth} times the rows", "rows/s of the large table, times those of the small one", plot))
