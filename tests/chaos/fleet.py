"""The programs of a round, and their supervisor: who ends is started again, as containers are; who spins or grows is found out."""

import os
import signal
import time

from lib.process import command_line, is_stopped, marked_processes

SPUN = 0.8, 4.0  # of one core, for so many seconds
RESIDENT_KIB = 400_000  # with AddressSanitizer's own


class Fleet:
    """result: the exit status of the producer that was through, once one was. reached: fail points at which a program died."""

    def __init__(self, programs, draw, path, lease_s, say):
        self.programs, self.draw, self.path, self.lease_s, self.say = programs, draw, path, lease_s, say
        self.workers, self.producer, self.result = [], None, None
        self.reached = []
        self.stopped = {}  # process -> since when it lies at its fail point
        self.used = {}  # process -> [(when, its CPU seconds)]

    def start(self):
        *workers, producer = self.draw.first_points
        self.start_producer(producer)
        if self.draw.launcher == "produce":
            self.workers = [self._worker(point) for point in workers]

    def start_producer(self, fail_point=None):
        command = {"produce": ["produce", self.path, "--wait", "--max-backlog", self.draw.max_backlog],
                   "run": ["run", self.path, "--workers", self.draw.workers, "--concurrency", self.draw.lanes,
                           "--max-backlog", self.draw.max_backlog]}
        self.producer = self._start("drover", command[self.draw.launcher], fail_point)
        self.result = None

    def _worker(self, fail_point=None):
        return self._start("drover-worker", ["--concurrency", self.draw.lanes], fail_point)

    def _start(self, program, args, fail_point):
        env = {"DROVER_FAILPOINT": fail_point, "DROVER_LEASE": f"{self.lease_s}s"}
        process = self.programs.popen(*args, program=program, env=env)
        process.fail_point, process.begun = fail_point, time.monotonic()
        return process

    # --- what faults do to it ---

    def worker_pids(self):
        """Also of those that `drover run` has started."""
        return [pid for pid in marked_processes(self.programs.marker) if command_line(pid).split(" ")[0].endswith("drover-worker")]

    def restart_worker(self, rng, fail_point):
        i = rng.randrange(len(self.workers))
        self.workers[i].kill()
        self.workers[i] = self._worker(fail_point)
        return self.workers[i]

    def restart_producer(self, _, fail_point):
        self.producer.kill()
        self.start_producer(fail_point)
        return self.producer

    @staticmethod
    def wake(pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    # --- what its supervisor does ---

    def supervise(self):
        self._wake_zombies()
        for i, worker in enumerate(self.workers):
            if not worker.running:
                assert worker.popen.returncode == -signal.SIGKILL, f"a worker gave up: {worker!r}"
                self._died(worker)
                self.workers[i] = self._worker()
        if not self.producer.running and self.result is None and time.monotonic() > self.producer.begun + 0.5:
            self._producer_ended(self.producer.popen.returncode)

    def _wake_zombies(self):
        """Who stopped at a fail point sleeps for longer than a lease."""
        for process in [*self.workers, self.producer]:
            if process.fail_point and "=stop@" in process.fail_point and process.running and is_stopped(process.pid):
                since = self.stopped.setdefault(process, time.monotonic())
                if time.monotonic() - since > 1.5 * self.lease_s:
                    self.reached.append(process.fail_point.partition("@")[0])
                    process.fail_point = None
                    self.wake(process.pid)

    def _producer_ended(self, status):
        self.say(f"the producer ended with {status}")
        if status in (0, 4):
            self.result = status
            return
        excused = status == 1 and "paused" in self.producer.err[-2000:]
        assert status in (-signal.SIGKILL, 3) or excused, f"the producer gave up: {self.producer!r}"
        self._died(self.producer)
        self.start_producer()

    def _died(self, process):
        if process.fail_point:
            self.reached.append(process.fail_point.partition("@")[0])

    def look(self):
        for process in [p for p in self.programs.processes if p.running]:
            try:
                cpu_s, resident = process.cpu_s(), process.resident_kib()
            except (OSError, TypeError):
                continue  # it has just ended
            now, (share, period_s) = time.monotonic(), SPUN
            samples = self.used[process] = [s for s in self.used.get(process, []) if s[0] > now - period_s - 1] + [(now, cpu_s)]
            since, before = samples[0]
            spun = now - since >= period_s and cpu_s - before >= share * (now - since)
            assert not spun, f"it spins, {cpu_s - before:.1f} s of {now - since:.1f}: {process!r}"
            assert resident < RESIDENT_KIB, f"{resident} KiB resident: {process!r}"
