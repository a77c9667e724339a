"""What a figure was measured on: it means little without."""

import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from lib.drover import binaries
from lib.postgres import newest_bindir


def _first(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else "?"


def _output(*argv):
    return subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, text=True, check=True).stdout


def fdatasync_ms(times=200):
    """Median time of a write of 8 kB with fdatasync where the servers keep their data."""
    took = []
    with tempfile.TemporaryFile(dir="/tmp", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return 1000 * statistics.median(took)


def facts():
    """Lines."""
    memory = int(_first(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text()))
    system = _first(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text())
    return [
        f"{os.cpu_count()} cores, {_first(r'^model name.*: (.*)', Path('/proc/cpuinfo').read_text())}, {memory / 1024 ** 2:.0f} GiB of memory",
        f"{system}, Linux {os.uname().release}",
        f"PostgreSQL {_first(r'([0-9.]+)', _output(newest_bindir() / 'postgres', '--version'))}, "
        f"Redis {_first(r'v=([0-9.]+)', _output('redis-server', '--version'))}, {_output(binaries() / 'drover', '--version').strip()}",
        f"a write of 8 kB with fdatasync: {fdatasync_ms():.2f} ms",
    ]
