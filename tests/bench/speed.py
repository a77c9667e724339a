"""Whole migrations against the one-shot UPDATE of the same rows, side by side: rows/s, CPU per row, WAL, memory."""

from kit import Tables, chart, sides
from kit.report import median, quartiles, spread
from kit.sides import DROVER
from kit.workloads import WORKLOADS

SHORT = ["json-batch", "json-backfill", "json-row"]


def options(add):
    sides.options(add)
    add("--only", default=",".join(SHORT), metavar="A,B", help=f"of {', '.join(WORKLOADS)}; or all; {', '.join(SHORT)} unless told")
    add("--no-ranges", action="store_true", help="leaves out the bare UPDATEs of key ranges")


def chosen(args):
    names = list(WORKLOADS) if args.only == "all" else args.only.split(",")
    for name in names:
        if name not in WORKLOADS:
            raise SystemExit(f"there is no workload '{name}': {', '.join(WORKLOADS)}")
    return names


def ratios(meters, others, figure):
    """A figure of each against the same of its partner in the round."""
    return [figure(a) / figure(b) for a, b in zip(meters, others)]


def postgres_s(meter):
    return meter.cpu["PostgreSQL"]


def compare(report, work, rows, found):
    """The table of one workload; the ratios of rows/s."""
    reference, ours = found["one-shot"], found["Drover"]
    faster = ratios(reference, ours, lambda meter: meter.seconds)
    dearer = ratios(ours, reference, postgres_s)
    extra = [1e6 * sum(meter.cpu[name] for name in DROVER) / rows for meter in ours]
    share = [100 * sum(meter.cpu[name] for name in DROVER) / postgres_s(meter) for meter in ours]

    def line(what, figure, ratio="", verdict=""):
        return what, *(spread(list(map(figure, meters))) for meters in found.values()), ratio, verdict

    def own(what, figures, verdict=""):
        return what, *[""] * (len(found) - 1), spread(figures), "", verdict

    table = [
        line("rows/s", lambda m: rows / m.seconds, spread(faster, " x"), report.verdict(median(faster), "x", work.faster, under=False)),
        line("seconds", lambda m: m.seconds),
        line("CPU of PostgreSQL, µs/row", lambda m: 1e6 * postgres_s(m) / rows, spread(dearer, " x"),
             report.verdict(median(dearer), "x", work.cpu)),
        *(own(f"CPU of {name}, µs/row", [1e6 * m.cpu[name] / rows for m in ours]) for name in DROVER),
        own("CPU of Drover and Redis, µs/row", extra, report.verdict(median(extra), "µs", work.us_per_row)),
        own("  in % of PostgreSQL's", share, report.verdict(median(share), "%", work.share)),
        line("WAL, B/row", lambda m: m.wal / rows, spread(ratios(ours, reference, lambda m: m.wal), " x")),
        *(own(f"peak memory of {name}, MiB", [m.peak[name] for m in ours], report.verdict(max(m.peak[name] for m in ours), "MiB", 32))
          for name in DROVER),
    ]
    report.table(("", *found, "ratio", "bar"), table)
    if "bare ranges" in found:
        bare = found["bare ranges"]
        report.say(f"\nbare ranges against the one-shot: rows/s {spread(ratios(reference, bare, lambda m: m.seconds), ' x')}, "
                   f"CPU of PostgreSQL {spread(ratios(bare, reference, postgres_s), ' x')}")
    return faster


def run(report, args):
    report.say(f"{args.rows:,} rows, {args.repeats} rounds; medians, and the quartiles in brackets; ratios pair by pair; "
               f"one worker with {args.lanes} lanes")
    plot = []
    with Tables(args.keep) as tables:
        for name in chosen(args):
            work = WORKLOADS[name]
            source, sql = work.source(args.rows)
            tables.make(source, sql)
            if args.repeats:
                rows = sides.pending_rows(tables, source, work)
                report.say(f"\n{name}: {work.title}; {rows:,} rows to change\n")
                who = {"one-shot": sides.one_shot, "bare ranges": sides.ranges, "Drover": sides.drover}
                if args.no_ranges or not work.ranges:
                    del who["bare ranges"]
                faster = compare(report, work, rows, sides.rounds(tables, source, work, args, who))
                plot.append((name, *quartiles(faster), work.faster))
    if plot:
        report.plot("speed", chart.bars("Drover against the one-shot UPDATE: rows/s", "times the one-shot's rows/s; red: the bar", plot))
