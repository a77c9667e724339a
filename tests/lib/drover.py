"""Drover's two programs as a test starts them, and what is checked of every one of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from lib.process import MARKER, PATIENCE_S, command_line, kill_group, marked_processes, spawn, temporary_directory, wait_for

# What a sanitizer's end looks like, unlike an exit status of Drover.
SANITIZER_EXIT = 99
_SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|SUMMARY: \w*Sanitizer")


def binaries():
    """Where the programs are: DROVER_BIN, or the tree's own build."""
    root = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("DROVER_BIN") or root / "build/test/bin")


class Result:
    """A program that has ended."""

    def __init__(self, argv, rc, out, err):
        self.argv, self.rc, self.out, self.err = argv, rc, out, err

    def __repr__(self):
        return f"{' '.join(map(str, self.argv))}: exit status {self.rc}\nstdout: {self.out}\nstderr: {self.err}"

    @property
    def json(self):
        return json.loads(self.out)


class Process:
    """A program that runs, its output kept in files."""

    def __init__(self, argv, env, directory, name):
        self.argv = argv
        self.out_path = directory / f"{name}.out"
        self.err_path = directory / f"{name}.err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.popen = spawn(argv, env=env, stdout=out, stderr=err, cwd=directory)
        self.pid = self.popen.pid

    def __repr__(self):
        return f"{' '.join(map(str, self.argv))} (pid {self.pid}, status {self.popen.poll()})\nstderr ends: {self.err[-3000:]}"

    @property
    def out(self):
        return self.out_path.read_text(errors="replace")

    @property
    def err(self):
        return self.err_path.read_text(errors="replace")

    @property
    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def terminate(self):
        self.signal(signal.SIGTERM)

    def kill(self):
        """-9, and wait."""
        self.popen.kill()
        self.popen.wait()

    def wait(self, timeout_s=PATIENCE_S, rc=0):
        """Until it ends; it must end with this status (None: any). Returns a Result."""
        try:
            status = self.popen.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout_s} s: {self!r}") from None
        result = Result(self.argv, status, self.out, self.err)
        assert rc is None or status == rc, f"wanted exit status {rc}: {result!r}"
        return result

    def wait_for_log(self, pattern, timeout_s=PATIENCE_S, count=1):
        """Until a regular expression stands in its stderr `count` times; the last match."""

        def found():
            matches = list(re.finditer(pattern, self.err, re.MULTILINE))
            if len(matches) >= count:
                return matches[count - 1]
            assert self.running, f"ended before it logged {pattern!r}: {self!r}"
            return None

        return wait_for(found, lambda: f"log {pattern!r} of {self!r}", timeout_s)

    def resident_kib(self):
        return int(re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)[1])

    def cpu_s(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Drover:
    """Runs the programs against one database and one Redis (either may be None: unset).

    env may be changed by a test, for all that it starts afterwards. close() stops what still runs and then checks that
    all ended in order, that no sanitizer spoke up and that nothing was left behind.
    """

    def __init__(self, database_url=None, redis_url=None, bindir=None):
        self.bindir = Path(bindir or binaries())
        self.dir = temporary_directory("run")
        self.marker = uuid.uuid4().hex
        self.processes = []
        sanitizer = f"log_path={self.dir}/sanitizer:exitcode={SANITIZER_EXIT}"
        self.env = {
            "PATH": f"{self.bindir}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.dir),
            "TMPDIR": str(self.dir),
            "LANG": "C.UTF-8",
            "ASAN_OPTIONS": f"{sanitizer}:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": f"{sanitizer}:print_stacktrace=1",
            MARKER: self.marker,
        }
        if database_url:
            self.env["DATABASE_URL"] = database_url
        if redis_url:
            self.env["REDIS_URL"] = redis_url

    def migration(self, name, text):
        """Write a migration file NAME.sql; its path."""
        path = self.dir / f"{name}.sql"
        path.write_text(text)
        return path

    # --- starting ---

    def _env(self, changes):
        env = {**self.env, **(changes or {})}
        return {name: str(value) for name, value in env.items() if value is not None}

    def popen(self, *args, program="drover", env=None):
        """Start the console with these arguments; a Process. env: changes, None takes a variable out."""
        process = Process([self.bindir / program, *args], self._env(env), self.dir, f"{program}-{len(self.processes)}")
        self.processes.append(process)
        return process

    def run(self, *args, rc=0, env=None, input=None, timeout_s=2 * PATIENCE_S, program="drover"):
        """Run the console to its end; a Result. It must end with status rc (None: any)."""
        argv = [self.bindir / program, *map(str, args)]
        process = spawn(argv, env=self._env(env), cwd=self.dir, text=True, errors="replace", stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        try:
            out, err = process.communicate(input, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            out, err = process.communicate()
            raise AssertionError(f"still ran after {timeout_s} s: {Result(argv, None, out, err)!r}") from None
        result = Result(argv, process.returncode, out, err)
        self._check_output(result.argv, result.err)
        assert rc is None or result.rc == rc, f"wanted exit status {rc}: {result!r}\n{self._sanitizer_reports()}"
        return result

    def worker(self, *args, env=None):
        """Start drover-worker; a Process."""
        return self.popen(*args, program="drover-worker", env=env)

    def run_worker(self, *args, **kwargs):
        """Run drover-worker to its end, as with --stop-when-empty or --once."""
        return self.run(*args, program="drover-worker", **kwargs)

    # --- ending ---

    def stop_all(self, timeout_s=PATIENCE_S):
        """TERM to all that still run; each must end by itself with a status that says so."""
        running = [p for p in self.processes if p.running]
        for process in running:
            process.signal(signal.SIGCONT)
            process.terminate()
        for process in running:
            process.wait(timeout_s, rc=None)
            assert process.popen.returncode in (0, 130, -signal.SIGTERM), f"did not drain: {process!r}"

    def close(self, timeout_s=10, keep=None):
        """keep: a folder for copies of the logs."""
        try:
            self.stop_all()
            for process in self.processes:
                self._check_output(process.argv, process.err)
            reports = self._sanitizer_reports()
            assert not reports, reports
            wait_for(lambda: not marked_processes(self.marker), self._left_behind, timeout_s)
        finally:
            for process in self.processes:
                if process.running:
                    kill_group(process.popen)
            for pid in marked_processes(self.marker):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for log in [path for path in self.dir.iterdir() if keep and path.is_file()]:
                shutil.copy(log, keep)
            shutil.rmtree(self.dir, ignore_errors=True)

    def _left_behind(self):
        return "no process is left behind: " + "; ".join(f"{pid} {command_line(pid)}" for pid in marked_processes(self.marker))

    def _sanitizer_reports(self):
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.dir.glob("sanitizer.*")))

    @staticmethod
    def _check_output(argv, text):
        assert not _SANITIZER.search(text), f"{argv}: {text}"
