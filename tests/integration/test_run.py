"""`drover run`: everything on one machine, with nothing left behind however it ends."""

import os
import signal
import subprocess
import time

import pytest

from lib.process import command_line, marked_processes, wait_for
from lib.scenario import rows_done, state

SET = "-- drover: table t\n-- drover: set b = a\n"
ALONE = {"REDIS_URL": None}


def fill(pg, rows):
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t SELECT g, 'x' || g FROM generate_series(1, {rows}) g; ANALYZE t")


def children(pid):
    """Redis writes its title over its environment, so the marker does not find it."""
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8").read().split()]


def nothing_left(drover):
    wait_for(lambda: not marked_processes(drover.marker), lambda: f"no process is left: {marked_processes(drover.marker)}", 10)
    wait_for(lambda: not list(drover.dir.glob("drover-run-*")), "the directory is removed", 10)
    redis = subprocess.run(["pgrep", "-f", f"redis-server.*{drover.dir}"], capture_output=True, text=True, check=False)
    assert not redis.stdout, redis.stdout


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_one_file_one_command(pg, drover, mode):
    fill(pg, 5000)
    result = drover.run("run", drover.migration("m", SET + f"-- drover: mode {mode}\n"), env=ALONE)
    assert pg.value("SELECT count(*) FROM t WHERE b IS DISTINCT FROM a") == 0
    assert "verified: no row is left" in result.out and "5,000" in result.out
    assert state(pg, "m")[0] == "complete"
    nothing_left(drover)


def test_dead_letters_are_summed_up_by_kind(pg, drover):
    fill(pg, 2000)
    pg.sql("ALTER TABLE t ADD CONSTRAINT ok CHECK (b NOT IN ('x7', 'x1234'))")
    path = drover.migration("m", SET)
    result = drover.run("run", path, env=ALONE, rc=4)
    assert "2 dead letters" in result.out and "23514" in result.out and "drover retry all --migration m" in result.out
    pg.sql("ALTER TABLE t DROP CONSTRAINT ok")
    drover.run("retry", "all", "--migration", "m", "--yes", env=ALONE, rc=None)
    result = drover.run("run", path, "--json", env=ALONE)
    assert result.json["state"] == "complete" and result.json["dead"] == 0 and result.json["rows_left"] == 0
    nothing_left(drover)


def test_it_uses_the_redis_that_it_is_given(pg, drover, redis):
    fill(pg, 500)
    drover.run("run", drover.migration("m", SET))
    assert redis.client().keys("drover:*")
    nothing_left(drover)


def test_interrupted_it_ends_with_130_and_goes_on(pg, drover):
    fill(pg, 3000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    drover.run("init")
    drover.run("config", "processing_interval_ms=50")
    run = drover.popen("run", path, env=ALONE)
    wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") > 300, "it works")
    run.signal(signal.SIGINT)
    run.wait(15, rc=130)
    nothing_left(drover)
    drover.run("config", "processing_interval_ms=0")
    drover.run("run", path, env=ALONE)
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0


def test_killed_it_leaves_nothing_behind(pg, drover):
    fill(pg, 3000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n-- drover: ledger\n")
    drover.run("init")
    drover.run("config", "processing_interval_ms=50")
    run = drover.popen("run", path, env=ALONE)
    wait_for(lambda: rows_done(pg, "m") > 300, "it works")
    run.kill()
    nothing_left(drover)
    drover.run("config", "processing_interval_ms=0")
    drover.run("run", path, env=ALONE)
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0


def test_its_workers_and_its_redis_are_started_anew(pg, drover):
    fill(pg, 3000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    drover.run("init")
    drover.run("config", "processing_interval_ms=30")
    run = drover.popen("run", path, env=ALONE)
    for name, done in (("redis-server", 300), ("drover-worker", 600), ("redis-server", 900)):
        wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") > done, lambda: f"{done} rows are done; {run!r}", 60)
        victims = [pid for pid in children(run.pid) if name in command_line(pid)]
        assert victims, name
        os.kill(victims[0], signal.SIGKILL)
    run.wait(90)
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0
    assert "starting it anew" in run.err


def test_paused_by_the_breaker_it_ends_with_the_reason(pg, drover):
    fill(pg, 3000)
    pg.sql("ALTER TABLE t ADD CONSTRAINT never CHECK (b IS NULL)")
    result = drover.run("run", drover.migration("m", SET), env=ALONE, rc=1)
    assert "breaker" in result.err and "drover resume m" in result.err
    nothing_left(drover)


def test_programs_that_are_missing(pg, drover):
    fill(pg, 1)
    path = drover.migration("m", SET)
    assert "redis-server" in drover.run("run", path, env={**ALONE, "PATH": "/nonexistent"}, rc=1).err
    nothing_left(drover)


def test_urls_do_not_show_in_the_titles_of_processes(pg, drover):
    fill(pg, 2000)
    drover.run("init")
    drover.run("config", "processing_interval_ms=50")
    url = pg.url + ("&" if "?" in pg.url else "?") + "password=hunter2"
    run = drover.popen("run", drover.migration("m", SET + "-- drover: batch-size 10\n"), env={**ALONE, "DATABASE_URL": url})
    wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") > 10, lambda: f"it works: {run!r}")
    titles = "".join(open(f"/proc/{pid}/cmdline", encoding="utf-8").read() for pid in marked_processes(drover.marker))
    assert "drover-worker" in titles and "hunter2" not in titles
    drover.run("config", "processing_interval_ms=0")
    assert "hunter2" not in run.wait(60).err


def test_limit_verifies_nothing(pg, drover):
    fill(pg, 200)
    result = drover.run("run", drover.migration("m", SET), "--limit", "50", env=ALONE)
    assert "limited" in result.out and pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 150


def test_it_minds_its_own_migration_alone(pg, drover):
    """Another one is running in the same database, its jobs in another Redis: they must not be pushed into ours."""
    fill(pg, 300)
    pg.sql("CREATE TABLE u (id int PRIMARY KEY, a text, b text); INSERT INTO u SELECT g, 'y' FROM generate_series(1, 100) g")
    drover.run("produce", drover.migration("other", SET.replace("table t", "table u")))
    drover.run("run", drover.migration("m", SET), env=ALONE)
    time.sleep(1)
    assert pg.value("SELECT count(*) FROM u WHERE b IS NULL") == 100
    assert pg.value("SELECT coalesce(auditor_until, '-infinity') < now() FROM drover.migrations WHERE name = 'other'")


def test_of_two_that_run_one_file_the_second_takes_over_when_the_first_dies(pg, drover, redis):
    """Each has workers, which share the jobs; one alone produces."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 2000) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: batch-size 10\n-- drover: set n = n + 1\n")
    drover.run("init")
    drover.run("config", "processing_interval_ms=50", "max_backlog=20")
    first = drover.popen("run", path, env={"DROVER_LEASE": "3s"})
    first.wait_for_log("registered 'm'")
    second = drover.popen("run", path, env={"DROVER_LEASE": "3s"})
    second.wait_for_log("'m' is being produced by .*: waiting")
    wait_for(lambda: rows_done(pg, "m") > 200, "both are at it")
    first.kill()
    result = second.wait(120)
    assert "taking over 'm'" in result.err and "every row that the scan found was changed once" in result.out
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 2000)]
    nothing_left(drover)
