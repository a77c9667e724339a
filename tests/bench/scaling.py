"""Workers 1, 2, 4, 8, 2 in one run, each with one lane and 20 ms of sleep in each batch: rows/s against their number, and what TERM costs."""

from lib.drover import Drover
from lib.redis_server import Redis

from kit import chart, database
from kit.fleet import SERVER, Fleet, longest_pause, rows_per_s
from kit.report import number

STEPS = (1, 2, 4, 8, 2)
JOB_S = 0.02
NEAR = 0.15  # to proportional


def options(add):
    add("--scaling-seconds", type=float, default=10, metavar="S", help="that each number of workers is looked at")
    add("--scaling-batch", type=int, default=10, metavar="N", help="rows of a batch")


def run(report, args):
    rows = round((args.scaling_seconds + 3) * sum(STEPS) / JOB_S) * args.scaling_batch  # one second and a half of start at each step, or less
    windows = []
    with database(SERVER) as db, Redis() as redis:
        console = Drover(db.url, redis.url)
        try:
            fleet = Fleet(db, console, rows, args.scaling_batch, JOB_S)
            for workers in STEPS:
                if workers < len(fleet.workers):
                    ended_s = fleet.end(fleet.workers[workers:])
                else:
                    fleet.wait_until_at_work(fleet.add(workers - len(fleet.workers)))
                windows.append(fleet.look(args.scaling_seconds))
            fleet.add(max(STEPS) - len(fleet.workers))
            bad = fleet.finish()
            commits = fleet.commits()
        finally:
            console.close()
    rates = [rows_per_s(commits, window) for window in windows]
    table = []
    for workers, rate in zip(STEPS, rates):
        share = rate / (workers * rates[0])
        report.missed += (late := abs(share - 1) > NEAR)
        report.met += not late
        table.append((workers, number(rate), f"{share:.3f}", f"{1 - NEAR:.2f} to {1 + NEAR:.2f}: {'NO' if late else 'yes'}"))
    report.say(f"{rows:,} rows in batches of {args.scaling_batch}, throttle off; each row was changed once\n")
    report.table(("workers", "rows/s", "of proportional to one", "bar"), table)
    report.say("")
    report.line(f"longest pause between commits while {max(STEPS) - STEPS[-1]} workers end", longest_pause(commits, (windows[-2][1], windows[-1][0])), "s")
    report.line("until the last of them has ended", ended_s, "s")
    for what, n in bad.items():
        report.line(what, n, "", 0)
    report.plot("scaling", chart.lines("Rows per second by workers", "workers", "rows/s", {
        "as measured": list(zip(STEPS, rates)), "proportional": [(workers, workers * rates[0]) for workers in STEPS]}))
