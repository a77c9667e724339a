"""Peak memory of producer, worker and Redis while a large table is migrated, in batch mode and in row mode."""

import time

from lib.drover import Drover
from lib.redis_server import Redis

from kit import LEFT, MIB, ROW_FILE, SET_FILE, database, fill, peak_mib


def options(add):
    add("--memory-rows", type=int, default=5_000_000, help="rows of the table")


def one_mode(report, db, rows, mode, text):
    with Redis() as redis:
        fill(db, rows)
        db.sql("DROP SCHEMA IF EXISTS drover CASCADE")
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
            report.line(f"{mode} mode, {rows:,} rows: rows left by plain SQL", db.value(LEFT), "rows", 0)
            report.line("  rows/s, until it is complete", rows / took_s, "rows/s")
            report.line("  producer, peak resident", peaks[0], "MiB", 32)
            report.line("  worker with 4 lanes, peak resident", peak_mib(worker), "MiB", 32)
            report.line("  Redis, over its empty size", peaks[1], "MiB", 32)
        finally:
            drover.close()


def run(report, args):
    with database() as db:
        one_mode(report, db, args.memory_rows, "batch", SET_FILE)
        one_mode(report, db, args.memory_rows, "row", ROW_FILE)
