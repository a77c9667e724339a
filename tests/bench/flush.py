"""FLUSHALL three times in a run of a million row jobs, with a producer and without one: ends by itself, every row once; the stalls."""

import time

from lib.drover import Drover
from lib.redis_server import Redis

from kit import database, fill

FILES = {
    "ledger-only": "-- drover: table people\n-- drover: mode row\n-- drover: ledger\n-- drover: set n = n + 1\n",
    "with a predicate": "-- drover: table people\n-- drover: mode row\n-- drover: set first_name = split_part(full_name, ' ', 1)\n"
                        "-- drover: set n = n + 1\n-- drover: pending first_name IS NULL\n",
}
DONE = "SELECT coalesce(sum(rows_changed), 0)::bigint FROM drover.lane_counts"
OVER = "SELECT state = 'complete' FROM drover.migrations"


def options(add):
    add("--flush-rows", type=int, default=1_000_000, help="row jobs of a run; a fifth of them where no producer is there")


def watch(db, redis, rows):
    """Until the migration is complete; flushes at a quarter, a half and three quarters. Returns the longest time without a row after each."""
    marks, stalls = [rows * i // 4 for i in (1, 2, 3)], []
    done, moved = 0, time.monotonic()
    with db.conn() as conn:
        while not conn.execute(OVER).fetchone()[0]:
            now, before = conn.execute(DONE).fetchone()[0], done
            if now > done:
                if stalls and before < rows:
                    stalls[-1] = max(stalls[-1], time.monotonic() - moved)
                done, moved = now, time.monotonic()
            if marks and done >= marks[0]:
                marks.pop(0)
                stalls.append(0.0)
                redis.client().flushall()
            time.sleep(0.02)
    assert not marks, "it was over before it was flushed three times"
    return stalls


def one(report, db, what, text, rows, attended):
    with Redis() as redis:
        fill(db, rows)
        db.sql("DROP SCHEMA IF EXISTS drover CASCADE")
        drover = Drover(db.url, redis.url)
        try:
            path = drover.migration("0001_flush", text)
            if attended:
                drover.run("init")
                begun = time.monotonic()
                producer = drover.popen("produce", path, "--wait")
                db_has = "SELECT count(*) FROM drover.migrations"
                while db.value(db_has) == 0:
                    time.sleep(0.02)
            else:
                drover.run("produce", path, "--max-backlog", 2 * rows, timeout_s=600)
                begun = time.monotonic()
            for _ in range(2):
                drover.worker()
            stalls = watch(db, redis, rows)
            took_s = time.monotonic() - begun
            if attended:
                producer.wait()
            wrong = db.value("SELECT count(*) FROM people WHERE n <> 1")
        finally:
            drover.close()
    report.line(f"{what}, {'' if attended else 'no producer, '}{rows:,} rows: not once, by plain SQL", wrong, "rows", 0)
    report.line("  from the start to complete", took_s, "s")
    report.line("  rows/s", rows / took_s, "rows/s")
    for number, stall_s in enumerate(stalls, 1):
        report.line(f"  flush {number}: longest time without a row", stall_s, "s", 20)


def run(report, args):
    with database() as db:
        for what, text in FILES.items():
            one(report, db, what, text, args.flush_rows, True)
        for what, text in FILES.items():
            one(report, db, what, text, args.flush_rows // 5, False)
