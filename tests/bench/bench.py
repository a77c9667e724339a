#!/usr/bin/python3
"""Measures Drover on this machine, with servers of its own: one file and one command, memory on a large table, an idle worker.

    ./dev bench                 all of it: a million rows for speed, five million for memory
    ./dev bench --rows 100000   smaller

Prints one line per figure with the bar it is held against; ends with status 1 if one is missed.
"""

import argparse
import contextlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.drover import Drover  # noqa: E402
from lib.postgres import Postgres  # noqa: E402
from lib.redis_server import Redis  # noqa: E402

TABLE = """
DROP TABLE IF EXISTS people;
CREATE TABLE people (id bigint PRIMARY KEY, full_name text, first_name text, n bigint);
INSERT INTO people SELECT g, 'Name' || g || ' Surname', NULL, 0 FROM generate_series(1, {rows}) g;
"""
SET_FILE = "-- drover: table people\n-- drover: set first_name = split_part(full_name, ' ', 1)\n"
ROW_FILE = SET_FILE + "-- drover: mode row\n"
LEFT = "SELECT count(*) FROM people WHERE first_name IS DISTINCT FROM split_part(full_name, ' ', 1)"
SERVER = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "1GB", "max_wal_size": "8GB"}
MIB = 1024 * 1024


def fill(db, rows):
    for statement in (TABLE.format(rows=rows), "VACUUM (FREEZE, ANALYZE) people", "CHECKPOINT"):
        db.sql(statement)


@contextlib.contextmanager
def closing_database(server):
    db = server.database()
    try:
        yield db
    finally:
        db.drop()


class Report:
    def __init__(self):
        self.missed = 0

    def line(self, what, figure, unit, bar=None, under=True):
        verdict = ""
        if bar is not None:
            met = figure < bar if under else figure >= bar
            self.missed += not met
            verdict = f"{'under' if under else 'at least'} {bar:g} {unit}: {'yes' if met else 'NO'}"
        print(f"{what:<58}{figure:>12,.2f} {unit:<8}{verdict}", flush=True)


def peak_mib(process):
    """The most memory that a running process was resident with."""
    return int(re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)[1]) / 1024


def timed(db, sql):
    begun = time.monotonic()
    db.sql(sql)
    return time.monotonic() - begun


def one_command(report, server, rows):
    """A `set` migration of three lines on a large table with `drover run`, against the one-shot UPDATE of the same rows."""
    with closing_database(server) as db:
        fill(db, rows)
        one_shot_s = timed(db, "UPDATE people SET first_name = split_part(full_name, ' ', 1) WHERE first_name IS NULL")
        fill(db, rows)
        drover = Drover(db.url)
        try:
            begun = time.monotonic()
            drover.run("run", drover.migration("0001_first_name", SET_FILE), timeout_s=3600)
            took_s = time.monotonic() - begun
        finally:
            drover.close()
        report.line(f"drover run, {rows:,} rows: rows left by plain SQL", db.value(LEFT), "rows", 1)
        report.line("  rows/s, from the command to its proof", rows / took_s, "rows/s")
        report.line("  times the one-shot UPDATE", one_shot_s / took_s, "x")


def memory(report, server, rows, mode, text):
    """Peak memory of producer, worker and Redis while a large table is migrated."""
    with closing_database(server) as db, Redis() as redis:
        fill(db, rows)
        drover = Drover(db.url, redis.url)
        try:
            empty = redis.client().info("memory")["used_memory"]
            worker = drover.worker("--concurrency", "4")
            begun = time.monotonic()
            producer = drover.popen("produce", drover.migration("0001_first_name", text), "--wait")
            peaks = [0.0, 0.0]
            while producer.running:
                try:
                    peaks[0] = max(peaks[0], peak_mib(producer))
                except (FileNotFoundError, TypeError):
                    pass  # it has just ended
                peaks[1] = max(peaks[1], (redis.client().info("memory")["used_memory"] - empty) / MIB)
                time.sleep(0.2)
            took_s = time.monotonic() - begun
            producer.wait()
            report.line(f"{mode} mode, {rows:,} rows: rows left by plain SQL", db.value(LEFT), "rows", 1)
            report.line("  rows/s, until it is complete", rows / took_s, "rows/s")
            report.line("  producer, peak resident", peaks[0], "MiB", 32)
            report.line("  worker with 4 lanes, peak resident", peak_mib(worker), "MiB", 32)
            report.line("  Redis, over its empty size", peaks[1], "MiB", 32)
        finally:
            drover.close()


def idle(report, server, seconds):
    with closing_database(server) as db, Redis() as redis:
        drover = Drover(db.url, redis.url)
        try:
            drover.run("init")
            worker = drover.worker("--concurrency", "4")
            worker.wait_for_log("worker")
            time.sleep(2)
            before = worker.cpu_s()
            time.sleep(seconds)
            report.line(f"idle worker, CPU over {seconds} s", 100 * (worker.cpu_s() - before) / seconds, "%", 0.5)
        finally:
            drover.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="for the one command")
    parser.add_argument("--memory-rows", type=int, default=5_000_000)
    parser.add_argument("--idle-seconds", type=int, default=60)
    args = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as shared:
        os.chmod(shared, 0o755)
        os.environ["DROVER_TEST_TMP"] = shared
        with Postgres(SERVER) as server:
            one_command(report, server, args.rows)
            memory(report, server, args.memory_rows, "batch", SET_FILE)
            memory(report, server, args.memory_rows, "row", ROW_FILE)
            idle(report, server, args.idle_seconds)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
