"""Live traffic: the application's latencies undisturbed, under the one-shot UPDATE and under Drover as it is; Drover's speed meanwhile."""

import contextlib
import statistics
import subprocess
import time

from kit import Tables, chart, sides
from kit.report import median, quartiles, spread
from kit.workloads import WORKLOADS
from lib.process import spawn, wait_for

SCRIPT = """\\set id random(1, :maxid)
SELECT notification_settings FROM user_preferences WHERE id = :id;
\\set id2 random(1, :maxid)
UPDATE user_preferences SET updated_at = now() WHERE id = :id2;
"""
WORK = WORKLOADS["json-batch"]
PERCENTILES = (50, 95, 99)
WAL_FILES = 128  # of 16 MB, more than a round writes
SERVER = {"min_wal_size": f"{WAL_FILES * 16}MB"}


def options(add):
    add("--live-rows", type=int, default=500_000, metavar="N", help="rows of the table")
    add("--live-rate", type=int, default=1200, metavar="N", help="transactions a second of the application")
    add("--live-repeats", type=int, default=3, metavar="N", help="rounds, each with both sides")
    add("--live-quiet-s", type=int, default=10, metavar="S", help="undisturbed, before each")


def wal_as_after_a_while(server):
    """A server that has been at work has its WAL files, and uses them again and again. To make one holds up every commit for some tens of ms."""
    with server.conn() as conn:
        for _ in range(WAL_FILES):
            conn.execute("SELECT pg_logical_emit_message(false, 'drover', '')")
            conn.execute("SELECT pg_switch_wal()")
        conn.execute("CHECKPOINT")


class Traffic:
    """The application: pgbench, until stop(); then at() gives the latencies of what was due in a span of time."""

    def __init__(self, db, args):
        self.db = db
        script, self.log = db.server.dir / "live.sql", db.server.dir / "live"
        script.write_text(SCRIPT)
        self.process = spawn([db.server.bindir / "pgbench", "-n", "-c", 4, "-M", "prepared", "--rate", args.live_rate, "-T", 3600, "-f", script,
                              "-D", f"maxid={args.live_rows}", "-l", f"--log-prefix={self.log}", db.url],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PGAPPNAME": "application"})
        wait_for(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'application'") == 4, "pgbench is there")

    def stop(self):
        """Its connections are cut, upon which it writes the rest of its log and ends."""
        def ended():
            self.db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'application'")
            return self.process.poll() is not None
        wait_for(ended, "pgbench ends")
        path = self.log.with_name(f"{self.log.name}.{self.process.pid}")
        self.seen = []
        for line in path.read_text().splitlines():
            _, _, latency_us, _, second, us, _ = map(int, line.split())
            self.seen.append((second + us / 1e6 - latency_us / 1e6, latency_us / 1000))
        path.unlink()

    def at(self, begun, ended):
        """Latencies in ms, from when each was due, of what was due in this span (seconds since the epoch) and was done."""
        return [ms for due, ms in self.seen if begun <= due < ended]


def percentiles(latencies):
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return [cuts[p - 1] for p in PERCENTILES]


@contextlib.contextmanager
def one_shot(db, _args):
    def work():
        assert sides.psql(db, "-c", WORK.one_shot).wait() == 0
    yield work


@contextlib.contextmanager
def drover(db, args):
    with sides.programs(db, ["--concurrency", str(args.lanes), *args.worker_args.split()]) as (console, _, _):
        path = console.migration("0001_preferences", WORK.file)
        yield lambda: console.run("produce", path, "--wait", *args.produce_args.split(), timeout_s=3600)


class Measured:
    """What became of the application while `side` worked: ms by percentile before and meanwhile, transactions a second; and the seconds of work."""

    def __init__(self, db, side, args):
        with side(db, args) as work:
            traffic = Traffic(db, args)
            spans = [time.time()]
            for act in (lambda: time.sleep(args.live_quiet_s), work, lambda: time.sleep(args.live_quiet_s)):
                act()
                spans.append(time.time())
            traffic.stop()
        _, begun, ended, _ = spans
        self.seconds = ended - begun
        self.before = percentiles(traffic.at(spans[0] + 2, begun))
        self.meanwhile = percentiles(traffic.at(begun, ended))
        self.per_s = sum(begun <= due + ms / 1000 < ended for due, ms in traffic.seen) / self.seconds
        sides.assert_done(db, WORK)


def run(report, args):
    found = {"one-shot": [], "Drover": []}
    with Tables(args.keep, SERVER) as tables:
        wal_as_after_a_while(tables.server)
        source, sql = WORK.source(args.live_rows)
        tables.make(source, sql)
        changed = sides.pending_rows(tables, source, WORK)
        for number in range(args.live_repeats):
            for name, side in list({"one-shot": one_shot, "Drover": drover}.items())[::-1 if number % 2 else 1]:
                with tables.copy(source) as db:
                    found[name].append(Measured(db, side, args))
    everyone = found["one-shot"] + found["Drover"]
    report.say(f"{changed:,} of {args.live_rows:,} rows to change; pgbench -c 4 -M prepared --rate {args.live_rate}, latency from when each was due; "
               f"{args.live_repeats} rounds\n")
    lines = [("nothing", [m.before for m in everyone], "", "")]
    for name, measured in found.items():
        lines.append((name, [m.meanwhile for m in measured], spread([m.per_s for m in measured]), spread([changed / m.seconds for m in measured])))
    report.table(("meanwhile", *(f"p{p}, ms" for p in PERCENTILES), f"of {args.live_rate} tps", "rows/s"),
                 [(name, *(spread(column) for column in zip(*rows)), tps, speed) for name, rows, tps, speed in lines])
    worse = [m.meanwhile[-1] / m.before[-1] for m in found["Drover"]]
    speed = [a.seconds / b.seconds for a, b in zip(found["one-shot"], found["Drover"])]
    report.say(f"\np99 under Drover, of the undisturbed one just before: {spread(worse, ' x')}  {report.verdict(median(worse), 'x', 2)}\n"
               f"Drover's speed meanwhile, of the one-shot's: {spread(speed, ' x')}  {report.verdict(median(speed), 'x', 0.3, under=False)}")
    report.plot("live", chart.bars("Latency of the application (p99)", "ms, logarithmic; red: the bar", [
        (name, *quartiles([row[-1] for row in rows]), 2 * median([m.before[-1] for m in everyone]) if name == "Drover" else None)
        for name, rows, _, _ in lines], log=True))
