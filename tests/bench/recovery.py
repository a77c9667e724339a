"""How long until the run goes on by itself after each kind of fault: to the next row, and to the last of what the fault held up."""

import random
import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from lib.drover import Drover
from lib.postgres import Postgres
from lib.process import wait_for
from lib.proxy import DOWN, UP, Proxy
from lib.redis_server import Redis
from lib.scenario import stream
from lib.sentinel import Watched
from lib.standby import Pair

DEFAULT_LEASE_S = 12
FAILOVER_S = 15  # from the new primary's being there to the next row
LANES = 4
AHEAD = LANES + 2  # jobs that a worker has in hand
AT_A_TIME = 14
TABLE = """CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, began timestamptz, done timestamptz);
           INSERT INTO t SELECT g FROM generate_series(1, {rows}) g;
           CREATE FUNCTION takes() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM pg_sleep({job_s}); RETURN 1; END $$"""
FILE = """-- drover: table t
-- drover: ledger
-- drover: batch-size 1
-- drover: set n = n + takes()
-- drover: set began = now()
-- drover: set done = clock_timestamp()
"""


class Case:
    """One run, one fault. Jobs are single rows that take job_s; a row says when its transaction began, and when it was done."""

    def __init__(self, servers, lease_s, workers=1, rows=0, job_s=2.0, proxied=None, own_pg=False, failover=False, watched=False,
                 pair=None):
        self.lease_s, self.rows, self.job_s = lease_s, rows or AHEAD * workers, job_s
        self.closing = []
        self.held = None  # ids that the fault holds up; None: all that are not done
        with servers.starting:
            self.pair = self.enter(Pair(sync=pair == "synchronous")) if pair else None
            self.server = self.pair.primary if pair else self.enter(Postgres()) if own_pg else servers.postgres
            self.watched = self.enter(Watched()) if watched else None
            self.redis = self.watched.servers[0] if watched else self.enter(Redis(tcp=failover))
            self.pg = self.server.database()
        pg_url = self.pair.url(self.pg.name) if pair else self.pg.url
        redis_url = self.watched.url if watched else self.redis.url
        self.proxy = None
        if proxied == "redis" or failover:
            self.proxy = self.enter(Proxy(self.redis.socket))
            redis_url = self.proxy.url(redis_url)
        elif proxied == "postgres":
            self.proxy = self.enter(Proxy(self.server.socket))
            pg_url = self.proxy.url(pg_url)
        self.pg.sql(TABLE.format(rows=self.rows, job_s=job_s))
        self.drover = Drover(self.pg.url, self.redis.url)
        self.path = self.drover.migration("m", FILE)
        self.drover.run("produce", self.path)
        self.drover.run("config", "is_enabled=false")  # so that all workers begin at once
        self.drover.env.update(DATABASE_URL=pg_url, REDIS_URL=redis_url)
        self.jobs = stream(self.pg, "m")
        self.workers = [self.start_worker() for _ in range(workers)]
        for worker in self.workers:
            worker.wait_for_log("migration.loaded")
        self.drover.run("config", "is_enabled=true", env={"DATABASE_URL": self.pg.url})
        wait_for(lambda: len(self.holders()) == workers, lambda: f"all workers have jobs in hand, not {self.holders()}")

    def enter(self, resource):
        self.closing.append(resource)
        return resource.__enter__()

    def start_worker(self):
        lease = [] if self.lease_s == DEFAULT_LEASE_S else ["--lease", str(self.lease_s)]
        return self.drover.worker("--concurrency", str(LANES), *lease)

    def holders(self):
        """How many jobs each worker has in hand."""
        return {c["name"]: c["pending"] for c in self.redis.client().xpending(self.jobs, "workers")["consumers"]}

    def wait_until_done(self, rows):
        wait_for(lambda: self.pg.value("SELECT count(*) FROM t WHERE n > 0") >= rows, f"{rows} rows are done")

    def not_done(self):
        return {row[0] for row in self.pg.sql("SELECT id FROM t WHERE n = 0")}

    def times(self, fault_s):
        """Seconds, less one job's own, from the fault to the first commit of a transaction begun after it, and to the last of what was held up."""
        wait_for(lambda: not self.not_done(), lambda: f"all is done, not {len(self.not_done())} rows left: {self.workers}", 240)
        assert self.pg.sql("SELECT DISTINCT n FROM t") == [(1,)]
        rows = self.pg.sql("SELECT id, extract(epoch FROM began)::float8, extract(epoch FROM done)::float8 FROM t")
        after = [done for _, began, done in rows if began > fault_s]
        held = [done for id, _, done in rows if id in self.held and done > fault_s]
        return tuple(max(0, done - self.job_s - fault_s) for done in (min(after, default=fault_s), max(held, default=fault_s)))

    def close(self):
        for process in self.drover.processes:
            if process.running:
                process.kill()
        self.drover.close()
        if self.server not in self.closing and not self.pair:
            self.pg.drop()
        for resource in reversed(self.closing):
            resource.__exit__(None, None, None)


# --- the faults: each returns when it happened, or when what was away was back ---


def kill_worker(case):
    at = time.time()
    case.workers[0].kill()
    return at


def kill_and_restart(case):
    at = kill_worker(case)
    time.sleep(1)  # a supervisor
    case.workers.append(case.start_worker())
    return at


def stop_worker(case):
    at = time.time()
    case.workers[0].signal(signal.SIGSTOP)

    def wake():
        if case.workers[0].running:
            case.workers[0].signal(signal.SIGCONT)
    timer = threading.Timer(case.lease_s + 6, wake)
    timer.start()
    return at


def dead_producer(case):
    """What one leaves that dies between a window's commit and its push: batches that Redis does not know, a lease that nobody renews."""
    delete_unread(case)
    case.pg.sql("""UPDATE drover.migrations
                      SET producer = 'elsewhere:1', producer_until = now() + interval '15 s', auditor = NULL, auditor_until = NULL""")
    return time.time()


def dead_auditor(case):
    """The worker that looks after lost jobs is killed when jobs were lost."""
    def auditor():
        name = case.pg.value("SELECT auditor FROM drover.migrations WHERE auditor_until > now()")
        return next((worker for worker in case.workers if f"name={name} " in worker.err), None)
    victim = wait_for(auditor, "one of the workers audits")
    delete_unread(case, LANES)
    case.held = set(range(case.rows - LANES + 1, case.rows + 1))
    at = time.time()
    victim.kill()
    return at


def flush(case):
    case.redis.client().flushall()
    return time.time()


def restart_redis(case):
    case.redis.restart()
    return time.time()


def kill_clients(case):
    case.redis.client().client_kill_filter(_type="normal", skipme=True)
    return time.time()


def freeze_redis(case):
    case.redis.freeze()
    time.sleep(case.lease_s + 2)
    case.redis.thaw()
    return time.time()


def destroy_group(case):
    case.redis.client().xgroup_destroy(case.jobs, "workers")
    return time.time()


def delete_unread(case, most=1000000):
    client = case.redis.client(decode_responses=False)
    unread = client.xrange(case.jobs, b"(" + client.xinfo_groups(case.jobs)[0]["last-delivered-id"], b"+")
    for entry, _ in unread[-most:]:
        client.xdel(case.jobs, entry)


def delete_some(case):
    """At any moment between two audits."""
    time.sleep(case.chance.uniform(0, 15))
    before = case.redis.client().xlen(case.jobs)
    delete_unread(case, LANES)
    assert case.redis.client().xlen(case.jobs) < before
    case.held = set(range(case.rows - LANES + 1, case.rows + 1))
    return time.time()


def fail_over(case):
    """To a replica that has not heard the last second."""
    replica = case.enter(Redis(tcp=True))
    replica.client().replicaof("127.0.0.1", case.redis.port)
    wait_for(lambda: replica.client().info("replication").get("master_link_status") == "up", "the replica has it all")
    replica.client().replicaof("NO", "ONE")
    time.sleep(1)
    case.held = case.not_done()
    case.proxy.server = replica.socket
    case.redis.kill()
    case.proxy.cut()
    return time.time()


def sentinels_promote(case):
    """The master is killed; from when its replica is the master."""
    case.redis.kill()
    wait_for(lambda: case.watched.master() is case.watched.servers[1], "the replica is promoted")
    return time.time()


def promote_standby(case):
    """The primary is killed; from when the standby takes writes."""
    case.pair.fail_over()
    case.pg = case.pair.promoted(case.pg)
    return time.time()


def terminate_backends(case):
    case.pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    return time.time()


def restart_postgres(case):
    case.server.stop("immediate")
    case.server.start()
    return time.time()


def cut(case):
    case.proxy.cut()
    return time.time()


def silence(*directions):
    """The connections that there are carry nothing any more, and nobody says so; new ones work."""

    def fault(case):
        case.proxy.silence(*directions, lost=True)
        at = time.time()
        case.proxy.heal()
        return at
    return fault


MID = {"rows": 40, "job_s": 0.3}  # what is left waits in Redis

# what, fault, how the case is set up: held (jobs in hand and nothing else), or in mid-run
FAULTS = [
    ("worker killed, others alive", kill_worker, {"workers": 2}),
    ("worker killed, others busy", kill_worker, {"workers": 2, "rows": 300, "job_s": 0.5}),
    ("the only worker killed, restarted", kill_and_restart, {}),
    ("the only worker killed in mid-run, restarted", kill_and_restart, MID),
    ("worker stopped beyond its lease, others alive", stop_worker, {"workers": 2}),
    ("producer dead between commit and push", dead_producer, MID),
    ("jobs lost, the auditing worker killed", dead_auditor, {"workers": 2, "rows": 280, "job_s": 0.3}),
    ("Redis: FLUSHALL", flush, MID),
    ("Redis: restarted empty", restart_redis, MID),
    ("Redis: all connections killed", kill_clients, MID),
    ("Redis: all connections killed, jobs in hand", kill_clients, {}),
    ("Redis: frozen beyond a lease (from its end)", freeze_redis, {**MID, "rows": 80}),
    ("Redis: group destroyed", destroy_group, MID),
    ("Redis: some of the unread jobs gone", delete_some, {"rows": 280, "job_s": 0.3}),
    ("Redis: failover, last second lost", fail_over, {**MID, "rows": 200, "failover": True}),
    ("Redis: master killed, Sentinels promote", sentinels_promote, {**MID, "rows": 200, "watched": True}),
    ("way to Redis cut", cut, {**MID, "proxied": "redis"}),
    ("way to Redis silent", silence(), {**MID, "rows": 80, "proxied": "redis"}),
    ("way to Redis silent, to it alone", silence(UP), {**MID, "rows": 80, "proxied": "redis"}),
    ("way to Redis silent, from it alone", silence(DOWN), {**MID, "rows": 80, "proxied": "redis"}),
    ("PostgreSQL: backends terminated", terminate_backends, {}),
    ("PostgreSQL: backends terminated in mid-run", terminate_backends, MID),
    ("PostgreSQL: restarted (from its end)", restart_postgres, {**MID, "own_pg": True}),
    ("PostgreSQL: primary killed, standby promoted", promote_standby, {**MID, "rows": 200, "pair": "synchronous"}),
    ("PostgreSQL: the same, asynchronous standby promoted", promote_standby, {**MID, "rows": 200, "pair": "asynchronous"}),
    ("way to PostgreSQL cut", cut, {"proxied": "postgres"}),
    ("way to PostgreSQL silent", silence(), {**MID, "proxied": "postgres"}),
    ("way to PostgreSQL silent, to it alone", silence(UP), {**MID, "proxied": "postgres"}),
    ("way to PostgreSQL silent, from it alone", silence(DOWN), {**MID, "proxied": "postgres"}),
]


def options(add):
    add("--recovery-runs", type=int, default=8, metavar="N", help="runs of each kind of fault")
    add("--recovery-leases", default=f"{DEFAULT_LEASE_S},3", metavar="S,S", help=f"leases; {DEFAULT_LEASE_S} is the default's")
    add("--recovery-only", default="", metavar="TEXT", help="kinds of fault that have this in their name")


class Servers:
    """What the runs share."""

    def __init__(self):
        self.starting = threading.Lock()  # so that not all begin at the same moment
        self.postgres = Postgres({"max_connections": "400"})


def one(servers, fault, setup, lease_s, seed):
    case = Case(servers, lease_s, **setup)
    try:
        case.chance = random.Random(seed)
        if "rows" in setup:
            case.wait_until_done(4)
        wanted = case.not_done()
        at = fault(case)
        if case.held is None:
            # What was given out at the fault and is not done, where others go on with the rest.
            case.held = {i for i in wanted if i <= 4 + 2 * AHEAD} if setup.get("workers") == 2 and setup.get("rows", 0) > 100 else wanted
        return case.times(at)
    finally:
        case.close()


def p95(values):
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def spread(values):
    return f"{statistics.median(values):6.1f} {p95(values):6.1f} {max(values):6.1f}"


def run(report, args):
    kinds = [kind for kind in FAULTS if args.recovery_only in kind[0]]
    leases = [int(lease) for lease in args.recovery_leases.split(",")]
    servers = Servers()
    with servers.postgres, ThreadPoolExecutor(AT_A_TIME) as pool:
        runs = {(what, lease): [pool.submit(one, servers, fault, setup, lease, seed) for seed in range(args.recovery_runs)]
                for lease in leases for what, fault, setup in kinds}
        for lease in leases:
            bar = 20 if lease == DEFAULT_LEASE_S else max(lease + 5, 15)  # silence is found by deadlines, whatever the lease
            report.say(f"\nlease {lease} s{' (default)' if lease == DEFAULT_LEASE_S else ''}, {args.recovery_runs} runs of each; "
                  f"seconds: median, p95, most\n"
                  f"{'fault':<50}{'to the next row':^22}{'to the last held up':^22}")
            for what, _, _ in kinds:
                failed = [run.exception() for run in runs[what, lease] if run.exception()]
                times = [run.result() for run in runs[what, lease] if not run.exception()]
                if times:
                    next_s, last_s = zip(*times)
                    late = p95(next_s) > (FAILOVER_S if "promote" in what else bar)
                    report.missed += late
                    report.say(f"{what:<50}{spread(next_s)}  {spread(last_s)}{'  NO' if late else ''}")
                for error in failed:
                    report.say(f"{what}: {error}")
                report.missed += len(failed)
