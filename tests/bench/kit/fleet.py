"""A fleet at work on batches that take an artificial time, so that its lanes are the limit; and what became of them, by plain SQL."""

import time

from lib.process import wait_for

from kit.servers import settle

SERVER = {"track_commit_timestamp": "on"}  # each row says when its transaction was committed
TABLE = """CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0) WITH (autovacuum_enabled = off);
           INSERT INTO t SELECT g FROM generate_series(1, {rows}) g"""
FILE = """-- drover: table t
-- drover: ledger
-- drover: batch-size {batch}

-- drover: backfill
SELECT pg_sleep({job_s});
UPDATE t SET n = t.n + 1 FROM :batch b WHERE t.id = b.id;
"""
COMMITS = """SELECT extract(epoch FROM pg_xact_commit_timestamp(x.xmin))::float8 AS at, rows
               FROM (SELECT xmin::text::xid AS xmin, count(*) AS rows FROM t WHERE n > 0 GROUP BY xmin::text) AS x ORDER BY at"""


class Fleet:
    """Workers that come and go in the middle of one run, which gives way to nobody: the looks of a bench are others' sessions too."""

    def __init__(self, db, console, rows, batch, job_s, lanes=1, settings=()):
        self.db, self.console, self.rows, self.lanes = db, console, rows, lanes
        self.workers, self.all = [], []
        db.sql(TABLE.format(rows=rows))
        settle(db, "t")
        console.run("init")
        if settings:
            console.run("config", *settings)
        path = console.migration("m", FILE.format(batch=batch, job_s=job_s))
        self.producer = console.popen("produce", path, "--wait", "--full-speed")
        wait_for(lambda: db.value("SELECT count(*) FROM drover.batches") > 0, "there are jobs")

    def add(self, n=1):
        """More workers; returns when each has a transaction of its own behind it."""
        new = [self.console.worker("--concurrency", str(self.lanes)) for _ in range(n)]
        self.workers += new
        self.all += new
        return new

    def wait_until_at_work(self, workers):
        lanes = "SELECT count(DISTINCT split_part(lane, '/', 1)) FROM drover.lane_counts WHERE split_part(lane, '/', 1) = ANY (%s)"
        names = [worker.wait_for_log(r"worker\.start name=(\S+)")[1] for worker in workers]
        wait_for(lambda: self.db.value(lanes, (names,)) == len(names), lambda: f"all of {names} work")

    def end(self, workers):
        """TERM to these; returns when they have ended, with status 0, and in how many seconds the last of them did."""
        begun = time.monotonic()
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
            self.workers.remove(worker)
        return time.monotonic() - begun

    def look(self, seconds):
        """(from, to): so long a time in which nothing is changed, as commits have it."""
        begun = time.time()
        time.sleep(seconds)
        if self.db.value("SELECT state <> 'running' FROM drover.migrations"):
            raise SystemExit("the run was over too soon: more rows")
        return begun, time.time()

    def finish(self):
        """To the end of the run. Each row was changed once by plain SQL, or it is an error. {what should not have happened: how often}."""
        self.producer.wait(timeout_s=300)
        found = self.db.sql("SELECT n, count(*) FROM t GROUP BY n ORDER BY n")
        assert found == [(1, self.rows)], f"rows by how often they were changed: {found}"
        used, marked = self.db.sql("SELECT coalesce(sum(retry_count), 0)::int, count(marks)::int FROM drover.batches")[0]
        taken = sum(worker.err.count(" job.taken_over ") for worker in self.all)
        return {"attempts used up": used, "jobs that waited for a lease": max(marked, taken)}

    def commits(self):
        """[(when, rows)], in order."""
        return self.db.sql(COMMITS)


def rows_per_s(commits, window):
    begun, ended = window
    return sum(rows for at, rows in commits if begun <= at < ended) / (ended - begun)


def longest_pause(commits, window):
    """Seconds between two commits that follow each other, of those within the window."""
    times = [at for at, _ in commits if window[0] <= at <= window[1]]
    return max((b - a for a, b in zip(times, times[1:])), default=window[1] - window[0])
