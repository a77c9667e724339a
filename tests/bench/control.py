"""Pause, resume, cancel and changed settings: how long from the command's start until the last of several busy workers has followed."""

import random
import threading
import time

from kit import ROW_FILE, SET_FILE, Tables, chart
from kit.report import median, number
from kit.servers import PEOPLE
from kit.sides import programs
from lib.process import wait_for

BAR_S = 1.0
STILL_S = 1.5  # without a change: they have stopped


def options(add):
    add("--control-rows", type=int, default=4_000_000, metavar="N", help="rows of a table")
    add("--control-repeats", type=int, default=5, metavar="N", help="of each command but cancel")
    add("--control-workers", type=int, default=3, metavar="N", help="workers, with 2 lanes each")


class Watcher:
    """Looks at the lanes' counts all the time: when each worker committed last, and first since reset()."""

    def __init__(self, db):
        self.db, self.stopping = db, False
        self.reset()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def reset(self):
        self.begun, self.first, self.last = time.monotonic(), {}, {}
        return self.begun

    def _run(self):
        counts = {}
        with self.db.conn() as conn:
            while not self.stopping:
                for lane, done in conn.execute("SELECT lane, rows_changed + jobs FROM drover.lane_counts"):
                    if counts.get(lane) != done:
                        counts[lane] = done
                        worker = lane.rpartition("/")[0]
                        self.last[worker] = time.monotonic()
                        self.first.setdefault(worker, self.last[worker])
                time.sleep(0.003)

    def stop(self):
        self.stopping = True
        self.thread.join()


def wait_a_moment():
    """So that commands come at any time between two looks of the workers, who look twice a second."""
    time.sleep(random.uniform(0, 0.5))


def stops(console, watcher, words):
    """Seconds until the last commit of any worker."""
    wait_a_moment()
    begun = watcher.reset()
    console.run(*words)
    wait_for(lambda: time.monotonic() - max(watcher.last.values(), default=begun) > STILL_S, f"all workers stop after {words}")
    return max(watcher.last.values(), default=begun) - begun


def goes_on(console, watcher, words, workers):
    """Seconds until the first commit of the last worker."""
    wait_a_moment()
    begun = watcher.reset()
    console.run(*words)
    def they_do():
        return len(watcher.first) == workers or watcher.db.value("SELECT state = 'complete' FROM drover.migrations")
    wait_for(they_do, lambda: f"{workers} workers go on after {words}, not {watcher.first}")
    if len(watcher.first) < workers:
        raise SystemExit("it was over too soon: more --control-rows")
    return max(watcher.first.values()) - begun


def one_mode(db, text, args):
    """Latencies {command: [seconds]} of a run in which all workers are busy."""
    commands = [(("pause", "m"), ("resume", "m")),
                (("config", "m", "processing_interval_ms=60000"), ("config", "m", "processing_interval_ms=")),
                (("config", "m", "is_enabled=off"), ("config", "m", "is_enabled=on"))]
    took = {}
    with programs(db, *[["--concurrency", "2"]] * args.control_workers) as (console, _, _):
        # All are to be busy: the looks of the bench are others' sessions, to which a fleet gives way.
        producer = console.popen("produce", console.migration("m", text), "--wait", "--full-speed")
        watcher = Watcher(db)
        try:
            wait_for(lambda: len(watcher.first) == args.control_workers, "all workers are at work")
            for _ in range(args.control_repeats):
                for stop, go in commands:
                    took.setdefault(" ".join(stop), []).append(stops(console, watcher, stop))
                    took.setdefault(" ".join(go), []).append(goes_on(console, watcher, go, args.control_workers))
            took["cancel m"] = [stops(console, watcher, ("cancel", "m", "--yes"))]
            producer.wait(rc=None)
        finally:
            watcher.stop()
    return took


def run(report, args):
    rows, plot = [], []
    with Tables(args.keep) as tables:
        source = f"people_{args.control_rows}"
        tables.make(source, PEOPLE.format(rows=args.control_rows))
        for mode, text in (("batch", SET_FILE), ("row", ROW_FILE)):
            with tables.copy(source) as db:
                for words, seconds in one_mode(db, text, args).items():
                    command = words.replace(" m", "", 1)
                    rows.append((mode, command, len(seconds), number(median(seconds)), number(max(seconds)),
                                 report.verdict(max(seconds), "s", BAR_S)))
                    plot.append((f"{command} ({mode})", min(seconds), median(seconds), max(seconds), BAR_S))
    report.say(f"{args.control_workers} workers with 2 lanes each, all busy\n")
    report.table(("jobs", "drover ...", "times", "median, s", "most, s", "bar"), rows)
    report.plot("control", chart.bars("Until the last worker has followed", "seconds from the command's start; red: the bar", plot))
