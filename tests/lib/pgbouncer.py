"""A private PgBouncer in front of a Postgres."""

import shutil
from contextlib import suppress
from urllib.parse import quote

import psycopg

from lib.process import give_to_server_user, kill_group, spawn, temporary_directory, wait_for


class PgBouncer:
    """Serves every database of `server` under its own name, on a Unix socket.

    settings: lines of the [pgbouncer] section beside the defaults below. users: who may connect (trust).
    """

    def __init__(self, server, pool_mode="transaction", pool_size=10, users=("postgres",), settings=None):
        self.dir = temporary_directory("bouncer")
        give_to_server_user(self.dir)
        self.port = 6432
        self.log_path = self.dir / "log"
        self.process = None
        (self.dir / "users.txt").write_text("".join(f'"{user}" ""\n' for user in users))
        lines = {
            "listen_port": self.port,
            "unix_socket_dir": self.dir,
            "auth_type": "trust",
            "auth_file": self.dir / "users.txt",
            "admin_users": "postgres",
            "pool_mode": pool_mode,
            "default_pool_size": pool_size,
            **(settings or {}),
        }
        self.config = self.dir / "pgbouncer.ini"
        self.config.write_text(f"[databases]\n* = host={server.dir} port={server.port}\n[pgbouncer]\n"
                               + "".join(f"{k} = {v}\n" for k, v in lines.items()))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.remove()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = spawn(["/usr/sbin/pgbouncer", self.config], as_server_user=True, stdout=log, stderr=log, cwd="/")
        wait_for(self._answers, lambda: f"PgBouncer answers; its log ends: {self.log()[-1500:]}")

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"pgbouncer exited: {self.log()[-1500:]}")
        return self.admin("SHOW VERSION")

    def admin(self, command):
        """A command of PgBouncer's console, as in "SHOW POOLS" or "PAUSE"; its rows, if any."""
        with psycopg.connect(host=str(self.dir), port=self.port, user="postgres", dbname="pgbouncer", autocommit=True,
                             connect_timeout=10) as conn:
            conn.prepare_threshold = None
            result = conn.pgconn.exec_(command.encode())  # its console knows the simple protocol alone
            if result.error_message:
                raise RuntimeError(result.error_message.decode())
            return [tuple((result.get_value(row, column) or b"").decode() for column in range(result.nfields))
                    for row in range(result.ntuples)]

    def url(self, dbname, user="postgres"):
        return f"postgresql:///{quote(dbname, safe='')}?host={quote(str(self.dir))}&port={self.port}&user={quote(user)}"

    def conn(self, dbname, user="postgres", autocommit=True):
        return psycopg.connect(self.url(dbname, user), autocommit=autocommit, prepare_threshold=None, connect_timeout=10)

    def stop(self):
        """At once, its clients cut off; what a signal means is another thing in each version."""
        with suppress(psycopg.OperationalError, RuntimeError):
            self.admin("SHUTDOWN")
        self.process.wait(timeout=60)

    def kill(self):
        if self.process:
            kill_group(self.process)

    def remove(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
