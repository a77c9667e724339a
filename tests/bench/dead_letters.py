"""A million dead letters: time of the first page, total time and peak memory of every console command; the replay of all of them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import lib
from lib.drover import Drover
from lib.redis_server import Redis

from kit import MIB, database, peak_mib, settle, timed

# Every row fails: two conversions, a constraint, a trigger of the application. MEND makes all of them good.
TABLE = """
CREATE TABLE people (id int PRIMARY KEY, full_name text, first_name text CONSTRAINT somebody CHECK (first_name <> 'Nobody'), age int,
                     n int NOT NULL DEFAULT 0);
CREATE FUNCTION age_of(id int) RETURNS int LANGUAGE plpgsql AS $$
  BEGIN RETURN CASE id % 4 WHEN 0 THEN ('x' || id)::int WHEN 1 THEN (id || '00000000000')::int ELSE 30 END; END $$;
CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN IF NEW.id % 4 = 2 THEN RAISE 'the account of person % is closed', NEW.id USING HINT = 'ask the bank'; END IF; RETURN NEW; END $$;
CREATE TRIGGER closed BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION closed();
"""
ROWS = """INSERT INTO people (id, full_name)
          SELECT g, CASE WHEN g % 4 = 3 THEN 'Nobody ' ELSE 'Name' || g END || ' Surname' FROM generate_series({first}, {last}) g"""
MEND = """
ALTER TABLE people DROP CONSTRAINT somebody; DROP TRIGGER closed ON people;
CREATE OR REPLACE FUNCTION age_of(id int) RETURNS int LANGUAGE sql AS 'SELECT 30';
"""
FILE = """-- drover: table people
-- drover: set first_name = split_part(full_name, ' ', 1)
-- drover: set age = age_of(id)
-- drover: set n = n + 1
-- drover: pending first_name IS NULL
"""
# As the real ones of the same kind, one for each further row, over the last month. A batch of a thousand for every thousand.
LETTERS = """
WITH kinds AS (SELECT DISTINCT ON (key[1]::int % 4) key[1]::int % 4 AS kind, f.* FROM drover.failed_jobs f ORDER BY 1, id),
     batches AS (INSERT INTO drover.batches (migration_id, first_key, last_key, rows, state, rows_failed)
                 SELECT 1, ARRAY[(1000 * g)::text], ARRAY[(1000 * g + 999)::text], 1000, 'done', 1000
                   FROM generate_series({first} / 1000, {last} / 1000) g RETURNING number, first_key[1]::int / 1000 AS thousand)
INSERT INTO drover.failed_jobs (migration_id, batch, root, key, key_hash, state, sqlstate, message, detail, hint, context, constraint_name,
                                statement, "row", fingerprint, worker, first_failed_at, last_failed_at)
SELECT 1, b.number, b.number, ARRAY[g::text], drover.key_hash(ARRAY[g::text]), 'dead', k.sqlstate, m.message, replace(k.detail, k.key[1], g::text),
       k.hint, replace(k.context, k.key[1], g::text), k.constraint_name, k.statement, replace(k."row", k.key[1], g::text),
       drover.error_fingerprint(k.sqlstate, k.constraint_name, m.message), k.worker, now() - ({last} - g) * interval '2.6 s',
       now() - ({last} - g) * interval '2.6 s'
  FROM generate_series({first}, {last}) g JOIN kinds k ON k.kind = g % 4 JOIN batches b ON b.thousand = g / 1000
       CROSS JOIN LATERAL (SELECT replace(k.message, k.key[1], g::text) AS message) m
 ORDER BY g
"""
LEFT = "SELECT count(*) FROM people WHERE first_name IS NULL OR n <> 1"


def options(add):
    add("--letters", type=int, default=1_000_000, help="how many dead letters")
    add("--real", type=int, default=20_000, help="how many of them come from a real run")


class Bench:
    def __init__(self, report, db, redis, drover, args):
        self.report, self.db, self.redis, self.drover, self.args = report, db, redis, drover, args

    def measure(self, *words, rc=0, first_s=1.0):
        """Runs the console; its first page must be there within first_s (None: it has none), and its memory small."""
        argv = [sys.executable, "-I", "-S", Path(lib.__file__).with_name("measure.py"), self.drover.bindir / "drover", *map(str, words)]
        done = subprocess.run(argv, env=self.drover.env, stdout=subprocess.PIPE, check=True)
        got = json.loads(done.stdout)
        assert got["rc"] == rc, f"{words}: {got}"
        what = f"drover {' '.join(map(str, words))}"
        if first_s is not None:
            self.report.line(what, got["first_s"] or got["total_s"], "s", first_s)
            what = ""
        self.report.line(f"{what or '  in all'}", got["total_s"], "s")
        self.report.line("  peak resident", got["peak_kib"] / 1024, "MiB", 64)
        return got["total_s"]

    # --- making them ---

    def make(self):
        real, last = self.args.real, self.args.letters
        self.db.sql(TABLE + ROWS.format(first=1, last=real))
        self.drover.run("init")
        self.drover.run("config", "breaker=off")
        path = self.drover.migration("0001_people", FILE)
        worker = self.drover.worker("--concurrency", "4")
        took_s = timed(lambda: self.drover.run("produce", path, "--wait", rc=4, timeout_s=3600))
        worker.terminate()
        worker.wait()
        letters = self.db.value("SELECT count(*) FROM drover.failed_jobs WHERE state = 'dead'")
        self.report.line(f"{real:,} rows, all of them poison, breaker off: lost", real - letters, "rows", 0)
        self.report.line("  dead letters/s", real / took_s, "1/s")
        if last > real:
            self.db.sql(ROWS.format(first=real + 1, last=last) + ";" + LETTERS.format(first=real + 1, last=last) +
                        f"; UPDATE drover.migrations SET rows_found = {last}, rows_scanned = {last}, estimated_rows = {last}")
        settle(self.db, "people, drover.failed_jobs, drover.batches")
        size = self.db.value("SELECT pg_total_relation_size('drover.failed_jobs')")
        self.report.line(f"{last:,} dead letters in PostgreSQL", size / MIB, "MiB")

    # --- looking at them ---

    def look(self):
        oldest = self.db.value("SELECT min(id) FROM drover.failed_jobs")
        self.measure("failed")
        self.measure("failed", "0001_people", "--before", oldest + self.args.letters // 2)
        self.measure("failed", "0001_people", "--error", "23514", "--since", "2 days")
        self.measure("failed", "--error", "22P02", "--json")
        self.measure("failed", "--error", f"person {self.args.real // 4 * 4 - 2} is")
        self.measure("failed", "--error", "no such error")
        self.measure("failed", "--since", "2000-01-01", "--state", "done")
        self.measure("failed", "--group")
        self.measure("failed", "0001_people", "--group", "--json")
        self.measure("failed", "show", oldest)
        self.measure("failed", "--limit", 0, "--json")
        self.measure("failed", "--limit", 0)
        self.measure("status")
        self.measure("status", "0001_people")
        self.measure("monitor", rc=1)
        self.measure("workers")
        self.measure("events")
        self.measure("verify", "0001_people", rc=3, first_s=None)

    # --- changing them ---

    def replay_some(self):
        first = self.db.value("SELECT min(id) FROM drover.failed_jobs")
        self.measure("retry", "all", "--dry-run")
        self.measure("retry", "all", "--error", "23514", "--dry-run")
        self.measure("retry", f"{first}-{first + 999}", first_s=None)
        self.measure("retry", "all", "--range", f"{first + 1000}-{first + 1999}", "--error", "22P02", first_s=None)
        took_s = self.measure("retry", "--range", f"{first + 2000}-{first + 3999}", "--rate", "1000/s", first_s=None)
        self.report.line("  replays/s of 1000/s asked for", 2000 / took_s, "1/s", 1100)

    def replay_all(self):
        """From `drover retry all` to the last row, with two workers."""
        self.db.sql(MEND)
        self.db.sql("CHECKPOINT")
        empty = self.redis.client().info("memory")["used_memory"]
        workers = [self.drover.worker("--concurrency", "2") for _ in range(2)]
        begun = time.monotonic()
        console = self.drover.popen("retry", "all")
        console_peak, redis_peak, queued_s = 0.0, 0, None
        left = "SELECT EXISTS (SELECT FROM drover.failed_jobs WHERE migration_id = 1 AND state IN ('queued', 'retrying'))"
        while console.running or self.db.value(left):
            try:
                console_peak = max(console_peak, peak_mib(console))
            except (FileNotFoundError, TypeError):
                queued_s = queued_s or time.monotonic() - begun
            redis_peak = max(redis_peak, self.redis.client().info("memory")["used_memory"] - empty)
            time.sleep(0.2)
        took_s = time.monotonic() - begun
        console.wait()
        self.report.line(f"retry all, {self.args.letters:,} dead letters: wrong by plain SQL", self.db.value(LEFT), "rows", 0)
        done = self.db.sql("SELECT state, max(replays), count(*) FROM drover.failed_jobs GROUP BY 1")
        assert done == [("done", 1, self.args.letters)], done
        self.report.line("  until all are queued", queued_s or took_s, "s")
        self.report.line("  until all are done", took_s, "s")
        self.report.line("  rows/s", self.args.letters / took_s, "rows/s")
        self.report.line("  drover retry, peak resident", console_peak, "MiB", 64)
        self.report.line("  worker with 2 lanes, peak resident", max(map(peak_mib, workers)), "MiB", 32)
        self.report.line("  Redis, over its empty size", redis_peak / MIB, "MiB", 32)
        for worker in workers:
            worker.terminate()
            worker.wait()

    def drop(self):
        """A quarter is forgotten, a quarter flushed, the rest, settled, is pruned."""
        self.measure("status", "0001_people")
        self.measure("failed", "--group", "--state", "all")
        self.db.sql("UPDATE drover.failed_jobs SET state = 'dead' WHERE sqlstate IN ('23514', '22003')")
        self.measure("status", "0001_people")
        self.measure("forget", "all", "--error", "23514", "--yes", first_s=None)
        self.measure("flush", "--error", "22003", "--yes", first_s=None)
        self.measure("prune", "--hours", 0, "--yes", first_s=None)
        states = dict(self.db.sql("SELECT state, count(*) FROM drover.failed_jobs GROUP BY 1"))
        assert states == {"ignored": self.args.letters // 4}, states


def run(report, args):
    with database() as db, Redis() as redis:
        drover = Drover(db.url, redis.url)
        try:
            bench = Bench(report, db, redis, drover, args)
            bench.make()
            bench.look()
            bench.replay_some()
            bench.replay_all()
            bench.drop()
        finally:
            drover.close()
