"""Beside others a transaction of a batch pauses again and again: what its pieces do, put together, is what it would have done without."""

import contextlib
import signal

import pytest

from lib.process import wait_for
from lib.proxy import Proxy
from lib.scenario import dead, finish, queue, rows_done, state, traffic, wait_for_state, workers_die

ROWS = 3000
TABLES = {
    "a number as key": ("id int PRIMARY KEY", "g"),
    "numbers with gaps": ("id bigint PRIMARY KEY", "g * 1000 - 2000000"),
    "the last numbers there are": ("id smallint PRIMARY KEY", f"(32767 - {ROWS} + g)::smallint"),
    "a text as key": ("id text COLLATE \"C\" PRIMARY KEY", "'{\"' || (g % 10) || ',' || g"),
    "a uuid as key": ("id uuid PRIMARY KEY", "md5(g::text)::uuid"),
    "two columns as key": ("a int, id text, PRIMARY KEY (a, id)", "g / 7, 'k' || g"),
}
FILES = {
    "pending": "-- drover: pending n = 0\n-- drover: set n = n + 1\n",
    "ledger": "-- drover: ledger\n-- drover: set n = n + 1\n",
    "several steps": "-- drover: pending n = 0\n-- drover: backfill\nUPDATE t SET n = t.n + 1 FROM :batch b WHERE {same} AND {same};\n",
}
MOST_PIECES = "SELECT max(c)::int FROM (SELECT count(DISTINCT cmin::text) AS c FROM t WHERE n = 1 GROUP BY xmin::text) AS x"


def table(pg, kind="a number as key", rows=ROWS):
    columns, key = TABLES[kind]
    pg.sql(f"CREATE TABLE t ({columns}, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT {key} FROM generate_series(1, {rows}) g")


def migration(drover, file, kind="a number as key"):
    same = "t.a = b.a AND t.id = b.id" if "two" in kind else "t.id = b.id"
    return drover.migration("m", "-- drover: table t\n" + FILES[file].format(same=same))


@pytest.mark.parametrize("kind, file", [(kind, file) for kind in TABLES for file in FILES])
def test_each_row_is_changed_once(pg, drover, kind, file):
    table(pg, kind)
    drover.run("init")
    with traffic(pg):
        finish(drover, migration(drover, file, kind))
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(ROWS, 1, 1)]
    lists = pg.value("SELECT count(keys) > 0 FROM drover.batches")  # which are as short as they should be
    assert (pg.value(MOST_PIECES) > 5) == (not lists and file != "several steps" and "two" not in kind)
    assert rows_done(pg, "m") == ROWS
    assert pg.sql("SELECT sum(rows_changed)::int, sum(rows_skipped)::int FROM drover.batches") == [(ROWS, 0)]


@pytest.mark.parametrize("kind", ["a number as key", "numbers with gaps", "a uuid as key"])
def test_rows_that_are_done_meanwhile_are_counted_as_skipped(pg, drover, kind):
    table(pg, kind)
    drover.run("init")
    path = migration(drover, "pending", kind)
    queue(drover, path)
    pg.sql("UPDATE t SET n = 5 WHERE hashtext(id::text) % 3 = 0")
    left = pg.value("SELECT count(*)::int FROM t WHERE n = 0")
    with traffic(pg):
        finish(drover, path)
    assert pg.sql("SELECT n, count(*)::int FROM t GROUP BY n ORDER BY n") == [(1, left), (5, ROWS - left)]
    assert pg.value(MOST_PIECES) > 5
    assert pg.sql("SELECT sum(rows_changed)::int, sum(rows_skipped)::int FROM drover.batches") == [(left, ROWS - left)]


@pytest.mark.parametrize("file", ["pending", "ledger"])
def test_a_poison_row_in_a_later_piece_is_the_only_one_dead(pg, drover, file):
    table(pg)
    pg.sql("ALTER TABLE t ADD CHECK (id <> 190 OR n = 0)")
    drover.run("init")
    with traffic(pg):
        finish(drover, migration(drover, file), rc=4)
    assert dead(pg, "m") == [["190"]]
    assert pg.sql("SELECT count(*)::int FROM t WHERE n <> (id <> 190)::int") == [(0,)]
    assert rows_done(pg, "m") == ROWS - 1


@pytest.mark.parametrize("row", [3, 190, ROWS])
def test_a_row_of_any_piece_that_stays_pending_pauses_the_migration(pg, drover, row):
    table(pg)
    drover.run("init")
    queue(drover, drover.migration("m", f"-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = CASE WHEN id = {row} THEN 0 ELSE 1 END\n"))
    with traffic(pg):
        drover.worker()
        assert "does not converge" in wait_for_state(pg, "m", "paused") and f"the row {{{row}}} is still pending" in state(pg, "m")[1]
    assert pg.sql(f"SELECT n FROM t WHERE id = {row}") == [(0,)]


def test_pieces_of_a_table_with_deferred_constraints(pg, drover):
    table(pg)
    pg.sql("""CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT id FROM t;
              ALTER TABLE t ADD ref int REFERENCES p DEFERRABLE INITIALLY DEFERRED""")
    drover.run("init")
    with traffic(pg):
        finish(drover, drover.migration("m", "-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = 1\n-- drover: set ref = id\n"))
    assert pg.sql("SELECT count(*)::int FROM t WHERE ref = id AND n = 1") == [(ROWS,)]
    assert pg.value(MOST_PIECES) > 5


STATEMENTS = {
    "a table until the end of the transaction": "CREATE TEMP TABLE work ON COMMIT DROP AS SELECT unnest(ids) AS id; UPDATE t SET n = n + 1 FROM work w WHERE w.id = t.id",
    "a loop over the keys": "FOR i IN 1..array_length(ids, 1) LOOP UPDATE t SET n = n + 1 WHERE id = ids[i]; END LOOP",
    "a line for each transaction": "UPDATE t SET n = n + 1 WHERE id = ANY (ids); INSERT INTO log VALUES (now())",
}


@pytest.mark.parametrize("body", STATEMENTS)
def test_what_the_user_wrote_runs_once_in_a_transaction(pg, drover, body):
    table(pg)
    pg.sql(f"""CREATE TABLE log (at timestamptz PRIMARY KEY);
               CREATE PROCEDURE h(ids int[]) LANGUAGE plpgsql AS $$ BEGIN {STATEMENTS[body]}; END $$""")
    drover.run("init")
    with traffic(pg):
        finish(drover, drover.migration("m", "-- drover: table t\n-- drover: pending n = 0\n-- drover: handler procedure h\n"))
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(ROWS, 1, 1)]


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
def test_a_trigger_for_each_statement_fires_once_in_a_transaction(pg, drover, when):
    table(pg)
    pg.sql(f"""CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE mine (id int) ON COMMIT DROP; RETURN NULL; END $$;
               CREATE TRIGGER f {when} UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION f()""")
    drover.run("init")
    with traffic(pg):
        finish(drover, migration(drover, "pending"))
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(ROWS, 1, 1)]


def test_pieces_of_rows_that_take_long_are_few(pg, drover):
    table(pg)
    pg.sql("CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN n; END $$")
    drover.run("init")
    with traffic(pg):
        finish(drover, drover.migration("m", "-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = slow(id - id + 1)\n"))
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(ROWS, 1, 1)]
    assert pg.value(MOST_PIECES.replace("n = 1", "id > 1000")) <= 3


def test_a_short_target_has_few_pieces(pg, drover):
    table(pg)
    drover.run("init")
    drover.run("config", "target_ms=4")
    with traffic(pg):
        finish(drover, migration(drover, "pending"))
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(ROWS, 1, 1)]
    assert 1 < pg.value(MOST_PIECES) <= 6


@contextlib.contextmanager
def far(pg, drover, latency_ms, rows):
    """A worker with so long a way to the server, until all is done; drover.paused of its transactions is in the table seen."""
    table(pg, rows=rows)
    drover.run("init")
    queue(drover, migration(drover, "pending"))
    pg.sql("""CREATE TABLE seen (paused bigint);
              CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO seen SELECT drover.number_of('drover.paused') WHERE drover.number_of('drover.piece') > 0;
                RETURN NULL; END $$;
              CREATE TRIGGER see AFTER UPDATE ON drover.batches FOR EACH ROW EXECUTE FUNCTION see()""")
    with Proxy(pg.server.socket) as proxy, traffic(pg):
        proxy.latency(latency_ms)
        drover.worker("--concurrency", "1", env={"DATABASE_URL": proxy.url(pg.url)})
        yield proxy
        wait_for_state(pg, "m", "complete")
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(rows, 1, 1)]
    assert rows_done(pg, "m") == rows


def test_far_from_the_server_there_are_no_pieces(pg, drover):
    """Each is a way there and back, for which its rows stay locked. Now and then it is tried whether it has become shorter."""
    with far(pg, drover, 20, 2 * ROWS):
        pass
    assert pg.value(MOST_PIECES.replace("max(c)", "percentile_disc(0.5) WITHIN GROUP (ORDER BY c)")) == 1


@pytest.mark.parametrize("latency_ms", [1, 5])
def test_a_way_of_milliseconds_is_no_work(pg, drover, latency_ms):
    """Taken for work it would leave room for ever fewer rows, 50 at last."""
    with far(pg, drover, latency_ms, 40 * ROWS):
        pass
    assert pg.value("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY c)::int FROM (SELECT count(*) AS c FROM t GROUP BY xmin::text) AS x") > 70


def test_a_way_that_is_longer_than_it_was_keeps_no_rows_locked(pg, drover):
    """Twenty ways there and back would be four seconds, of which the first transaction knows nothing."""
    with far(pg, drover, 100, ROWS):
        pass
    assert 0 < pg.value("SELECT max(paused) FROM seen") < 1000000


BETWEEN_PIECES = "SELECT count(*)::int FROM pg_stat_activity WHERE application_name LIKE 'drover a/%' AND state = 'idle in transaction'"


def test_a_worker_that_stops_between_pieces_locks_nothing_for_long(pg, drover):
    table(pg, rows=100 * ROWS)
    drover.run("init")
    queue(drover, migration(drover, "pending"))
    with traffic(pg):
        first = drover.worker("--name", "a", "--lease", "3s")
        wait_for(lambda: rows_done(pg, "m") > 0, "it runs")
        while True:
            first.signal(signal.SIGSTOP)
            if pg.value(BETWEEN_PIECES) > 0:
                break
            first.signal(signal.SIGCONT)
        wait_for(lambda: pg.value(BETWEEN_PIECES) == 0, "the server ends its transaction", 30)
    drover.worker("--lease", "3s")
    wait_for_state(pg, "m", "complete")
    first.signal(signal.SIGCONT)
    drover.stop_all()
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(100 * ROWS, 1, 1)]
    assert rows_done(pg, "m") == 100 * ROWS


def test_what_is_cancelled_between_pieces_goes_on_when_resumed(pg, drover):
    table(pg, rows=100 * ROWS)
    drover.run("init")
    queue(drover, migration(drover, "pending"))
    with traffic(pg):
        drover.worker()
        for _ in range(3):
            begun = rows_done(pg, "m")
            wait_for(lambda: rows_done(pg, "m") > begun, "it runs")
            drover.run("cancel", "m", "--yes")
            wait_for(lambda: pg.value(BETWEEN_PIECES.replace(" a/%", "%/%")) == 0, "nothing is under way")
            drover.run("resume", "m")
    wait_for_state(pg, "m", "complete")
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(100 * ROWS, 1, 1)]
    assert dead(pg, "m") == []


@pytest.mark.parametrize("file", ["pending", "ledger"])
@pytest.mark.parametrize("kind", ["a number as key", "numbers with gaps"])
def test_workers_that_die_between_pieces_lose_and_double_nothing(pg, drover, kind, file):
    table(pg, kind, 20 * ROWS)
    drover.run("init")
    queue(drover, migration(drover, file, kind))
    with traffic(pg):
        workers_die(pg, drover, 3)
        finish(drover, "m", worker=["--lease", "3s"])
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(20 * ROWS, 1, 1)]
    assert rows_done(pg, "m") == 20 * ROWS


def test_a_worker_goes_on_without_pieces_when_the_others_are_gone(pg, drover):
    table(pg, rows=100 * ROWS)
    drover.run("init")
    queue(drover, migration(drover, "pending"))
    with traffic(pg):
        drover.worker()
        wait_for(lambda: rows_done(pg, "m") > 0, "it runs")
    wait_for_state(pg, "m", "complete")
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(100 * ROWS, 1, 1)]


def test_a_migration_that_an_older_console_registered_has_no_pieces(pg, drover):
    table(pg)
    drover.run("init")
    path = migration(drover, "pending")
    queue(drover, path)
    pg.sql("UPDATE drover.migrations SET plan = plan #- '{statements,pieces_range}'")
    with traffic(pg):
        finish(drover, path)
    assert pg.value(MOST_PIECES) == 1
    assert pg.sql("SELECT count(*)::int, min(n), max(n) FROM t") == [(ROWS, 1, 1)]
