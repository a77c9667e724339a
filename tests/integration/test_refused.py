"""What must be refused: a migration that is wrong as a whole stops soon, with one clear reason; what does not hold is rolled back."""

import re
import time

import pytest

from lib.scenario import dead, finish, queue, state, wait_for_state

MODES = ["batch", "row"]
ROWS = 100_000


def table(pg, rows=ROWS, more=""):
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int); INSERT INTO t SELECT g, g FROM generate_series(1, {rows}) g; {more}")


def migration(drover, lines, mode="batch", ledger=False, more=""):
    return drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n{'-- drover: ledger' if ledger else ''}\n{lines}\n{more}")


# --- wrong as a whole ---

TRIGGER = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'nobody changes row %', NEW.id; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse()"""

# What is wrong: SQL before the registration, `set`, SQL that breaks it, SQL that mends it, what the reason says, whether the rows are to blame.
WRONG = {
    "a column dropped later": ("", "b = a", "ALTER TABLE t RENAME a TO aa", "ALTER TABLE t RENAME aa TO a", 'column "?a"? does not exist', False),
    "a table dropped later": ("", "b = a", "ALTER TABLE t RENAME TO tt", "ALTER TABLE tt RENAME TO t", 'relation .*t"? does not exist', False),
    "no right on the table": ("", "b = a", "REVOKE UPDATE ON t FROM {role}", "GRANT UPDATE ON t TO {role}", "permission denied", False),
    "no right on one column": ("", "b = a", "REVOKE UPDATE ON t FROM {role}; GRANT UPDATE (a) ON t TO {role}",
                               "GRANT UPDATE ON t TO {role}", "permission denied", False),
    "no right on a sequence": ("CREATE SEQUENCE s; GRANT ALL ON SEQUENCE s TO {role}", "b = nextval('s')", "REVOKE ALL ON SEQUENCE s FROM {role}",
                               "GRANT ALL ON SEQUENCE s TO {role}", "permission denied for sequence s", False),
    "no right on a function": ("CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN i; END'", "b = f(a)",
                               "REVOKE ALL ON FUNCTION f FROM PUBLIC", "GRANT ALL ON FUNCTION f TO PUBLIC",
                               "permission denied for function f", False),
    "a function dropped later": ("CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN i; END'", "b = f(a)",
                                 "ALTER FUNCTION f RENAME TO ff", "ALTER FUNCTION ff RENAME TO f", "function f.* does not exist", False),
    "a constraint that every row breaks": ("", "b = a", "ALTER TABLE t ADD CONSTRAINT never CHECK (b < 0) NOT VALID",
                                           "ALTER TABLE t DROP CONSTRAINT never", 'check constraint "never"', True),
    "a trigger that raises for every row": ("", "b = a", TRIGGER, "DROP TRIGGER refuse ON t", "nobody changes row", True),
}


@pytest.mark.parametrize("ledger", [False, True], ids=["pending", "ledger"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", WRONG)
def test_a_migration_that_is_wrong_as_a_whole_stops_with_one_reason_and_few_dead_letters(pg, drover, kind, mode, ledger):
    """Two workers of four lanes over 100,000 rows, everything else as it is by default. Mended and resumed, it finishes."""
    before, change, broken, mended, pattern, data = WRONG[kind]
    role = pg.role("worker")
    table(pg, more=f"GRANT SELECT, UPDATE ON t TO {role}; {before.format(role=role)}")
    drover.run("init", "--worker-role", role)
    path = migration(drover, f"-- drover: set {change}" + ("" if ledger else "\n-- drover: pending b IS NULL"), mode, ledger)
    queue(drover, path, produce=["--max-backlog", "200000"])
    pg.sql(broken.format(role=role))
    start = time.monotonic()
    workers = [drover.worker("--name", name, "--concurrency", "4", env={"DATABASE_URL": pg.url_as(role)}) for name in ("a", "b")]
    reason = wait_for_state(pg, "m", "paused")
    took = time.monotonic() - start
    assert re.search(pattern, reason), reason
    for worker in workers:
        worker.terminate()
    logs = "".join(worker.wait().err for worker in workers)
    letters = len(dead(pg, "m"))
    print(f"{kind}, {mode}, {'ledger' if ledger else 'pending'}: paused after {took:.1f} s with {letters} dead letters")
    assert letters == 0 if not data else 20 <= letters < 100
    assert pg.value("SELECT count(*) FROM drover.events WHERE action = 'pause'") == 1
    assert len(re.findall("warn  migration.(?:paused|breaker) ", logs)) == 1, logs
    assert len(logs) < 60_000, logs
    assert drover.run("status", "m").out.count(reason.split(":")[0]) == 1
    pg.sql(mended.format(role=role))
    drover.run("resume", "m")
    finish(drover, path, rc=4 if letters else 0, worker=["--concurrency", "2"])
    if letters:
        drover.run("retry", "all", "--migration", "m")
        drover.run_worker("--stop-when-empty")
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0
    assert state(pg, "m")[0] == "complete" and dead(pg, "m") == []
