"""What the benches share: servers set up as in production, a table of people, the report."""

import contextlib
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

from lib.postgres import Postgres

SERVER = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "1GB", "max_wal_size": "8GB"}
SET_FILE = "-- drover: table people\n-- drover: set first_name = split_part(full_name, ' ', 1)\n"
ROW_FILE = SET_FILE + "-- drover: mode row\n"
LEFT = "SELECT count(*) FROM people WHERE first_name IS DISTINCT FROM split_part(full_name, ' ', 1)"
MIB = 1024 * 1024
_TABLE = """
DROP TABLE IF EXISTS people;
CREATE TABLE people (id bigint PRIMARY KEY, full_name text, first_name text, n bigint);
INSERT INTO people SELECT g, 'Name' || g || ' Surname', NULL, 0 FROM generate_series(1, {rows}) g;
"""


def settle(db, table):
    for statement in (f"VACUUM (FREEZE, ANALYZE) {table}", "CHECKPOINT"):
        db.sql(statement)


def fill(db, rows):
    """people, with `rows` rows that are not migrated."""
    db.sql(_TABLE.format(rows=rows))
    settle(db, "people")


@contextlib.contextmanager
def database(settings=None):
    """An empty database in a server of its own."""
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as shared:
        os.chmod(shared, 0o755)
        os.environ["DROVER_TEST_TMP"] = shared
        with Postgres({**SERVER, **(settings or {})}) as server:
            yield server.database()


class Report:
    """Prints figures as they come, each with the bar it is held against."""

    def __init__(self):
        self.missed = 0

    def head(self, text):
        print(f"\n{text}", flush=True)

    def line(self, what, figure, unit, bar=None, under=True):
        verdict = ""
        if bar is not None:
            met = figure < bar if under else figure >= bar
            self.missed += not met
            verdict = f"{'under' if under else 'at least'} {bar:g} {unit}: {'yes' if met else 'NO'}"
        print(f"{what:<58}{figure:>12,.2f} {unit:<8}{verdict}", flush=True)


def middle(figures, digits=2):
    """Median and spread of some figures: "1.20 (1.10 to 1.90)"."""
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f} to {max(figures):.{digits}f})"


def timed(work):
    """Seconds that a call takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def peak_mib(process):
    """The most memory that a running process was resident with."""
    return int(re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)[1]) / 1024
