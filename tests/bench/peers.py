"""The same work by queues that can be had from packages: a job per row and a job per 200 ids, against the one-shot UPDATE and Drover's row jobs."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from kit import Meter, Tables, chart, sides
from kit.costs import tree_cpu_s
from kit.report import FOLDER, median, number, quartiles, spread
from kit.workloads import PENDING, UPDATE, WORKLOADS
from lib.drover import Process
from lib.process import kill_group
from lib.redis_server import Redis

HERE = Path(__file__).resolve().parent / "peers"
NPM = FOLDER / "npm"
TABLE, ROW = WORKLOADS["json-batch"], WORKLOADS["json-row"]

# name: (program, ids of row jobs, ids of jobs of 200): as many as take it some seconds
PEERS = {
    "graphile-worker": ("graphile.mjs", 20_000, 500_000),
    "pg-boss": ("pgboss.mjs", 20_000, 500_000),
    "BullMQ": ("bull.mjs", 20_000, 500_000),
    "polling a table": ("polling.py", 10_000, 500_000),
    "Celery": ("celery_jobs.py", 5_000, 300_000),
    "RQ": ("rq_jobs.py", 2_000, 200_000),
}


def options(add):
    add("--peers", default=",".join(PEERS), metavar="A,B", help=f"of {', '.join(PEERS)}")
    add("--peers-rows", type=int, default=500_000, metavar="N", help="rows of the table; a peer's row jobs are about the first of them")
    add("--peers-repeats", type=int, default=1, metavar="N", help="runs of each")


def install(report):
    """Node's packages, at the versions that are pinned, and the programs beside them."""
    NPM.mkdir(parents=True, exist_ok=True)
    pinned = (HERE / "package.json").read_text()
    installed = NPM / "package.json"
    if not (NPM / "node_modules").exists() or not installed.exists() or installed.read_text() != pinned:
        report.say("installing npm packages into build/bench/npm")
        installed.write_text(pinned)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=NPM, check=True, stdout=subprocess.DEVNULL)
    for path in HERE.glob("*.mjs"):
        shutil.copy(path, NPM)


def argv(program, role):
    return ["node", NPM / program, role] if program.endswith(".mjs") else [sys.executable, "-B", HERE / program, role]


def one(db, program, last_id, ids_per_job, workers):
    """(rows/s from the producer's start until no row is left, CPU seconds of everything)."""
    pending = f"{PENDING} AND id <= {last_id}"
    rows, newest = db.sql(f"SELECT count(*), max(id) FROM user_preferences WHERE {pending}")[0]
    with Redis() as redis, contextlib.ExitStack() as closing, db.conn() as conn:
        env = {"PATH": os.environ["PATH"], "HOME": str(redis.dir), "LANG": "C.UTF-8", "DATABASE_URL": db.url, "REDIS_SOCKET": str(redis.socket),
               "IDS_PER_JOB": str(ids_per_job), "LAST_ID": str(last_id), "PENDING": PENDING, "UPDATE": UPDATE}

        def start(role, number=0):
            process = Process(argv(program, role), env, redis.dir, f"{role}-{number}")
            closing.callback(kill_group, process.popen)
            return process

        start("setup").wait()
        fleet = [start("work", number) for number in range(workers)]
        for worker in fleet:
            worker.wait_for_log("ready")
        before = sum(tree_cpu_s(worker.pid) for worker in fleet)
        meter = Meter(db, {}, redis)
        producer = start("produce")

        def left():
            """Rows not migrated; cheap while the newest is one of them."""
            newest_left = conn.execute(f"SELECT count(*) FROM user_preferences WHERE id = {newest} AND {pending}").fetchone()[0]
            return newest_left or conn.execute(f"SELECT count(*) FROM user_preferences WHERE {pending}").fetchone()[0]

        deadline = time.monotonic() + 600
        while left():
            assert time.monotonic() < deadline, f"{rows} rows were not done in time: {producer!r}; {fleet}"
            assert producer.running or producer.popen.returncode == 0, f"{producer!r}"
            time.sleep(0.02)
        seconds = time.monotonic() - meter.begun
        producer.wait()
        meter.stop()
        cpu = sum(meter.cpu.values()) + sum(tree_cpu_s(worker.pid) for worker in fleet) - before
    return rows / seconds, cpu / rows


def best(tables, source, args, program, last_id, ids_per_job):
    """(rows/s, CPU s per 100,000 rows) with 1 or 2 worker processes, the better; medians."""
    shown = []
    for workers in (1, 2):
        runs = []
        for _ in range(args.peers_repeats):
            with tables.copy(source) as db:
                runs.append(one(db, program, min(last_id, args.peers_rows), ids_per_job, workers))
        shown.append((median([run[0] for run in runs]), 100_000 * median([run[1] for run in runs])))
    return max(shown)


def run(report, args):
    install(report)
    names = args.peers.split(",")
    found, us, one_shots = {}, [], []
    with Tables(args.keep) as tables:
        source, sql = TABLE.source(args.peers_rows)
        tables.make(source, sql)
        changed = sides.pending_rows(tables, source, TABLE)
        for name in names:
            program, row_ids, batch_ids = PEERS[name]
            found[name] = best(tables, source, args, program, row_ids, 1), best(tables, source, args, program, batch_ids, 200)
            for side, work, kept in ((sides.one_shot, TABLE, one_shots), (sides.drover, ROW, us)):
                with tables.copy(source) as db:
                    meter = side(db, work, args)
                    kept.append((changed / meter.seconds, 100_000 * sum(meter.cpu.values()) / changed))
    ours, reference = [run[0] for run in us], [run[0] for run in one_shots]
    rows = [("one-shot UPDATE", spread(reference), "1", number(median([run[1] for run in one_shots])), ""),
            ("Drover, a job per row", spread(ours), number(median(reference) / median(ours)), number(median([run[1] for run in us])), "")]
    for name, ((per_s, cpu), (batch_per_s, _)) in sorted(found.items(), key=lambda item: -item[1][0][0]):
        rows.append((name, number(per_s), number(median(reference) / per_s), number(cpu), number(batch_per_s)))
    report.say(f"1 or 2 worker processes of each peer, the better shown; Drover and the one-shot, {len(us)} times in between: {changed:,} rows\n")
    report.table(("", "rows/s, a job per row", "the one-shot is ... times faster", "CPU s per 100,000 row jobs", "rows/s, a job per 200 ids"), rows)
    fastest = max(per_s for (per_s, _), _ in found.values())
    times = median(ours) / fastest
    report.say(f"\nDrover's row jobs against the best of them: {number(times)} x  {report.verdict(times, 'x', 20, under=False)}")
    report.plot("peers", chart.bars("A job per row", "rows/s, logarithmic", [
        ("one-shot UPDATE", *quartiles(reference), None), ("Drover", *quartiles(ours), None),
        *((name, per_s, per_s, per_s, None) for name, ((per_s, _), _) in found.items())], log=True))
