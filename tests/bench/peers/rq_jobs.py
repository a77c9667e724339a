"""RQ: a work horse is forked for each job, so a connection lasts as long as a job."""

import os
import sys

import redis
from rq import Queue, Worker

from common import UPDATE, connect, pages


def migrate(ids):
    with connect() as conn:
        conn.execute(UPDATE, [ids])


def produce(queue):
    from rq_jobs import migrate as job  # under the name that workers know it by
    for page in pages():
        queue.enqueue_many([Queue.prepare_data(job, args=(ids,), result_ttl=0, timeout=60) for ids in page])


def work(queue):
    print("ready", file=sys.stderr, flush=True)
    Worker([queue], connection=queue.connection).work(logging_level="WARNING")


if __name__ == "__main__":
    {"setup": lambda queue: None, "produce": produce, "work": work}[sys.argv[1]](
        Queue("migrate", connection=redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])))
