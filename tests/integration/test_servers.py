"""The servers that the other tests rely on behave as those rely on."""

import time

import psycopg
import pytest

from lib.postgres import Postgres


def test_each_test_has_an_empty_database(pg):
    assert pg.sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    pg.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2)")
    assert pg.sql("SELECT id FROM t WHERE id > %s", (1,)) == [(2,)]
    assert pg.value("SELECT count(*) FROM t") == 2


def test_a_role_goes_with_its_database(pg_server):
    database = pg_server.database()
    role = database.role("worker")
    assert database.value("SELECT current_user", user=role) == role
    database.drop()
    assert pg_server.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)) == []


def test_a_killed_postgres_comes_back_with_what_was_committed(own_pg_server):
    own_pg_server.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    conn = own_pg_server.conn()
    own_pg_server.kill()
    with pytest.raises(psycopg.OperationalError):
        conn.execute("SELECT 1")
    own_pg_server.start()
    assert own_pg_server.sql("SELECT id FROM t") == [(1,)]


def test_a_cluster_starts_within_a_second_or_so_once_the_template_is_there(pg_server):
    start = time.monotonic()
    with Postgres() as server:
        assert server.sql("SELECT 1") == [(1,)]
    assert time.monotonic() - start < 10  # the bound leaves room for a busy machine


def test_a_killed_redis_comes_back_empty(redis):
    redis.client().set("k", "v")
    redis.restart()
    assert redis.client().get("k") is None


def test_pgbouncer_gives_a_server_connection_per_transaction(pg, pgbouncer):
    with pgbouncer.conn(pg.name) as a, pgbouncer.conn(pg.name) as b:
        pids = {c.execute("SELECT pg_backend_pid()").fetchone()[0] for c in (a, b, a, b)}
    assert len(pids) == 1
    assert any(row[0] == pg.name for row in pgbouncer.admin("SHOW POOLS"))
