"""Statements are prepared once on a direct connection, and stay unnamed where others may get the connection in between."""

import re

import pytest

from lib.drover import Drover
from lib.pgbouncer import PgBouncer
from lib.process import wait_for
from lib.scenario import BY_STEPS, finish, rows_done, state, worker_backends

TABLE = """CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, x int NOT NULL DEFAULT 7);
           INSERT INTO t SELECT g FROM generate_series(1, 400) g"""
HEAD = "-- drover: table t\n-- drover: pending n = 0\n-- drover: batch-size 10\n-- drover: backfill\n"
UPDATE = "UPDATE t SET n = t.n + 1 FROM :batch b WHERE t.id = b.id"


def done_once(pg):
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 400)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


def watched(pg, drover, *config):
    """A migration each of whose batches notes the session's prepared statements; their names, batch by batch."""
    pg.sql(TABLE)
    pg.sql("CREATE TABLE seen (at serial, names text[])")
    drover.run("init")
    drover.run("config", "throttle=off", *config)
    finish(drover, drover.migration("m", f"{HEAD}INSERT INTO seen (names) SELECT array_agg(name) FROM pg_prepared_statements WHERE EXISTS (SELECT FROM :batch b);"
                                    f"\n{UPDATE}{BY_STEPS}"), worker=["--concurrency", "1"])
    done_once(pg)
    return [set(names or []) for names, in pg.sql("SELECT names FROM seen ORDER BY at")]


def test_on_a_direct_connection_statements_are_prepared_once_and_given_back_soon(pg, drover):
    seen = watched(pg, drover, "processing_interval_ms=80")
    assert len(seen) == 40 and 5 < max(map(len, seen)) < 30
    assert sum(a == b for a, b in zip(seen, seen[1:])) > 12, "batches of one kind have the same statements"
    assert not seen[1] & seen[-1], "none is kept for more than two seconds"


def test_what_a_worker_asks_again_and_again_is_prepared_once(pg, drover):
    drover.run("init")
    pg.sql(f'ALTER DATABASE "{pg.name}" SET log_min_duration_statement = 0')
    began = len(pg.server.log())
    drover.worker()

    def logged(what):
        """How often the session that asks has logged it: others of this server's may be at it too."""
        pids = worker_backends(pg)
        return sum(int(pid) in pids for pid in re.findall(rf"\[(\d+)\] drover-worker LOG: +{what}", pg.server.log()[began:]))

    wait_for(lambda: logged(r"duration: [\d.]+ ms +execute [^:\n]+: -- worker_poll:") >= 12, "the worker has asked for more than two seconds")
    assert logged(r"duration: [\d.]+ ms +parse [^:\n]+: -- worker_poll:") == 1


@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
def test_behind_a_pooler_none_is(pg, redis, pool_mode):
    with PgBouncer(pg.server, pool_mode=pool_mode) as bouncer:
        drover = Drover(bouncer.url(pg.name), redis.url)
        try:
            assert not any(watched(pg, drover))
        finally:
            drover.close()


@pytest.mark.parametrize("moment", ["'now'", "E'\\156ow'", "' NOW '", "'now()'", "U&'n\\006fw'", "$$now()$$", "('{now()}'::timestamptz[])[1]",
                                    "timestamptz '(now())'", "lower('[\"now()\",)'::tstzrange)", "'no'\n'w'"])
def test_a_moment_is_that_of_each_job(pg, drover, moment):
    pg.sql(TABLE + "; ALTER TABLE t ADD at timestamptz, ADD real timestamptz")
    drover.run("init")
    drover.run("config", "processing_interval_ms=10")
    finish(drover, drover.migration("m", f"{HEAD}UPDATE t SET n = t.n + 1, at = {moment}, real = now() FROM :batch b WHERE t.id = b.id{BY_STEPS}"))
    done_once(pg)
    assert pg.sql("SELECT count(*) FROM t WHERE at IS DISTINCT FROM real") == [(0,)]


def test_what_was_planned_while_a_lane_rested_is_planned_again(pg, drover):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, v timestamptz, at timestamptz); INSERT INTO t SELECT generate_series(1, 6);"
           "CREATE FUNCTION moment() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT now() $$")
    drover.run("init")
    drover.run("config", "processing_interval_ms=2500")
    finish(drover, drover.migration("m", "-- drover: table t\n-- drover: pending at IS NULL\n-- drover: batch-size 1\n-- drover: set v = moment()\n"
                                    "-- drover: set at = now()\n"), worker=["--concurrency", "1"])
    assert pg.sql("SELECT count(*), max(at - v) < interval '2 s' FROM t") == [(6, True)]


@pytest.mark.parametrize("how", ["another migration", "amended"])
def test_one_text_under_other_settings_means_something_else(pg, drover, how):
    pg.sql(TABLE + "; ALTER TABLE t ADD at date")
    text = "-- drover: table t\n-- drover: pending n = 0\n-- drover: batch-size 10\n-- drover: set n = n + 1\n-- drover: set at = '02/03/2024'\n"
    drover.run("init")
    drover.run("config", "processing_interval_ms=10")
    worker = drover.worker("--concurrency", "1")
    pg.sql(f"ALTER DATABASE {pg.name} SET datestyle = 'ISO, DMY'")
    first = drover.migration("m", text)
    producer = drover.popen("produce", first, "--wait")
    wait_for(lambda: rows_done(pg, "m") >= 50, "it is under way")
    drover.run("pause", "m")
    pg.sql(f"ALTER DATABASE {pg.name} SET datestyle = 'ISO, MDY'")
    if how == "amended":
        drover.run("amend", "m", drover.migration("m", text + "-- once more\n"))
    else:
        second = drover.popen("produce", drover.migration("other", text), "--wait")
        wait_for(lambda: rows_done(pg, "other") > 0, "the other is under way")
    drover.run("resume", "m")
    producer.wait(60)
    if how != "amended":
        second.wait(60)
    worker.terminate()
    worker.wait()
    done_once(pg)
    days = dict(pg.sql("SELECT at::text, count(*)::int FROM t GROUP BY 1"))
    by = {name: rows_done(pg, name) for name in ("m", "other")}
    if how == "amended":
        assert set(days) == {"2024-03-02", "2024-02-03"} and days["2024-03-02"] >= 50
    else:
        assert days == {"2024-03-02": by["m"], "2024-02-03": by["other"]}


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


def test_plans_made_while_there_were_few_batches_do_no_harm_where_there_are_many(pg, drover):
    """Steps of the user's run with the planner as it is; for six batches it would read the ledger as a whole, batch by batch."""
    drover.run("init")
    drover.run("config", "throttle=off")
    worker = drover.worker("--concurrency", "1")

    def done(table, rows):
        pg.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO {table} SELECT g FROM generate_series(1, {rows}) g; ANALYZE {table}")
        drover.run("produce", drover.migration(table, f"-- drover: table {table}\n-- drover: pending n = 0\n-- drover: batch-size 10\n-- drover: backfill\n"
                                               f"UPDATE {table} SET n = 1 FROM :batch b WHERE {table}.id = b.id{BY_STEPS}"), "--wait")

    done("few", 60)
    pg.sql("ANALYZE drover.batches")
    done("few_more", 60)
    done("many", 5000)
    worker.terminate()
    worker.wait()
    wait_for(lambda: pg.value("SELECT n_tup_upd >= 512 FROM pg_stat_user_tables WHERE relid = 'drover.batches'::regclass"), "the statistics")
    assert pg.value("SELECT seq_scan < 200 FROM pg_stat_user_tables WHERE relid = 'drover.batches'::regclass")
