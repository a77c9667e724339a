"""All of four workers replaced in the middle of a run: the longest pause between two commits, attempts used up, jobs that waited for a lease."""

import time

from lib.drover import Drover
from lib.redis_server import Redis

from kit import chart, database
from kit.fleet import SERVER, Fleet, longest_pause
from kit.report import number

WORKERS, LANES, BATCH = 4, 2, 10
PAUSE_S = 2.0
ONE_LANE_S = 6.0  # where the fleet may work on one lane and the worker that has it is killed: until the others know


def one_by_one(fleet):
    """Each is told to end, and when it has, its successor is started: as an orchestrator does that keeps their number."""
    for worker in list(fleet.workers):
        fleet.end([worker])
        fleet.wait_until_at_work(fleet.add())


def successor_first(fleet):
    for worker in list(fleet.workers):
        fleet.wait_until_at_work(fleet.add())
        fleet.end([worker])


def in_place(fleet):
    """Nobody waits for anybody: where one lane is all the fleet may use, most of them never work."""
    for worker in list(fleet.workers):
        fleet.end([worker])
        fleet.add()[0].wait_for_log(r"migration\.loaded")
        time.sleep(0.5)


def restart_command(fleet):
    """`drover restart`: all at once, each started anew by its supervisor when it has ended."""
    old = list(fleet.workers)
    fleet.console.run("restart")
    while old:
        for worker in [worker for worker in old if not worker.running]:
            worker.wait()
            old.remove(worker)
            fleet.workers.remove(worker)
            fleet.add()
        time.sleep(0.01)
    fleet.wait_until_at_work(fleet.workers)


def killed(fleet):
    """The first by name, which has the lane where there is but one."""
    first = min(fleet.workers, key=lambda worker: worker.wait_for_log(r"worker\.start name=(\S+)")[1])
    first.kill()
    fleet.workers.remove(first)
    fleet.add()[0].wait_for_log(r"migration\.loaded")
    time.sleep(13)  # its lease is over, what it held is done


ONE_LANE = ("max_lanes=1",)
CASES = [
    # what, how, seconds of a batch, settings, rows, bar, may jobs wait for a lease?
    ("one by one", one_by_one, 0.02, (), 45000, PAUSE_S, False),
    ("one by one, the successor first", successor_first, 0.02, (), 45000, PAUSE_S, False),
    ("`drover restart`", restart_command, 0.02, (), 45000, PAUSE_S, False),
    ("one by one, batches of 1 s", one_by_one, 1.0, (), 1300, PAUSE_S, False),
    ("one by one, one lane of the fleet", in_place, 0.02, ONE_LANE, 6000, PAUSE_S, False),
    ("one killed", killed, 0.02, (), 80000, PAUSE_S, True),
    ("one killed, the one lane of the fleet", killed, 0.02, ONE_LANE, 9000, ONE_LANE_S, True),
]


def options(add):
    add("--restart-runs", type=int, default=3, metavar="N", help="runs of each way")
    add("--restart-only", default="", metavar="TEXT", help="ways that have this in their name")


def once(case):
    """(longest pause in seconds, {what should not have happened: how often})."""
    _, replace, job_s, settings, rows, _, _ = case
    with database(SERVER) as db, Redis() as redis:
        console = Drover(db.url, redis.url)
        try:
            fleet = Fleet(db, console, rows, BATCH, job_s, LANES, settings)
            new = fleet.add(WORKERS)
            if settings:
                for worker in new:
                    worker.wait_for_log(r"migration\.loaded")
            else:
                fleet.wait_until_at_work(new)
            begun, _ = fleet.look(1)
            replace(fleet)
            _, ended = fleet.look(1)
            if settings:
                console.run("config", *(setting.partition("=")[0] + "=" for setting in settings))
            bad = fleet.finish()
            return longest_pause(fleet.commits(), (begun, ended)), bad
        finally:
            console.close()


def run(report, args):
    rows, plot = [], []
    for case in CASES:
        what, _, _, _, _, bar, may_wait = case
        if args.restart_only not in what:
            continue
        runs = [once(case) for _ in range(args.restart_runs)]
        pauses = sorted(pause for pause, _ in runs)
        used, waited = (sum(bad[name] for _, bad in runs) for name in runs[0][1])
        wrong = used + (0 if may_wait else waited)
        report.missed += bool(wrong)
        report.met += not wrong
        rows.append((what, number(pauses[len(pauses) // 2]), number(pauses[-1]), report.verdict(pauses[-1], "s", bar), used, waited,
                     "NO" if wrong else "yes"))
        plot.append((what, pauses[0], pauses[len(pauses) // 2], pauses[-1], bar))
    report.say(f"{WORKERS} workers with {LANES} lanes each, {BATCH} rows in a batch of 20 ms, throttle off; {args.restart_runs} runs of each; "
               "each row was changed once\n")
    report.table(("replaced", "longest pause, s: median", "most", "bar", "attempts used up", "jobs that waited for a lease", "as it should be"), rows)
    report.plot("restart", chart.bars("Longest pause between two commits", "seconds; red: the bar", plot))
