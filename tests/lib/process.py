"""Processes that cannot outlive the tests, and waiting for things to happen."""

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1

# Every process of a test run carries this in its environment, and so do its children, however they detach.
MARKER = "DROVER_TEST_MARKER"

# Generous: the sanitizers and a busy machine make everything slow, and a good test never waits that long.
PATIENCE_S = 60


def temporary_directory(prefix):
    """A short path (Unix sockets hold 107 bytes) that the servers' user can reach."""
    path = Path(tempfile.mkdtemp(prefix=f"drover-{prefix}-", dir=os.environ.get("DROVER_TEST_TMP", "/tmp")))
    path.chmod(0o755)
    return path


def free_port():
    """A TCP port that nobody listens on; somebody else may take it before we do, which start() would report."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def server_user():
    """Whom servers run as: PostgreSQL and PgBouncer refuse root. None: ourselves."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def give_to_server_user(path):
    user = server_user()
    if user:
        os.chown(path, user.pw_uid, user.pw_gid)


def spawn(argv, *, as_server_user=False, death_signal=signal.SIGKILL, **kwargs):
    """Popen in a session of its own; the kernel sends death_signal when the thread that called this ends."""

    def in_child():
        # After the change of user: that clears the setting.
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))

    user = server_user() if as_server_user else None
    if user:
        kwargs.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([str(a) for a in argv], preexec_fn=in_child, start_new_session=True, **kwargs)


def run_as_server_user(argv, **kwargs):
    """Run to its end; an error carries what the program said."""
    user = server_user()
    if user:
        kwargs.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", **kwargs)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} exited with {done.returncode}: {done.stdout}")
    return done.stdout


def kill_group(process):
    """kill -9 to a spawned process and all that it forked, and wait for it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def marked_processes(marker):
    """Pids that run with MARKER=marker in their environment, but for ourselves."""
    wanted = f"{MARKER}={marker}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = Path("/proc", entry, "environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or not ours
        if wanted in environ.split(b"\0") and not is_gone(entry):
            found.append(int(entry))
    return found


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(ended)"


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def is_stopped(pid):
    return _state(pid) == "T"


def is_gone(pid):
    """Or ended, and nobody has waited for it: in a container its adopter may never do so."""
    return _state(pid) in (None, "Z")


def wait_for(predicate, what=None, timeout_s=PATIENCE_S):
    """Poll until predicate() is true and return its value; never sleep a fixed time and hope.

    what: said in the failure, a string or a function that describes the state then.
    Exceptions of the predicate count as false while there is time left.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = 0.005
    while True:
        error = None
        try:
            value = predicate()
            if value:
                return value
        except Exception as e:  # a server that is still away, a table that is not there yet
            value, error = None, e
        if time.monotonic() > deadline:
            said = what() if callable(what) else what or getattr(predicate, "__name__", "the condition")
            raise AssertionError(f"not within {timeout_s} s: {said}; last: {value!r}") from error
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)
