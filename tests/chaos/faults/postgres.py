"""A PostgreSQL that is away, full, locked or in another's hands."""

import os
import signal
import subprocess
import threading

import psycopg

from chaos.faults.registry import fault


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
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


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
