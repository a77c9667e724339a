"""What a batch of a thousand rows costs in transactions and statements with 0 to 1,000 poison rows in it, against the best possible."""

import math
import random
import re

from lib.drover import Drover
from lib.redis_server import Redis

from kit import database, middle, timed

N = 1000
POISON = [0, 1, 3, 500, 1000]
TABLE = f"""
DROP TABLE IF EXISTS t; DROP SCHEMA IF EXISTS drover CASCADE;
CREATE TABLE t (id int PRIMARY KEY, b int, bad boolean NOT NULL, CHECK (b IS NULL OR NOT bad));
INSERT INTO t SELECT g, NULL, g = ANY ('{{poison}}') FROM generate_series(1, {N}) g;
"""
FILE = f"-- drover: table t\n-- drover: batch-size {N}\n-- drover: set b = id\n-- drover: pending b IS NULL\n"


def options(add):
    add("--splitting-runs", type=int, default=3, help="runs of each, with other rows")
    add("--splitting-seed", type=int, default=1, help="which rows")


def attempts(poison, ways, first=1, last=N):
    """How many groups are tried, and how many of them fail, when each that fails is divided in so many ways."""
    if not any(first <= row <= last for row in poison):
        return 1, 0
    tried, failed, size = 1, 1, last - first + 1
    if size > 1:
        part = math.ceil(size / min(ways, size))
        for start in range(first, last + 1, part):
            more, bad = attempts([row for row in poison if start <= row < start + part], ways, start, min(start + part - 1, last))
            tried, failed = tried + more, failed + bad
    return tried, failed


def best(poison):
    """The fewest transactions of any plain division: each group tried, and one more for each that failed, which divides or buries it."""
    return min((sum(attempts(poison, ways)), ways) for ways in range(2, 41))


def bound(n):
    """No way of asking groups finds n of N rows with fewer questions: each answer is one bit; and each poison row has to fail alone."""
    return max(n, math.ceil(math.log2(math.comb(N, n))), 1)


def lanes(log):
    """(transactions, statements, errors) of the workers' lanes, by PostgreSQL's log."""
    lines = re.findall(r"^\S+ \S+ \S+ \[(\d+)\] (.*?) (LOG|ERROR):  (?:execute \S+: |statement: )?(\S+)", log, re.MULTILINE)
    pids = {pid for pid, name, _, _ in lines if re.match(r"drover .*/\d+$", name)}
    ours = [(level, word) for pid, _, level, word in lines if pid in pids]
    statements = [word for level, word in ours if level == "LOG"]
    return sum(word.startswith("BEGIN") for word in statements), len(statements), sum(level == "ERROR" for level, _ in ours)


def once(db, poison, logged):
    db.sql(TABLE.format(poison="{" + ",".join(map(str, poison)) + "}"))
    db.sql(f"ALTER DATABASE {db.name} SET log_statement = '{'all' if logged else 'none'}'")
    with Redis() as redis:
        drover = Drover(db.url, redis.url)
        try:
            drover.run("init")
            drover.run("config", "breaker=off")
            path = drover.migration("0001_split", FILE)
            drover.run("produce", path)
            begun = len(db.server.log())
            took_s = timed(lambda: drover.run_worker("--stop-when-empty", "--concurrency", "2", timeout_s=600))
            log = db.server.log()[begun:]
        finally:
            drover.close()
    dead = sorted(int(row[0]) for row in db.sql("SELECT key[1] FROM drover.failed_jobs WHERE state = 'dead'"))
    assert dead == poison, f"{len(dead)} dead letters for {len(poison)} poison rows"
    assert db.value("SELECT count(*) FROM t WHERE (b IS NULL) <> bad") == 0
    return took_s, log


def run(report, args):
    rng = random.Random(args.splitting_seed)
    report.say(f"{'poison':>6} {'transactions':>12} {'statements':>10} {'tried':>6} {'failed':>6} {'bound':>6} {'best division':>20} "
               f"{'of best':>8}  seconds")
    with database() as db:
        for n in POISON:
            took, ratios = [], []
            for _ in range(args.splitting_runs):
                poison = sorted(rng.sample(range(1, N + 1), n))
                took.append(once(db, poison, False)[0])
                transactions, statements, errors = lanes(once(db, poison, True)[1])
                tried = db.value("SELECT count(*) FROM drover.batches")
                fewest, ways = best(poison)
                ratios.append(transactions / fewest)
            report.say(f"{n:>6} {transactions:>12} {statements:>10} {tried:>6} {errors:>6} {bound(n):>6} "
                       f"{f'{fewest} ({ways} ways)':>20} {middle(ratios):>8}  {middle(took)}")
            report.line(f"  {n} poison rows of {N}: transactions, of the best division", max(ratios), "x", 1.5)
