"""Servers set up as in production, and tables that are the same for every measurement."""

import contextlib
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import psycopg

from lib.postgres import Database, Postgres
from lib.process import give_to_server_user

MIB = 1024 * 1024
SERVER = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "2GB", "max_wal_size": "8GB"}
SET_FILE = "-- drover: table people\n-- drover: set first_name = split_part(full_name, ' ', 1)\n"
ROW_FILE = SET_FILE + "-- drover: mode row\n"
LEFT = "SELECT count(*) FROM people WHERE first_name IS DISTINCT FROM split_part(full_name, ' ', 1)"
PEOPLE = """
DROP TABLE IF EXISTS people;
CREATE TABLE people (id bigint PRIMARY KEY, full_name text, first_name text, n bigint);
INSERT INTO people SELECT g, 'Name' || g || ' Surname', NULL, 0 FROM generate_series(1, {rows}) g;
"""
_PREFIX = "drover-bench-"


def clean():
    """Takes away what benches left behind that were killed."""
    for path in Path("/tmp").glob(f"{_PREFIX}*"):
        pid = path.name[len(_PREFIX):].partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def server(settings=None, data=None):
    """A PostgreSQL of its own; all that is made meanwhile goes away with it, but for `data`."""
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as shared:
        os.chmod(shared, 0o755)
        os.environ["DROVER_TEST_TMP"] = shared
        with Postgres({**SERVER, **(settings or {})}, data=data) as postgres:
            yield postgres


@contextlib.contextmanager
def database(settings=None):
    """An empty database in a server of its own."""
    with server(settings) as postgres:
        yield postgres.database()


def settle(db, table):
    for statement in (f"VACUUM (FREEZE, ANALYZE) {table}", "CHECKPOINT"):
        db.sql(statement)


def fill(db, rows):
    """people, with `rows` rows that are not migrated."""
    db.sql(PEOPLE.format(rows=rows))
    settle(db, "people")


class Tables:
    """Tables made once, and a copy of them, settled and in memory, for each measurement.

    keep: a folder in which they stay for the next time.
    """

    def __init__(self, keep=None, settings=None):
        self.keep, self.settings = keep and Path(keep).resolve(), settings
        self.numbers = itertools.count(1)

    def __enter__(self):
        if self.keep:
            self.keep.mkdir(parents=True, exist_ok=True)
            give_to_server_user(self.keep)
        self.closing = contextlib.ExitStack()
        self.server = self.closing.enter_context(server(self.settings, self.keep and self.keep / "data"))
        for (left,) in self.server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'copy_%' OR datname LIKE '%_begun'"):
            self.server.sql(f'DROP DATABASE "{left}" WITH (FORCE)')  # by a bench that was killed
        return self

    def __exit__(self, *exc):
        if self.keep:
            self.server.stop()
        self.closing.__exit__(*exc)

    def make(self, name, sql, settled=""):
        """The database `name`, made by these statements unless it is there; `settled`: the tables that are vacuumed, all unless told."""
        if self.server.sql("SELECT 1 FROM pg_database WHERE datname = %s", [name]):
            return
        begun = f"{name}_begun"
        db = Database(self.server, begun)
        db.sql("CREATE EXTENSION pg_prewarm")
        db.sql(sql)
        settle(db, settled)
        self.server.sql(f'ALTER DATABASE "{begun}" RENAME TO "{name}"')

    @contextlib.contextmanager
    def copy(self, name):
        """A copy of the database `name` as a Database, its tables in memory as far as they fit, nothing left to be written."""
        db = Database(self.server, f"copy_{next(self.numbers)}", f'TEMPLATE "{name}" STRATEGY file_copy')
        try:
            db.sql("""SELECT pg_prewarm(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                       WHERE nspname = 'public' AND relkind IN ('r', 'i') ORDER BY relkind DESC""")
            db.sql("CHECKPOINT")
            yield db
        finally:
            with contextlib.suppress(psycopg.Error):  # what the measurement says is what matters
                db.drop()
