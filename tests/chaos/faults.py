"""Everything that breaks. A fault is a generator: it begins at its first step, and each `yield` says how long it lasts until the next.

That is a number of seconds, or a function that becomes true (or LONGEST_S pass). When the generator ends, the fault is healed. Faults
of one group never meet; of different groups they do. `r` is the round, `rng` the fault's own.
"""

import os
import signal
import subprocess
import threading

import psycopg

from lib.proxy import DOWN, UP
from lib.redis_server import Redis

LONGEST_S = 10  # for an event that a fault waits for

FAULTS = {}
_IMPOSSIBLE = {}  # faults that this machine cannot do, and how that is known


def fault(group, possible=None):
    def note(function):
        function.group = group
        FAULTS[function.__name__] = function
        if possible:
            _IMPOSSIBLE[function.__name__] = possible
        return function
    return note


def available(name):
    return name not in _IMPOSSIBLE or _IMPOSSIBLE[name]()


# --- processes ---


@fault("worker")
def worker_killed(r, rng):
    os.kill(rng.choice(r.worker_pids()), signal.SIGKILL)
    yield 0


@fault("worker")
def all_workers_killed(r, _):
    for pid in r.worker_pids():
        os.kill(pid, signal.SIGKILL)
    yield 0


@fault("worker")
def worker_stopped_beyond_its_lease(r, rng):
    pid = rng.choice(r.worker_pids())
    os.kill(pid, signal.SIGSTOP)
    yield r.lease_s * rng.uniform(1.2, 2)
    r.wake(pid)


@fault("producer")
def producer_killed(r, _):
    r.producer.kill()
    yield 0


@fault("producer")
def producer_stopped(r, rng):
    r.producer.signal(signal.SIGSTOP)
    yield rng.uniform(1, 6)
    r.wake(r.producer.pid)


@fault("worker")
def worker_fail_point(r, rng):
    """A worker that will die, or stop for longer than a lease, at a point of a job's life."""
    if r.draw.launcher == "run":  # its workers have its environment, and would die again and again
        yield from worker_killed(r, rng)
        return
    yield from _fail_point(r, rng, r.fail_points("worker_", "push_", "audit_", "windows_", "sweep_", "before_complete"), r.restart_worker)


@fault("producer")
def producer_fail_point(r, rng):
    points = ["scan_", "producer_"]
    if r.draw.launcher == "produce":
        points += ["push_", "audit_", "windows_", "sweep_", "before_complete", "completed"]
    yield from _fail_point(r, rng, r.fail_points(*points), r.restart_producer)


def _fail_point(r, rng, points, restart):
    point = f"{rng.choice(points)}={rng.choice(['kill', 'kill', 'stop'])}@{rng.choice([1, 1, 2, 5, 20])}"
    r.say(point)
    process = restart(rng, point)
    yield lambda: not process.running or r.is_stopped(process.pid)
    if process.running and r.is_stopped(process.pid):
        yield r.lease_s * 1.5
        r.wake(process.pid)


# --- Redis ---


@fault("redis")
def redis_flushed(r, _):
    r.redis.client().flushall()
    yield 0


@fault("redis")
def redis_restarted_empty(r, rng):
    r.redis.kill()
    yield rng.uniform(0, 1.5)
    r.redis.start()


@fault("redis")
def redis_restarted_with_an_old_snapshot(r, rng):
    r.redis.client().save()
    done = r.rows_done
    yield lambda: r.rows_done > done + r.draw.batch_size * rng.randint(5, 30)
    r.redis.restart()
    (r.redis.dir / "dump.rdb").unlink()


@fault("redis")
def redis_connections_killed(r, rng):
    for _ in range(rng.randint(1, 4)):
        client = r.redis.client()
        client.client_kill_filter(_type="normal", skipme=True)
        yield 0.2


@fault("redis")
def redis_asleep(r, rng):
    r.redis.client().execute_command("DEBUG", "SLEEP", round(rng.uniform(0.5, 2), 1))
    yield 0


@fault("redis")
def redis_frozen_beyond_every_deadline(r, _):
    r.redis.freeze()
    yield 11
    r.redis.thaw()


@fault("redis")
def redis_out_of_memory(r, rng):
    r.redis.client().config_set("maxmemory", 1)
    yield rng.uniform(1, 3)
    r.redis.client().config_set("maxmemory", 0)


@fault("redis")
def redis_group_destroyed(r, _):
    r.redis.client().xgroup_destroy(r.stream, "workers")
    yield 0


@fault("redis")
def redis_entries_deleted(r, rng):
    client = r.redis.client(decode_responses=False)  # garbage may be among them
    entries = [id_ for id_, _ in client.xrange(r.stream)]
    if entries:
        client.xdel(r.stream, *rng.sample(entries, (len(entries) + 1) // 2))
    yield 0


@fault("redis")
def redis_stream_trimmed(r, rng):
    r.redis.client().xtrim(r.stream, maxlen=rng.randint(0, 5), approximate=False)
    yield 0


@fault("redis")
def redis_garbage(r, rng):
    client = r.redis.client()
    for _ in range(20):
        client.xadd(r.stream, {rng.choice(["p", "job", "", "x" * 100]): rng.randbytes(rng.choice([0, 3, 50, 5000]))})
        client.zadd(r.stream.removesuffix("jobs") + "delayed", {rng.randbytes(20): rng.choice([0, 1e15])})
    if rng.random() < 0.3:
        client.set(r.stream.removesuffix("jobs") + "marker", "garbage")
    yield 0


@fault("redis")
def redis_failover_loses_a_second(r, rng):
    old, new = r.redis, Redis(r.redis.args, tcp=True)
    new.start()
    new.client().replicaof("127.0.0.1", old.port)
    yield lambda: new.client().info("replication").get("master_link_status") == "up"
    new.client().replicaof("NO", "ONE")
    yield rng.uniform(0.3, 1.2)  # all that the old one is told meanwhile is lost
    r.redis_network.server = new.socket
    r.redis = new
    r.redis_network.cut()
    old.remove()


# --- PostgreSQL ---


@fault("postgres")
def postgres_backends_terminated(r, rng):
    for _ in range(rng.randint(1, 3)):
        r.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'drover %%' AND random() < %s",
              (rng.choice([0.3, 1]),))
        yield 0.3


@fault("postgres")
def postgres_stopped_at_once(r, rng):
    r.postgres.stop("immediate")
    yield rng.uniform(0, 2)
    r.postgres.start()


@fault("postgres")
def postgres_recovers_from_a_crash(r, rng):
    pids = [pid for pid, in r.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'drover %'")]
    os.kill(rng.choice(pids), signal.SIGKILL)
    yield 0


@fault("postgres")
def postgres_has_no_connection_left(r, rng):
    taken = []
    try:
        while True:
            r.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'drover %' LIMIT 5")
            taken += [r.database.conn() for _ in range(5)]
    except psycopg.OperationalError:
        pass
    yield rng.uniform(1, 3)
    for conn in taken:
        conn.close()


@fault("postgres")
def postgres_statement_timeout(r, rng):
    name = r.database.name
    r.sql(f"ALTER DATABASE {name} SET statement_timeout = '{rng.choice([5, 20, 100])}ms'")
    r.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'drover %'")
    yield rng.uniform(1, 3)
    r.sql(f"ALTER DATABASE {name} RESET statement_timeout")
    r.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'drover %'")


@fault("postgres")
def rows_locked_by_the_application(r, rng):
    with r.database.conn(autocommit=False) as conn:
        conn.execute("SELECT 1 FROM t WHERE random() < %s FOR UPDATE", (rng.choice([0.02, 0.3]),))
        yield rng.uniform(0.5, 2.5)
        conn.rollback()


@fault("postgres")
def table_locked_by_the_application(r, rng):
    with r.database.conn(autocommit=False) as conn:
        conn.execute("SET LOCAL lock_timeout = '5s'; LOCK TABLE t IN EXCLUSIVE MODE")
        yield rng.uniform(0.5, 2.5)
        conn.rollback()


@fault("postgres")
def deadlocks_with_the_application(r, rng):
    """Locks rows against Drover's order, again and again, and waits a little in between."""
    over = threading.Event()
    forwards = ", ".join(f"{c}" for c in r.columns)
    backwards = ", ".join(f"{c} DESC" for c in r.columns)

    def fight():
        while not over.is_set():
            try:
                with r.database.conn(autocommit=False) as conn:
                    conn.execute("SET LOCAL deadlock_timeout = '20ms'; SET LOCAL lock_timeout = '3s'")
                    conn.execute(f"DECLARE c CURSOR FOR SELECT 1 FROM (SELECT * FROM t WHERE random() < 0.02 ORDER BY {forwards} LIMIT 30) x "
                                 f"JOIN t USING ({forwards}) ORDER BY {backwards} FOR UPDATE OF t")
                    for _ in range(10):
                        conn.execute("FETCH 3 FROM c")
                        over.wait(0.02)
            except psycopg.Error:
                over.wait(0.05)

    thread = threading.Thread(target=fight, daemon=True)
    thread.start()
    yield rng.uniform(1, 3)
    over.set()
    thread.join(30)


@fault("postgres", possible=lambda: os.geteuid() == 0 and _can_mount())
def disk_full(r, _):
    filler = r.space / "filler"
    with open(filler, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 8192)
        except OSError:
            pass
    r.full = True
    yield lambda: r.state()[0] == "paused"
    filler.unlink()
    r.full = False


def _can_mount():
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"], capture_output=True, check=False).returncode == 0


@fault("postgres")
def postgres_read_only_by_default(r, rng):
    r.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    r.sql("SELECT pg_reload_conf()")
    yield rng.uniform(1, 3)
    r.sql("ALTER SYSTEM RESET default_transaction_read_only")
    r.sql("SELECT pg_reload_conf()")


@fault("postgres")
def postgres_is_a_standby_until_promoted(r, rng):
    r.postgres.stop("fast")
    (r.postgres.data / "standby.signal").touch()
    r.postgres.start()
    yield rng.uniform(1, 3)
    r.sql("SELECT pg_promote(true, 60)")


# --- the network ---


@fault("network")
def network_cut(r, rng):
    for _ in range(rng.randint(1, 3)):
        r.network(rng).cut()
        yield 0.3


@fault("network")
def network_refuses(r, rng):
    network = r.network(rng)
    network.refuse()
    yield rng.uniform(0.5, 3)
    network.heal()


@fault("network")
def network_silent(r, rng):
    network = r.network(rng)
    network.silence()
    yield rng.uniform(1, 5)
    network.heal()


@fault("network")
def network_silent_and_connections_lost(r, rng):
    network = r.network(rng)
    network.silence(lost=True)
    yield rng.uniform(0.5, 2)
    network.heal()


@fault("network")
def network_silent_in_one_direction(r, rng):
    network = r.network(rng)
    network.silence(rng.choice([UP, DOWN]))
    yield rng.uniform(1, 4)
    network.heal()


@fault("network")
def network_slow(r, rng):
    network = r.network(rng)
    network.latency(500, *rng.choice([(), (UP,), (DOWN,)]))
    yield rng.uniform(2, 4)
    network.heal()


@fault("network")
def answers_of_commits_lost(r, rng):
    lost = r.postgres_network.lost_answers
    times = rng.randint(1, 4)
    r.postgres_network.lose_answer(times=times)
    yield lambda: r.postgres_network.lost_answers >= lost + times
    r.postgres_network.heal()


@fault("network")
def answers_of_redis_lost(r, rng):
    request = rng.choice([b"XREADGROUP", b"XACK", b"XAUTOCLAIM", b"XADD", b"XCLAIM", b"EVALSHA", b"EXEC"])
    r.say(request.decode())
    lost = r.redis_network.lost_answers
    r.redis_network.lose_answer(request, [b""])
    yield lambda: r.redis_network.lost_answers > lost
    r.redis_network.heal()
