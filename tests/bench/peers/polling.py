"""Workers that poll a table of batches, as many a team has written it."""

import sys
import time

from common import UPDATE, connect, pages

TABLE = """
CREATE TABLE task_batches (id bigserial PRIMARY KEY, ids bigint[] NOT NULL, status text NOT NULL DEFAULT 'pending', attempts int NOT NULL DEFAULT 0,
                           started_at timestamptz, completed_at timestamptz);
CREATE INDEX ON task_batches (id) WHERE status = 'pending';
"""
CLAIM = """
UPDATE task_batches SET status = 'running', attempts = attempts + 1, started_at = now()
 WHERE id = (SELECT id FROM task_batches WHERE status = 'pending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, ids
"""
DONE = "UPDATE task_batches SET status = 'done', completed_at = now() WHERE id = %s"


def setup():
    connect().execute(TABLE, prepare=False)


def produce():
    with connect() as conn:
        for page in pages():
            with conn.cursor().copy("COPY task_batches (ids) FROM STDIN") as copy:
                for ids in page:
                    copy.write_row([ids])


def work():
    with connect() as conn:
        print("ready", file=sys.stderr, flush=True)
        while True:
            claimed = conn.execute(CLAIM).fetchone()
            if claimed is None:
                time.sleep(0.1)
                continue
            batch, ids = claimed
            with conn.transaction():
                conn.execute(UPDATE, [ids])
                conn.execute(DONE, [batch])


{"setup": setup, "produce": produce, "work": work}[sys.argv[1]]()
