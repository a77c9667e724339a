"""Statements are prepared once on a direct connection, and stay unnamed where others may get the connection in between."""

import pytest

from lib.drover import Drover
from lib.pgbouncer import PgBouncer
from lib.process import wait_for
from lib.scenario import BY_STEPS, finish, rows_done, state

TABLE = """CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, x int NOT NULL DEFAULT 7);
           INSERT INTO t SELECT g FROM generate_series(1, 400) g"""
HEAD = "-- drover: table t\n-- drover: pending n = 0\n-- drover: batch-size 10\n-- drover: backfill\n"
UPDATE = "UPDATE t SET n = t.n + 1 FROM :batch b WHERE t.id = b.id"


def done_once(pg):
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 400)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


def watched(pg, drover):
    """A migration each of whose batches notes the session's prepared statements; their numbers, batch by batch."""
    pg.sql(TABLE)
    pg.sql("CREATE TABLE seen (at serial, n int)")
    finish(drover, drover.migration("m", f"{HEAD}INSERT INTO seen (n) SELECT count(*) FROM pg_prepared_statements WHERE EXISTS (SELECT FROM :batch b);\n{UPDATE}{BY_STEPS}"),
           worker=["--concurrency", "1"])
    done_once(pg)
    return [n for n, in pg.sql("SELECT n FROM seen ORDER BY at")]


def test_on_a_direct_connection_each_statement_is_prepared_once(pg, drover):
    seen = watched(pg, drover)
    assert len(seen) == 40 and max(seen) > 5
    assert seen[-1] == seen[-10] < 40, "batches of one kind have the same statements"


@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
def test_behind_a_pooler_none_is(pg, redis, pool_mode):
    with PgBouncer(pg.server, pool_mode=pool_mode) as bouncer:
        drover = Drover(bouncer.url(pg.name), redis.url)
        try:
            assert set(watched(pg, drover)) == {0}
        finally:
            drover.close()


def test_statements_that_are_gone_are_not_missed_for_long(pg, drover):
    pg.sql(TABLE)
    pg.sql("""CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NULL; END $$;
              CREATE TRIGGER forget AFTER UPDATE ON t EXECUTE FUNCTION forget()""")
    finish(drover, drover.migration("m", f"{HEAD}{UPDATE}{BY_STEPS}"))
    assert 'prepared statement "drover_' in pg.server.log()
    done_once(pg)


def test_a_column_that_gets_another_type_meanwhile(pg, drover):
    pg.sql(TABLE)
    drover.run("init")
    drover.run("config", "processing_interval_ms=20")
    path = drover.migration("m", f"{HEAD}{UPDATE} AND true RETURNING t.x;\n")
    producer = drover.popen("produce", path, "--wait")
    worker = drover.worker("--concurrency", "1")
    wait_for(lambda: rows_done(pg, "m") >= 100, "it is under way")
    pg.sql("ALTER TABLE t ALTER x TYPE text")
    producer.wait(60)
    worker.terminate()
    worker.wait()
    assert state(pg, "m")[0] == "complete" and "cached plan must not change result type" in pg.server.log()
    done_once(pg)
