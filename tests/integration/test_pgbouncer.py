"""Behind a real PgBouncer in transaction mode, on connections that other clients have used and left as they pleased."""

import threading

import pytest

from lib.drover import Drover
from lib.pgbouncer import PgBouncer
from lib.process import wait_for
from lib.scenario import finish, rows_done


@pytest.fixture
def pooled(pg, redis):
    """(PgBouncer with two server connections, the programs behind it)"""
    with PgBouncer(pg.server, pool_size=2) as bouncer:
        programs = Drover(bouncer.url(pg.name), redis.url)
        yield bouncer, programs
        programs.close()


LEAK = """SET search_path = evil; SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -15;
          SET row_security = on; SET statement_timeout = '200ms'; SET lock_timeout = '7ms'; SET default_transaction_isolation = 'serializable';
          SET default_transaction_read_only = on; SET enable_indexscan = off"""


def leak(bouncer, pg):
    """Leave both server connections as no one would want them."""
    with bouncer.conn(pg.name, autocommit=False) as a, bouncer.conn(pg.name, autocommit=False) as b:
        pids = set()
        for conn in (a, b):
            conn.execute(LEAK)
            pids.add(conn.execute("SELECT pg_backend_pid()").fetchone()[0])
        assert len(pids) == 2
        for conn in (a, b):
            conn.commit()


def tables(pg):
    pg.sql("""CREATE SCHEMA evil;
              CREATE TABLE t (id int PRIMARY KEY, a timestamptz, f float8, b text, c text);
              INSERT INTO t SELECT g, timestamptz '2024-01-01 00:00:00+00' + g * interval '1 h', g / 3.0::float8 FROM generate_series(1, 600) g;
              CREATE TABLE evil.t (LIKE public.t INCLUDING ALL); INSERT INTO evil.t SELECT * FROM public.t;
              CREATE FUNCTION public.shout(text) RETURNS text LANGUAGE sql AS $$ SELECT upper($1) $$;
              CREATE FUNCTION evil.shout(text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
              CREATE FUNCTION evil.upper(text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
              CREATE TABLE evil.batches (x int); CREATE TABLE evil.migrations (x int)""")


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_what_other_clients_left_behind_does_not_reach_us(pg, pooled, mode):
    bouncer, drover = pooled
    tables(pg)
    text = (f"-- drover: table t\n-- drover: mode {mode}\n-- drover: batch-size 20\n-- drover: pending b IS NULL\n"
            "-- drover: set b = a::text\n-- drover: set c = shout(f::text || ' x')\n")
    path = drover.migration("m", text)
    drover.run("produce", path, env={"DATABASE_URL": pg.url, "PGOPTIONS": "-c TimeZone=UTC -c search_path=public"})
    over = threading.Event()
    leaks = 0

    def other_client():
        nonlocal leaks
        while not over.is_set():
            leak(bouncer, pg)
            leaks += 1

    leak(bouncer, pg)
    client = threading.Thread(target=other_client, daemon=True)
    client.start()
    try:
        finish(drover, path, worker=["--concurrency", "4"])
        result = drover.run("verify", "m")
    finally:
        over.set()
        client.join()
    assert leaks > 1 and "600" in result.out
    assert pg.value("SET TimeZone = 'UTC'; SELECT count(*) FROM public.t WHERE b = a::text AND c = upper(f::text || ' x')") == 600
    assert pg.value("SELECT count(*) FROM evil.t WHERE b IS NOT NULL") == 0


def test_the_whole_console_behind_a_pooler(pg, pooled):
    """Registration, poison rows, a replay, control; and nothing of ours is left on the pool's connections."""
    bouncer, drover = pooled
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int CHECK (b <> 5)); INSERT INTO t SELECT g, g FROM generate_series(1, 300) g")
    drover.run("init")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = a\n-- drover: batch-size 20\n")
    finish(drover, path, rc=4)
    pg.sql("ALTER TABLE t DROP CONSTRAINT t_b_check")
    drover.run("retry", "all")
    drover.run_worker("--stop-when-empty")
    for args in (["verify", "m"], ["status"], ["failed"], ["pause", "m"], ["workers"], ["monitor"]):
        drover.run(*args, rc=None)
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 300
    with bouncer.conn(pg.name) as conn:
        left = conn.execute("SELECT name FROM pg_settings WHERE source = 'session' AND name IN ('search_path', 'lock_timeout', "
                            "'statement_timeout', 'row_security')").fetchall()
        assert left == []
        assert conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] == 0
        assert conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE "
                            "datname = current_database())").fetchone()[0] == 0


def test_pgbouncer_restarted_in_the_middle(pg, pooled):
    bouncer, drover = pooled
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 1000) g")
    drover.run("init")
    drover.run("config", "processing_interval_ms=10")
    path = drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: set n = n + 1\n-- drover: batch-size 10\n")
    producer = drover.popen("produce", path, "--wait")
    worker = drover.worker("--concurrency", "2", "--lease", "3")
    wait_for(lambda: rows_done(pg, "m") >= 100, "it is under way")
    bouncer.kill()
    worker.wait_for_log("(?i)postgres|database|server")
    bouncer.start()
    producer.wait(120)
    worker.terminate()
    worker.wait()
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 1000)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


def test_a_pool_smaller_than_the_lanes(pg, redis):
    """Lanes wait for a server connection; nothing is lost or taken for a failure."""
    with PgBouncer(pg.server, pool_size=1) as bouncer:
        drover = Drover(bouncer.url(pg.name), redis.url)
        try:
            pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 300) g")
            finish(drover, drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: set n = n + 1\n-- drover: batch-size "
                                                 "10\n"),
                   worker=["--concurrency", "8"])
            assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 300)]
        finally:
            drover.close()
