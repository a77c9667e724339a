"""A batch of a thousand rows with poison among them: exactly the poison rows become dead letters, the others commit."""

import random

import pytest

from lib.process import wait_for
from lib.scenario import BY_STEPS, dead, finish, queue, state, stream

ROWS = 1000
DEAD = 4  # exit status: finished, with dead letters

# what makes rows with `bad` fail, and with which SQLSTATE
KINDS = {
    "a conversion": ("UPDATE t SET s = 'x' WHERE bad", "22P02"),
    "a check constraint": ("ALTER TABLE t ADD CHECK (b IS NULL OR NOT bad)", "23514"),
    "a unique constraint": ("ALTER TABLE t ADD UNIQUE (b); INSERT INTO t (id, b) SELECT -id, id FROM t WHERE bad", "23505"),
    "a trigger": ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.bad THEN RAISE 'not %', NEW.id; END IF; "
                  "RETURN NEW; END $$; CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", "P0001"),
}
SET = "-- drover: set b = s::int\n-- drover: set n = n + 1\n"
SECTIONS = {
    "pending": "-- drover: pending b IS NULL\n" + SET,
    "ledger": "-- drover: ledger\n" + SET,
    "backfill": "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = s::int, n = n + 1 FROM :batch x WHERE x.id = t.id" + BY_STEPS,
}
CASES = [(0, "a trigger", "pending"), (1, "a conversion", "pending"), (1, "a check constraint", "ledger"), (1, "a trigger", "backfill"),
         (500, "a check constraint", "ledger"), (500, "a trigger", "backfill"), (1000, "a conversion", "pending"),
         (1000, "a unique constraint", "ledger")]
CASES += [(3, kind, section) for kind in KINDS for section in SECTIONS]


@pytest.mark.parametrize("n, kind, section", CASES)
def test_exactly_the_poison_rows_of_a_batch_become_dead_letters(pg, drover, n, kind, section):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    poison = sorted(random.Random(seed).sample(range(1, ROWS + 1), n))
    before, sqlstate = KINDS[kind]
    pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, s text, b int, n int NOT NULL DEFAULT 0, bad boolean NOT NULL DEFAULT false);
               INSERT INTO t (id, s, bad) SELECT g, g, g = ANY ('{{{','.join(map(str, poison))}}}') FROM generate_series(1, {ROWS}) g; {before}""")
    drover.run("init")
    drover.run("config", "breaker=off")
    path = drover.migration("m", f"-- drover: table t\n-- drover: where id > 0\n-- drover: batch-size {ROWS}\n{SECTIONS[section]}")
    finish(drover, path, worker=["--concurrency", "4"], rc=DEAD if n > 0 else 0)
    assert sorted(int(key[0]) for key in dead(pg, "m")) == poison
    assert pg.value("""SELECT count(*) FROM t WHERE id > 0 AND (n <> (NOT bad)::int OR b IS DISTINCT FROM CASE WHEN NOT bad THEN id END)""") == 0
    assert {row[0] for row in pg.sql("SELECT DISTINCT sqlstate FROM drover.failed_jobs")} == ({sqlstate} if n > 0 else set())
    assert pg.sql("""SELECT count(*) FILTER (WHERE parent IS NULL), sum(rows_changed)::int, sum(rows_failed)::int FROM drover.batches""") == [
        (1, ROWS - n, n)]
    assert pg.value("SELECT count(*) FROM drover.batches WHERE state NOT IN ('done', 'split')") == 0
    assert state(pg, "m")[0] == "complete"


def poison_in_a_batch(pg, drover):
    """One batch of 64 rows, of which the first is poison."""
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, CHECK (n = 0 OR id > 1));
              INSERT INTO t SELECT g FROM generate_series(1, 64) g""")
    return drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: batch-size 64\n-- drover: set n = n + 1\n")


def test_a_lane_rests_between_the_splits_of_a_batch_as_between_others(pg, drover):
    path = poison_in_a_batch(pg, drover)
    drover.run("init")
    drover.run("config", "processing_interval_ms=300")
    finish(drover, path, worker=["--concurrency", "1"], rc=DEAD)
    assert dead(pg, "m") == [["1"]]
    pauses = [row[0] for row in pg.sql("""SELECT extract(epoch FROM completed_at - lag(completed_at) OVER (ORDER BY completed_at))
                                            FROM drover.batches ORDER BY completed_at OFFSET 1""")]
    assert len(pauses) >= 9 and min(pauses) >= 0.3, pauses


def test_a_lane_that_rests_for_long_leaves_the_parts_of_a_batch_to_others(pg, drover, redis):
    path = poison_in_a_batch(pg, drover)
    drover.run("init")
    drover.run("config", "processing_interval_ms=1h")
    queue(drover, path)
    worker = drover.worker("--concurrency", "1")
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches WHERE state = 'split'") == 1, "the batch is split")
    parts = pg.value("SELECT count(*) FROM drover.batches WHERE parent IS NOT NULL")
    wait_for(lambda: redis.client().xlen(stream(pg, "m")) == parts, "each part is a job in Redis")
    drover.run("config", "processing_interval_ms=")
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"it goes on: {state(pg, 'm')}; {worker!r}")
    assert dead(pg, "m") == [["1"]]


@pytest.mark.parametrize("first", [198, 199, 200])
def test_a_row_that_others_made_pending_again_does_not_die_of_its_neighbours_error(pg, drover, first):
    """The ledger may have one row left of a range with two that are pending; 200 rows are the first transaction's."""
    pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g FROM generate_series({first}, 400) g;
               ALTER TABLE t ADD CHECK (id <> 400 OR v IS NULL); UPDATE t SET v = 9 WHERE id = 250""")
    drover.run("init")
    drover.run("config", "throttle=off")
    path = drover.migration("m", "-- drover: table t\n-- drover: set v = 1\n")
    queue(drover, path)
    pg.sql("UPDATE t SET v = NULL WHERE id = 250")
    finish(drover, path, worker=["--concurrency", 1], rc=DEAD)
    assert dead(pg, "m") == [["400"]]
    assert pg.sql("SELECT id FROM t WHERE v IS NULL") == [(400,)]
