"""A batch of a thousand rows with poison among them: exactly the poison rows become dead letters, the others commit."""

import random

import pytest

from lib.scenario import dead, finish, state

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
    "backfill": "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = s::int, n = n + 1 FROM :batch x WHERE x.id = t.id;\n",
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
