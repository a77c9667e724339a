"""A private redis-server on a Unix socket."""

import shutil
import signal

import redis

from lib.process import free_port, kill_group, spawn, temporary_directory, wait_for


class Redis:
    """Started by start(); a context manager starts and removes it.

    args: more of the command line, as in ["--maxmemory", "10mb"]. persistent: an append-only
    file, so that a restart keeps the data; without it every start is an empty one. tcp: listens on self.port as well.
    """

    def __init__(self, args=(), persistent=False, tcp=False):
        self.dir = temporary_directory("redis")
        self.socket = self.dir / "redis.sock"
        self.log_path = self.dir / "log"
        self.args = list(args)
        self.persistent = persistent
        self.port = free_port() if tcp else 0
        self.url = f"unix://{self.socket}"
        self.tcp_url = f"redis://127.0.0.1:{self.port}" if tcp else None
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.remove()

    def start(self):
        if self.process and self.process.poll() is None:
            return
        argv = ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--unixsocket", self.socket, "--dir", self.dir,
                "--save", "", "--appendonly", "yes" if self.persistent else "no", "--maxmemory-policy", "noeviction"]
        with open(self.log_path, "ab") as log:
            self.process = spawn([*argv, *self.args], stdout=log, stderr=log, cwd=self.dir)
        wait_for(self._answers, lambda: f"Redis answers; its log ends: {self.log()[-1500:]}")

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"redis-server exited: {self.log()[-1500:]}")
        try:
            return self.client().ping()
        except redis.AuthenticationError:
            return True  # up, and a test's own password is asked for

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    def kill(self):
        """-9; with persistent=False all data are lost, as after a flush or a failover."""
        if self.process:
            kill_group(self.process)

    def restart(self):
        self.kill()
        self.start()

    def freeze(self):
        """Connections stay open and nothing is answered, as when a network goes away."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def remove(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def client(self, **kwargs):
        kwargs.setdefault("decode_responses", True)
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=10, **kwargs)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
