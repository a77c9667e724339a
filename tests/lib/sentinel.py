"""A master of Redis, its replica, and Sentinels that look after them."""

import shutil
import signal

import redis

from lib.process import free_port, kill_group, spawn, temporary_directory, wait_for
from lib.redis_server import Redis

NAME = "main"


class Sentinel:
    """One Sentinel. It begins by knowing no master; monitor() tells it of one. A context manager starts and removes it."""

    def __init__(self, password=None, down_after_ms=1000, settings=None):
        self.dir = temporary_directory("sentinel")
        self.port = free_port()
        self.password = password
        self.down_after_ms = down_after_ms
        self.log_path = self.dir / "log"
        self.config = self.dir / "sentinel.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.dir}", "protected-mode no"]
        settings = {**({"requirepass": f'"{password}"'} if password else {}), **(settings or {})}
        self.config.write_text("\n".join(lines + [f"{name} {value}" for name, value in settings.items()]) + "\n")
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        kill_group(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = spawn(["redis-server", self.config, "--sentinel"], stdout=log, stderr=log, cwd=self.dir)
        wait_for(self._answers, lambda: f"Sentinel answers; its log ends: {self.log_path.read_text()[-1500:]}")

    def _answers(self):
        try:
            return self.client().ping()
        except redis.ConnectionError:
            return False

    def client(self):
        return redis.Redis(port=self.port, password=self.password, decode_responses=True, socket_timeout=10)

    def monitor(self, port, name=NAME, quorum=1, settings=()):
        client = self.client()
        client.sentinel_monitor(name, "127.0.0.1", port, quorum)
        for key, value in {"down-after-milliseconds": self.down_after_ms, "failover-timeout": 5000, **dict(settings)}.items():
            client.sentinel_set(name, key, value)

    def master_port(self, name=NAME):
        return self.client().sentinel_get_master_addr_by_name(name)[1]

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class Watched:
    """Two Redis servers, the first one the master, and three Sentinels. A context manager."""

    def __init__(self):
        self.servers = [Redis(tcp=True), Redis(tcp=True)]
        self.sentinels = [Sentinel() for _ in range(3)]

    def __enter__(self):
        for resource in self.servers + self.sentinels:
            resource.__enter__()
        self.follow(self.servers[1], self.servers[0])
        for sentinel in self.sentinels:
            sentinel.monitor(self.servers[0].port, quorum=2)
        wait_for(lambda: all(s.client().sentinel_master(NAME)["num-slaves"] == 1 and
                             s.client().sentinel_master(NAME)["num-other-sentinels"] == 2 for s in self.sentinels),
                 "the Sentinels know the replica and each other")
        return self

    def __exit__(self, *_):
        for resource in self.sentinels + self.servers:
            resource.__exit__()

    @staticmethod
    def follow(replica, master):
        replica.client().replicaof("127.0.0.1", master.port)
        wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica follows")

    @property
    def url(self):
        return f"redis+sentinel://{','.join(f'127.0.0.1:{s.port}' for s in self.sentinels)}/{NAME}"

    def master(self):
        """The server that takes writes now, None in between."""
        for server in self.servers:
            if server.process.poll() is None and server.client().info("replication")["role"] == "master":
                return server
        return None
