"""Celery: prefork, late acknowledgement, results ignored; a connection for each child, kept."""

import os
import sys

from celery import Celery
from celery.signals import worker_ready

from common import UPDATE, connect, pages

app = Celery("celery_jobs", broker=f"redis+socket://{os.environ['REDIS_SOCKET']}")
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=16, worker_send_task_events=False)
_connection = None


@app.task(name="migrate")
def migrate(ids):
    global _connection
    _connection = _connection or connect()
    _connection.execute(UPDATE, [ids])


@worker_ready.connect
def say(**_):
    print("ready", file=sys.stderr, flush=True)


def produce():
    with app.producer_pool.acquire(block=True) as producer:
        for page in pages():
            for ids in page:
                migrate.apply_async((ids,), producer=producer)


if __name__ == "__main__":
    if sys.argv[1] == "produce":
        produce()
    elif sys.argv[1] == "work":
        app.worker_main(["worker", "--loglevel=WARNING", "--pool=prefork", f"--hostname={os.getpid()}@%h", "--without-gossip", "--without-mingle"])
