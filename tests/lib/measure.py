"""Runs one command and prints, as JSON: seconds to its first byte of output, seconds in all, bytes, peak resident KiB, exit status.

A program of its own, and a small one: what a process was resident with before exec counts as its own, and a test's Python is large.
"""

import json
import os
import sys
import time


def main():
    read, write = os.pipe()
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 1)
        os.close(read)
        os.close(write)
        os.execv(sys.argv[1], sys.argv[1:])
    os.close(write)
    first, size = None, 0
    while chunk := os.read(read, 1 << 16):
        first = first or time.monotonic() - begun
        size += len(chunk)
    _, status, usage = os.wait4(pid, 0)
    print(json.dumps({"first_s": first, "total_s": time.monotonic() - begun, "bytes": size, "peak_kib": usage.ru_maxrss,
                      "rc": os.waitstatus_to_exitcode(status)}))


main()
