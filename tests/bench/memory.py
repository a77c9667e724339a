"""Peak memory of producer, worker and Redis from small tables to large ones, in batch mode and in row mode: flat lines."""

from kit import Tables, chart, sides
from kit.report import number
from kit.workloads import WORKLOADS

MODES = {"batch": WORKLOADS["json-batch"], "row": WORKLOADS["json-row"]}
BAR_MIB = 32


def options(add):
    add("--memory-rows", default="1000000,5000000", metavar="N,N", help="rows of the tables")


def run(report, args):
    rows, lines = [], {}
    with Tables(args.keep) as tables:
        for size in map(int, args.memory_rows.split(",")):
            for mode, work in MODES.items():
                source, sql = work.source(size)
                tables.make(source, sql)
                if not args.repeats:
                    continue
                with tables.copy(source) as db:
                    meter = sides.drover(db, work, args)
                    windows = db.value("SELECT count(*) FROM drover.batches")
                for who in sides.DROVER:
                    lines.setdefault(f"{who}, {mode} mode", []).append((size, meter.peak[who]))
                    rows.append((f"{size:,}", mode, who, number(meter.peak[who]), report.verdict(meter.peak[who], "MiB", BAR_MIB),
                                 number(meter.seconds), f"{windows:,}"))
    if rows:
        report.table(("rows", "jobs", "process", "peak, MiB", "bar", "seconds", "rows in the ledger"), rows)
        report.say("Redis: over its empty size")
        report.plot("memory", chart.lines("Peak memory", "rows of the table", "MiB; red: the bar", lines, BAR_MIB))
