"""The size of transactions: learnt from the time that rows take, within a batch that was cut larger."""

import pytest

from lib.process import wait_for
from lib.scenario import PER_TRANSACTION, SLOW, dead, finish, queue, rows_done, state, wait_for_state, workers_die

ROWS = 2000
TABLES = {
    "a number as key": "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, {rows}) g",
    "numbers with gaps": "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g * 3 FROM generate_series(1, {rows}) g",
    "two columns as key": "CREATE TABLE t (a int, b text, n int NOT NULL DEFAULT 0, PRIMARY KEY (a, b)); "
                          "INSERT INTO t SELECT g / 7, 'k' || g, 0 FROM generate_series(1, {rows}) g",
}
FILES = {
    "pending": "-- drover: pending n = 0\n-- drover: set n = n + 1\n",
    "ledger": "-- drover: ledger\n-- drover: set n = n + 1\n",
    "row mode": "-- drover: ledger\n-- drover: mode row\n-- drover: set n = n + 1\n",
}


def table(pg, kind="a number as key", rows=ROWS):
    pg.sql(TABLES[kind].format(rows=rows) + "; " + SLOW)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", TABLES)
def test_slow_rows_are_done_in_short_transactions_each_once(pg, drover, kind, file):
    table(pg, kind)
    drover.run("init")
    drover.run("config", "target_ms=200")
    finish(drover, drover.migration("m", "-- drover: table t\n" + FILES[file]))
    assert pg.sql("SELECT count(*), min(n), max(n) FROM t") == [(ROWS, 1, 1)]
    assert pg.value(PER_TRANSACTION) <= 400
    assert rows_done(pg, "m") == ROWS
    if file != "row mode":
        assert pg.sql("SELECT count(*), sum(rows_changed)::int, sum(rows_skipped)::int FROM drover.batches") == [(1, ROWS, 0)]


def test_a_stretch_that_others_have_done_says_nothing_of_what_rows_take(pg, drover):
    table(pg, rows=6000)
    drover.run("init")
    drover.run("config", "target_ms=200", "throttle=off")
    path = drover.migration("m", "-- drover: table t\n" + FILES["pending"])
    queue(drover, path)
    pg.sql("ALTER TABLE t DISABLE TRIGGER f; UPDATE t SET n = 5 WHERE id BETWEEN 1000 AND 4500; ALTER TABLE t ENABLE TRIGGER f")
    finish(drover, path)
    assert pg.value(PER_TRANSACTION) <= 400
    assert rows_done(pg, "m") == 6000 - 3501
    assert pg.sql("SELECT sum(rows_changed)::int, sum(rows_skipped)::int FROM drover.batches") == [(6000 - 3501, 3501)]


def test_a_size_that_was_set_is_kept(pg, drover):
    table(pg)
    drover.run("init")
    drover.run("config", "target_ms=50")
    finish(drover, drover.migration("m", "-- drover: table t\n-- drover: batch-size 500\n" + FILES["pending"]))
    assert pg.value(PER_TRANSACTION) == 500


def test_a_size_that_was_asked_for_is_kept_by_an_amendment(pg, drover):
    table(pg)
    drover.run("init")
    drover.run("config", "target_ms=50")
    text = "-- drover: table t\n" + FILES["pending"]
    queue(drover, drover.migration("m", text), produce=["--batch-size", "500"])
    drover.run("pause", "m")
    path = drover.migration("m", text + "\n-- mended\n")
    drover.run("amend", "m", path)
    drover.run("resume", "m")
    finish(drover, path)
    assert pg.sql("SELECT count(*)::int, n FROM t GROUP BY n, xmin::text") == [(500, 1)] * (ROWS // 500)


def test_a_size_that_a_later_producer_sets_is_kept(pg, drover):
    table(pg)
    drover.run("init")
    drover.run("config", "target_ms=50")
    path = drover.migration("m", "-- drover: table t\n" + FILES["pending"])
    queue(drover, path, produce=["--limit", "500"])
    queue(drover, path, produce=["--batch-size", "500"])
    finish(drover, path)
    assert pg.sql("SELECT count(*)::int, n FROM t GROUP BY n, xmin::text") == [(500, 1)] * (ROWS // 500)


@pytest.mark.parametrize("file", ["pending", "ledger"])
def test_a_poison_row_in_the_middle_of_slices_is_the_only_one_dead(pg, drover, file):
    table(pg, "numbers with gaps")
    pg.sql("ALTER TABLE t ADD CHECK (id <> 1500 OR n = 0)")
    drover.run("init")
    finish(drover, drover.migration("m", "-- drover: table t\n" + FILES[file]), rc=4)
    assert dead(pg, "m") == [["1500"]]
    assert pg.sql("SELECT count(*) FROM t WHERE n <> (id <> 1500)::int") == [(0,)]
    assert rows_done(pg, "m") == ROWS - 1


def test_what_slices_have_done_speaks_for_the_rest_of_their_batch(pg, drover):
    """Twenty rows of a batch failed alike and none of it succeeded: that is not so, a slice of it did."""
    first, bad = 200, 30
    table(pg, rows=first + bad)
    pg.sql(f"ALTER TABLE t ADD CHECK (id <= {first} OR n = 0)")
    drover.run("init")
    finish(drover, drover.migration("m", "-- drover: table t\n" + FILES["pending"]), worker=["--concurrency", 1], rc=4)
    assert len(dead(pg, "m")) == bad and state(pg, "m")[0] == "complete"
    assert pg.sql("SELECT sum(rows_changed)::int, sum(rows_failed)::int FROM drover.batches") == [(first, bad)]


@pytest.mark.parametrize("file", ["pending", "ledger"])
def test_workers_that_die_in_the_middle_of_slices_lose_and_double_nothing(pg, drover, file):
    table(pg, "numbers with gaps", 4 * ROWS)
    drover.run("init")
    path = drover.migration("m", "-- drover: table t\n" + FILES[file])
    queue(drover, path)
    workers_die(pg, drover, 3)
    finish(drover, "m", worker=["--lease", "3s"])
    assert pg.sql("SELECT count(*), min(n), max(n) FROM t") == [(4 * ROWS, 1, 1)]
    assert rows_done(pg, "m") == 4 * ROWS


def test_a_pause_takes_hold_between_slices(pg, drover):
    table(pg, rows=1000)
    drover.run("init")
    queue(drover, drover.migration("m", "-- drover: table t\n" + FILES["ledger"]))
    drover.run("config", "m", "processing_interval_ms=200")
    drover.worker()
    wait_for(lambda: rows_done(pg, "m") > 0, "the first slice is done")
    drover.run("pause", "m")
    assert rows_done(pg, "m") < 1000
    drover.run("config", "m", "processing_interval_ms=")
    drover.run("resume", "m")
    wait_for(lambda: state(pg, "m")[0] == "complete", "it is complete")
    assert pg.sql("SELECT count(*), min(n), max(n) FROM t") == [(1000, 1, 1)]


@pytest.mark.parametrize("file", ["pending", "ledger"])
def test_an_amendment_between_slices_is_for_the_rows_that_are_left(pg, drover, file):
    table(pg, rows=4 * ROWS)
    drover.run("init")
    text = "-- drover: table t\n" + FILES[file]
    queue(drover, drover.migration("m", text))
    drover.worker()
    wait_for(lambda: rows_done(pg, "m") > 0, "the first slice is done")
    drover.run("pause", "m")
    drover.run("amend", "m", drover.migration("m", text.replace("n + 1", "n + 100")))  # waits for the slice that is being done
    done = rows_done(pg, "m")
    assert done < 4 * ROWS
    drover.run("resume", "m")
    wait_for_state(pg, "m", "complete")
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY n ORDER BY n") == [(1, done), (100, 4 * ROWS - done)]
    assert rows_done(pg, "m") == 4 * ROWS


@pytest.mark.parametrize("file", ["pending", "ledger"])
def test_settings_that_change_between_slices_neither_lose_nor_double(pg, drover, file):
    table(pg, rows=4 * ROWS)
    drover.run("init")
    queue(drover, drover.migration("m", "-- drover: table t\n" + FILES[file]))
    drover.worker()
    for assignment in ["target_ms=50", "batch_size=100", "throttle=off", "synchronous_commit=on", "batch_size=", "target_ms=20", "tries=1"]:
        done = rows_done(pg, "m")
        drover.run("config", "m", assignment)
        wait_for(lambda: rows_done(pg, "m") > done or state(pg, "m")[0] == "complete", f"slices go on with {assignment}")
    wait_for_state(pg, "m", "complete")
    assert pg.sql("SELECT count(*), min(n), max(n) FROM t") == [(4 * ROWS, 1, 1)]
    assert rows_done(pg, "m") == 4 * ROWS
