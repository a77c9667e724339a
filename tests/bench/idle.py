"""CPU that a worker with nothing to do takes."""

import time

from lib.drover import Drover
from lib.redis_server import Redis

from kit import database


def options(add):
    add("--idle-seconds", type=int, default=60, help="how long to look at it")


def run(report, args):
    with database() as db, Redis() as redis:
        drover = Drover(db.url, redis.url)
        try:
            drover.run("init")
            worker = drover.worker("--concurrency", "4")
            worker.wait_for_log("worker")
            time.sleep(2)
            before = worker.cpu_s()
            time.sleep(args.idle_seconds)
            report.line(f"idle worker, CPU over {args.idle_seconds} s", 100 * (worker.cpu_s() - before) / args.idle_seconds, "%", 0.5)
        finally:
            drover.close()
