"""Workers and producers that die, or stop and wake up as zombies."""

import os
import signal

from chaos import points
from chaos.faults.registry import fault
from lib.process import is_stopped


@fault("worker")
def worker_killed(r, rng):
    os.kill(rng.choice(r.fleet.worker_pids()), signal.SIGKILL)
    yield 0


@fault("worker")
def all_workers_killed(r, _):
    for pid in r.fleet.worker_pids():
        os.kill(pid, signal.SIGKILL)
    yield 0


@fault("worker")
def worker_stopped_beyond_its_lease(r, rng):
    pid = rng.choice(r.fleet.worker_pids())
    os.kill(pid, signal.SIGSTOP)
    yield r.lease_s * rng.uniform(1.2, 2)
    r.fleet.wake(pid)


@fault("producer")
def producer_killed(r, _):
    r.fleet.producer.kill()
    yield 0


@fault("producer")
def producer_stopped(r, rng):
    r.fleet.producer.signal(signal.SIGSTOP)
    yield rng.uniform(1, 6)
    r.fleet.wake(r.fleet.producer.pid)


@fault("worker")
def worker_fail_point(r, rng):
    """A worker that will die, or stop for longer than a lease, at a point of a job's life."""
    if r.draw.launcher == "run":  # its workers have its environment, and would die again and again
        yield from worker_killed(r, rng)
    else:
        yield from _fail_point(r, rng, points.WORKERS, r.fleet.restart_worker)


@fault("producer")
def producer_fail_point(r, rng):
    yield from _fail_point(r, rng, points.of_producer(r.draw.launcher), r.fleet.restart_producer)


def _fail_point(r, rng, prefixes, restart):
    point = points.draw(rng, prefixes, ["kill", "kill", "stop"])
    r.say(point)
    process = restart(rng, point)
    yield lambda: not process.running or is_stopped(process.pid)  # its supervisor does the rest
