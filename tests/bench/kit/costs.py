"""What a piece of work costs: seconds, CPU of each process, WAL, peak memory."""

import os
import re
import select
import time
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_MIB = 1024 * 1024


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pid):
    """CPU of a process, of one too that has ended and was not waited for."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def tree_cpu_s(pid):
    """CPU of a process and of all its children, those too that have ended."""
    fields = _stat(pid)
    total = sum(map(int, fields[11:15])) * _TICK_S
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            total += tree_cpu_s(child)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended, and is counted with its parent from the next look on
    return total


def peak_mib(process):
    """The most memory that a running process was resident with."""
    return int(re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)[1]) / 1024


def watch(process, timeout_s=3600):
    """Until a process of ours has ended, which is then still to be waited for; its peak memory in MiB."""
    peak, ended = 0.0, os.pidfd_open(process.pid)
    deadline = time.monotonic() + timeout_s
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        while not poll.poll(100):
            if time.monotonic() > deadline:
                raise AssertionError(f"still runs after {timeout_s} s: {process!r}")
            try:
                peak = max(peak, peak_mib(process))
            except (FileNotFoundError, TypeError):
                pass  # it has just ended
    finally:
        os.close(ended)
    return peak


class Meter:
    """From its making to stop(): seconds, cpu {process: seconds}, wal (bytes), peak {process: MiB}.

    db: the database whose server works. processes: by what they are called, those that run before and after. redis: a Redis just started.
    """

    def __init__(self, db, processes=None, redis=None):
        self.db, self.processes, self.redis = db, processes or {}, redis
        if redis:
            self.redis_empty = redis.client().info("memory")["used_memory"]
            self.redis_pid = redis.process.pid
        self.cpu, self.peak = {}, {}
        self.before, self.wal_before = self._cpu(), self._wal()
        self.begun = time.monotonic()

    def _wal(self):
        return self.db.server.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0]

    def _cpu(self):
        now = {"PostgreSQL": tree_cpu_s(self.db.server.process.pid)}
        if self.redis:
            now["Redis"] = cpu_s(self.redis_pid)
        return now | {name: cpu_s(process.pid) for name, process in self.processes.items()}

    def run(self, name, process):
        """Until this process, started just now, has ended. It is the last part of the work."""
        self.peak[name] = watch(process)
        self.seconds = time.monotonic() - self.begun
        self.cpu[name] = cpu_s(process.pid)
        return self.stop()

    def stop(self):
        self.seconds = getattr(self, "seconds", None) or time.monotonic() - self.begun
        after = self._cpu()
        self.cpu.update({name: after[name] - self.before[name] for name in after})
        self.wal = float(self._wal() - self.wal_before)
        self.peak.update({name: peak_mib(process) for name, process in self.processes.items()})
        if self.redis:
            self.peak["Redis"] = (self.redis.client().info("memory")["used_memory_peak"] - self.redis_empty) / _MIB
        return self
