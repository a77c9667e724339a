"""Fixtures of the integration tests: see README.md."""

import contextlib
import os
import shutil
import tempfile

import pytest

from lib.drover import Drover, binaries
from lib.pgbouncer import PgBouncer
from lib.postgres import Postgres
from lib.proxy import Proxy
from lib.redis_server import Redis


def pytest_configure(config):
    # One folder for all processes of this run; they find it in their environment.
    if not hasattr(config, "workerinput"):
        path = tempfile.mkdtemp(prefix="drover-tests-", dir="/tmp")
        os.chmod(path, 0o755)
        os.environ["DROVER_TEST_TMP"] = config.drover_tmp = path


def pytest_unconfigure(config):
    if hasattr(config, "drover_tmp"):
        shutil.rmtree(config.drover_tmp, ignore_errors=True)


@pytest.fixture(scope="session")
def pg_server():
    """The PostgreSQL that the tests of this process share. Whoever stops it should use own_pg_server."""
    with Postgres() as server:
        yield server


@pytest.fixture
def own_pg_server():
    """A PostgreSQL for this test alone: to kill, restart and misconfigure."""
    with Postgres() as server:
        yield server


@pytest.fixture
def pg(pg_server):
    """A fresh, empty database."""
    pg_server.start()
    database = pg_server.database()
    yield database
    database.drop()


@pytest.fixture
def redis():
    """A Redis for this test alone."""
    with Redis() as server:
        yield server


@pytest.fixture
def pgbouncer(pg):
    """A PgBouncer in transaction mode before the database; pgbouncer.url(pg.name)."""
    with PgBouncer(pg.server) as bouncer:
        yield bouncer


@pytest.fixture
def network():
    """network(server): a proxy before a Postgres or a Redis, whose network can be broken; network(pg.server).url(pg.url)."""
    with contextlib.ExitStack() as proxies:
        yield lambda server, **kwargs: proxies.enter_context(Proxy(server.socket, **kwargs))


@pytest.fixture
def drover(pg, redis):
    """The programs, with DATABASE_URL and REDIS_URL of this test. What they must never do is checked at its end."""
    if not (binaries() / "drover").exists():
        pytest.fail(f"no drover in {binaries()}: run ./dev test, or set DROVER_BIN")
    programs = Drover(pg.url, redis.url)
    yield programs
    programs.close()
