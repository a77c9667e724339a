"""What the Python programs share: the keys, and a job's work."""

import os

import psycopg

IDS_PER_JOB = int(os.environ["IDS_PER_JOB"])
_KEYS = f"SELECT id FROM user_preferences WHERE id > %s AND id <= {os.environ['LAST_ID']} AND {os.environ['PENDING']} ORDER BY id LIMIT 10000"
UPDATE = f"{os.environ['UPDATE']} AND id = ANY (%s)"


def connect():
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=1)


def pages():
    """The ids of so many jobs at a time, each a list of lists."""
    last, left = 0, []
    with connect() as conn:
        while rows := conn.execute(_KEYS, [last]).fetchall():
            last = rows[-1][0]
            left += [row[0] for row in rows]
            whole = len(left) - len(left) % IDS_PER_JOB
            yield [left[i:i + IDS_PER_JOB] for i in range(0, whole, IDS_PER_JOB)]
            left = left[whole:]
    if left:
        yield [left]
