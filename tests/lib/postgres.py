"""A private PostgreSQL cluster on a Unix socket, with databases and roles that go away with their test."""

import fcntl
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from lib.process import free_port, give_to_server_user, is_gone, kill_group, run_as_server_user, spawn, temporary_directory, wait_for

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "log_line_prefix": "%m [%p] %a ",
    "log_lock_waits": "on",
}


def newest_bindir():
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    versions = sorted((int(p.parent.parent.name), p.parent) for p in found if p.parent.parent.name.isdigit())
    if not versions:
        raise RuntimeError("no PostgreSQL in /usr/lib/postgresql")
    return versions[-1][1]


class Postgres:
    """A cluster of its own. Started by start(), which __init__ does not call; a context manager does both.

    settings: lines of postgresql.conf beside SETTINGS. fresh: run initdb rather than copy the
    template, for a cluster whose system identifier differs from that of the others. data: where the
    cluster is, or is to be made; it stays there. tcp: listens on self.port of 127.0.0.1 as well.
    """

    def __init__(self, settings=None, fresh=False, data=None, tcp=False):
        self.bindir = newest_bindir()
        self.version = int(self.bindir.parent.name)
        self.dir = temporary_directory("pg")
        give_to_server_user(self.dir)
        self.data = data or self.dir / "data"
        self.log_path = self.dir / "log"
        self.port = free_port() if tcp else 5432
        self.socket = self.dir / f".s.PGSQL.{self.port}"
        self.process = None
        shared = os.environ.get("DROVER_TEST_TMP")
        if data and data.exists():
            pass
        elif fresh or data or shared is None:
            self._initdb(self.data)
        else:
            subprocess.run(["cp", "-a", "--reflink=auto", self._template(Path(shared)), self.data], check=True)
        network = {"listen_addresses": "127.0.0.1", "port": self.port} if tcp else {}
        self.configure({**SETTINGS, "unix_socket_directories": str(self.dir), **network, **(settings or {})})

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.remove()

    def _initdb(self, target):
        run_as_server_user([self.bindir / "initdb", "-D", target, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                            "--locale=C.UTF-8", "--no-sync", "--no-instructions"])

    def _template(self, shared):
        """initdb once for all clusters of a test run, whichever process comes first."""
        home = shared / "pg-template"
        with open(shared / "pg-template.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not home.exists():
                new = shared / "pg-template.new"
                new.mkdir()
                give_to_server_user(new)
                self._initdb(new / "data")
                new.rename(home)
        return home / "data"

    def configure(self, settings):
        """Append to postgresql.conf; counts from the next start() or reload()."""
        with open(self.data / "postgresql.conf", "a") as conf:
            for name, value in settings.items():
                conf.write(f"{name} = '{value}'\n")

    # --- life ---

    def start(self):
        if self.process and self.process.poll() is None:
            return
        with open(self.log_path, "ab") as log:
            # SIGQUIT: immediate shutdown, should the tests die.
            self.process = spawn([self.bindir / "postgres", "-D", self.data], as_server_user=True,
                                 death_signal=signal.SIGQUIT, stdout=log, stderr=log, cwd="/")
        wait_for(self._answers, lambda: f"PostgreSQL answers; its log ends: {self.log()[-1500:]}")

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"PostgreSQL exited: {self.log()[-1500:]}")
        with self.conn():
            return True

    def stop(self, mode="fast"):
        """mode: smart, fast or immediate, as with pg_ctl."""
        if self.process and self.process.poll() is None:
            self.process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
            self.process.wait(timeout=60)

    @contextmanager
    def silent(self):
        """Stopped, with somebody in its place who takes connections and never says a word."""
        self.stop()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.socket))
            self.socket.chmod(0o777)
            listener.listen(5)
            yield
        self.socket.unlink()

    def kill(self):
        """As if the machine had gone: -9 to the postmaster and its children."""
        if not self.process:
            return
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = children.read_text().split() if children.exists() else []
        self.process.kill()
        for pid in pids:  # each leads a session of its own
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        kill_group(self.process)
        wait_for(lambda: not any(not is_gone(pid) for pid in pids), "the backends are gone")
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- use ---

    def url(self, dbname="postgres", user="postgres"):
        return f"postgresql:///{quote(dbname, safe='')}?host={quote(str(self.dir))}&port={self.port}&user={quote(user)}"

    def conn(self, dbname="postgres", user="postgres", autocommit=True, **kwargs):
        return psycopg.connect(host=str(self.dir), port=self.port, dbname=dbname, user=user, autocommit=autocommit,
                               connect_timeout=10, **kwargs)

    def sql(self, query, params=None, dbname="postgres", user="postgres"):
        """Run statements; the rows of the last that has any, as tuples."""
        rows = []
        with self.conn(dbname, user) as conn:
            cursor = conn.execute(query, params)
            while True:
                if cursor.description:
                    rows = cursor.fetchall()
                if not cursor.nextset():
                    return rows

    def database(self, **kwargs):
        return Database(self, **kwargs)


class Database:
    """A fresh database, empty unless `options` of CREATE DATABASE say otherwise, dropped by drop(). The `pg` of a test."""

    _numbers = itertools.count(1)

    def __init__(self, server, name=None, options=""):
        self.server = server
        self.name = name or f"test_{os.getpid()}_{next(self._numbers)}"
        self.roles = []
        server.sql(sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(self.name)))
        self.url = server.url(self.name)

    @classmethod
    def at(cls, server, name):
        """One that is there."""
        self = cls.__new__(cls)
        self.server, self.name, self.roles, self.url = server, name, [], server.url(name)
        return self

    def conn(self, user="postgres", **kwargs):
        return self.server.conn(self.name, user, **kwargs)

    def sql(self, query, params=None, user="postgres"):
        return self.server.sql(query, params, self.name, user)

    def value(self, query, params=None, user="postgres"):
        """The first column of the one row that a query gives."""
        rows = self.sql(query, params, user)
        assert len(rows) == 1, f"{len(rows)} rows: {query}"
        return rows[0][0]

    def url_as(self, user):
        return self.server.url(self.name, user)

    def role(self, name, options="LOGIN"):
        """A role (they belong to the cluster) under a name of its own, dropped with the database."""
        unique = re.sub(r"\W", "_", f"{name}_{self.name}")
        self.server.sql(sql.SQL("CREATE ROLE {} " + options).format(sql.Identifier(unique)))
        self.roles.append(unique)
        return unique

    def drop(self):
        self.server.start()  # a test may have left it down
        self.server.sql(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))
        for role in self.roles:
            self.server.sql(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
