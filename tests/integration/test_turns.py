"""Large ranges are done by turns, every other row first, so that what follows finds room in the same pages."""

import pytest

from lib.process import wait_for
from lib.scenario import BY_STEPS, PER_TRANSACTION, SLOW, dead, finish, queue, rows_done, state, wait_for_state, workers_die

ROWS, SIZE = 4000, 200
FILE = "-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n"
TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, v text NOT NULL DEFAULT repeat('x', 200)); "
NUMBERS = {"numbers": "g", "numbers with gaps": "g * 3", "even numbers": "g * 2", "numbers below zero": "-g"}


def cut(pg, drover, size, rows, numbers="g"):
    """Batches as the scan cuts them where transactions should have so many rows."""
    pg.sql(f"{TABLE} INSERT INTO t SELECT {numbers} FROM generate_series(1, {rows}) g")
    drover.run("init")
    drover.run("config", "throttle=off")
    queue(drover, drover.migration("m", FILE), produce=["--batch-size", size])


def queued(pg, drover, numbers="g", rows=ROWS, size=SIZE):
    """Batches of many times the rows that a transaction should have."""
    pg.sql(f"{TABLE} INSERT INTO t SELECT {numbers} FROM generate_series(1, {rows}) g; {SLOW}")
    drover.run("init")
    queue(drover, drover.migration("m", FILE))
    drover.run("config", f"batch_size={size}")
    assert pg.value("SELECT min(rows) FROM drover.batches") > 4 * size


def assert_each_was_changed_once(pg, rows=ROWS):
    assert pg.sql("SELECT count(*), min(n), max(n) FROM t") == [(rows, 1, 1)]
    assert rows_done(pg, "m") == rows
    assert pg.sql("SELECT sum(rows_changed)::int, sum(rows_skipped)::int FROM drover.batches WHERE state <> 'split'") == [(rows, 0)]


def test_rows_that_are_done_later_find_room_where_others_were(pg, drover):
    rows, size = 100_000, 2000
    cut(pg, drover, size, rows)
    finish(drover, "m", worker=["--concurrency", 1])
    assert_each_was_changed_once(pg, rows)
    assert pg.value("SELECT count(*) FROM drover.batches") < rows // size  # batches of several transactions each ...
    assert pg.value(PER_TRANSACTION) <= size  # ... none of which has more rows than it should
    seen = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 't'"
    wait_for(lambda: pg.sql(seen)[0][0] == rows, "the server has counted them")
    assert pg.sql(seen)[0][1] > rows / 4


@pytest.mark.parametrize("numbers", ["g + g / 300", "9223372036854775807 - g"])
def test_numbers_nearly_without_gaps(pg, drover, numbers):
    """What is missing counts as skipped; the last numbers there are have none to leap to."""
    rows, size = 100_000, 2000
    pg.sql(TABLE.replace("int", "bigint", 1))
    pg.sql(f"INSERT INTO t SELECT {numbers} FROM generate_series(0, {rows - 1}) g")
    drover.run("init")
    drover.run("config", "throttle=off")
    path = drover.migration("m", FILE)
    finish(drover, path, produce=["--batch-size", size])
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, rows)]
    assert rows_done(pg, "m") == rows
    found, scanned = pg.sql("SELECT rows_found, rows_scanned FROM drover.migrations")[0]
    assert found == scanned and rows <= found <= rows + rows / 200
    assert (found > rows) == ("/" in numbers)


@pytest.mark.parametrize("numbers", NUMBERS)
def test_a_range_is_done_by_short_transactions_each_row_once(pg, drover, numbers):
    queued(pg, drover, NUMBERS[numbers])
    finish(drover, "m")
    assert_each_was_changed_once(pg)
    assert pg.value(PER_TRANSACTION) <= SIZE * (2 if numbers == "even numbers" else 1)  # the first turns have all of them


@pytest.mark.parametrize("numbers", NUMBERS)
def test_workers_that_die_between_turns_lose_and_double_nothing(pg, drover, numbers):
    queued(pg, drover, NUMBERS[numbers])
    workers_die(pg, drover, 2)
    finish(drover, "m", worker=["--lease", "3s"])
    assert_each_was_changed_once(pg)


@pytest.mark.parametrize("row", [1500, 1501])
def test_a_poison_row_of_any_turn_is_the_only_one_dead(pg, drover, row):
    queued(pg, drover)
    pg.sql(f"ALTER TABLE t ADD CHECK (id <> {row} OR n = 0)")
    finish(drover, "m", rc=4)
    assert dead(pg, "m") == [[str(row)]]
    assert pg.sql(f"SELECT count(*) FROM t WHERE n <> (id <> {row})::int") == [(0,)]
    assert rows_done(pg, "m") == ROWS - 1


def test_a_transform_that_does_not_converge_is_seen_in_the_first_turn(pg, drover):
    queued(pg, drover)
    pg.sql("DROP TRIGGER f ON t; CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := 0; RETURN NEW; END $$;"
           "CREATE TRIGGER undo BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION undo()")
    drover.worker()
    wait_for_state(pg, "m", "paused")
    assert "DR005" in state(pg, "m")[1] and rows_done(pg, "m") == 0


def test_what_the_application_writes_between_turns_is_migrated_too(pg, drover):
    """A row that is put back after its turn, and new ones in parts that are done."""
    queued(pg, drover, "g * 3")
    drover.run("config", "m", "processing_interval_ms=100")
    drover.worker()
    wait_for(lambda: rows_done(pg, "m") > 0, "the first turn is done")
    pg.sql("UPDATE t SET n = 0 WHERE id % 10 = 0 AND n = 1; INSERT INTO t SELECT g * 3 + 1 FROM generate_series(1, 300) g")
    drover.run("config", "m", "processing_interval_ms=")
    finish(drover, "m")
    assert pg.sql("SELECT count(*), min(n), max(n) FROM t") == [(ROWS + 300, 1, 1)]


def test_sizes_that_change_between_turns_neither_lose_nor_double(pg, drover):
    queued(pg, drover, rows=2 * ROWS, size=100)
    drover.worker()
    for assignment in ["batch_size=1000", "target_ms=20", "batch_size=", "batch_size=1", "batch_size=300", "throttle=off"]:
        done = rows_done(pg, "m")
        drover.run("config", "m", assignment)
        wait_for(lambda: rows_done(pg, "m") > done or state(pg, "m")[0] == "complete", f"turns go on with {assignment}")
    wait_for_state(pg, "m", "complete")
    assert_each_was_changed_once(pg, 2 * ROWS)


def test_keys_that_lie_unevenly_make_no_long_transactions(pg, drover):
    """Sequences jump: the last keys of what would be a large range are far away from the others."""
    rows, size = 60_000, 2000
    cut(pg, drover, size, rows, "g + (g > 31900)::int * 500000000")
    assert pg.value("SELECT max(rows) FROM drover.batches") == 8 * size
    finish(drover, "m")
    assert_each_was_changed_once(pg, rows)
    assert pg.value(PER_TRANSACTION) <= size


def test_ranges_that_were_cut_for_turns_are_done_by_turns_after_an_amendment_too(pg, drover):
    rows, size = 60_000, 2000
    cut(pg, drover, size, rows)
    drover.run("pause", "m")
    path = drover.migration("m", "-- drover: table t\n-- drover: pending n = 0\n-- drover: backfill\nUPDATE t SET n = n + 1 FROM :batch AS b WHERE t.id = b.id" + BY_STEPS)
    drover.run("amend", "m", path)
    drover.run("resume", "m")
    finish(drover, "m")
    assert_each_was_changed_once(pg, rows)
    assert pg.value(PER_TRANSACTION) <= size
