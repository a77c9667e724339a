"""What the fleet gives way to: each signal alone, what it cannot see, and that all workers follow."""

import contextlib
import re
import threading

import psycopg
import pytest

from lib.drover import Drover
from lib.metrics import LISTEN, Served
from lib.postgres import Postgres
from lib.process import run_as_server_user, wait_for
from lib.scenario import Gate, finish, queue, rows_done, traffic

FILE = "-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n"
SLOW = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({s}); RETURN NEW; END $$;
          CREATE TRIGGER slow BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION slow()"""
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^drover w./.' AND state = 'active'"


@pytest.fixture
def make_drover():
    """For tests with a server of their own."""
    made = []

    def make(*urls):
        made.append(Drover(*urls))
        return made[-1]

    yield make
    for drover in made:
        drover.stop_all()


def held(pg):
    """(rung, signal) as the fleet knows it."""
    return (pg.sql("SELECT rung, signal FROM drover.throttle") or [(0, None)])[0]


def begin(pg, drover, *settings, rows=100000, seconds_a_row=0.001, workers=1, worker_env=None, worker_args=()):
    """A migration that takes a while, under way."""
    pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0) WITH (autovacuum_enabled = off);
               INSERT INTO t SELECT g FROM generate_series(1, {rows}) g; {SLOW.format(s=seconds_a_row)}""")
    drover.run("init")
    if settings:
        drover.run("config", *settings)
    queue(drover, drover.migration("m", FILE))
    return [drover.worker("--name", f"w{i}", *worker_args, env=worker_env) for i in range(workers)]


def wait_for_signal(pg, signal):
    wait_for(lambda: held(pg)[0] > 0 and held(pg)[1] == signal, lambda: f"{signal} holds it, not {held(pg)}")


def wait_for_full_speed(pg):
    """On one connection that passes for Drover's: a new one for each look would be traffic."""
    with pg.conn(application_name="drover test") as conn:
        wait_for(lambda: conn.execute("SELECT rung FROM drover.throttle").fetchone() == (0,), lambda: f"nothing holds it, not {held(pg)}")


def status(drover):
    return drover.run("status", "m", "--json").json


def test_live_traffic_leaves_the_whole_fleet_one_lane(pg, drover):
    workers = begin(pg, drover, workers=2)
    wait_for(lambda: rows_done(pg, "m") > 0, "it runs")
    with traffic(pg):
        wait_for_signal(pg, "traffic")
        assert "sessions; transactions of 3 ms at most, or of 20 times 0.6 with pauses, one lane of the fleet" in " ".join(status(drover)["why"])
        with pg.conn() as conn:
            wait_for(lambda: max(conn.execute(BUSY).fetchone()[0] for _ in range(200)) <= 1, "no two lanes are at work at once")
        done = rows_done(pg, "m")
        wait_for(lambda: rows_done(pg, "m") > done, "one lane goes on")
    wait_for_full_speed(pg)
    assert not status(drover)["held_by"]
    assert all(worker.running for worker in workers)


def test_it_begins_with_one_lane_where_others_are_at_work(pg, drover):
    """Nobody has looked yet when the first jobs are there: they are not done at full speed until somebody has."""
    pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
               INSERT INTO t SELECT g FROM generate_series(1, 20000) g; {SLOW.format(s=0.001)}""")
    drover.run("init")
    for name in ("w0", "w1"):
        drover.worker("--name", name).wait_for_log(r"worker\.ready")
    with traffic(pg), pg.conn() as conn:
        producer = drover.popen("produce", drover.migration("m", FILE), "--wait")
        most = 0
        while not (producer.popen.poll() is not None or rows_done(pg, "m") > 500):
            most = max(most, *(conn.execute(BUSY).fetchone()[0] for _ in range(20)))
        assert most == 1
        assert held(pg) == (4, "traffic")
        producer.terminate()


def test_it_begins_at_full_speed_where_nobody_is(pg, drover):
    worker, = begin(pg, drover)
    with pg.conn(application_name="drover test") as conn:
        wait_for(lambda: conn.execute(BUSY).fetchone()[0] > 1, "two lanes are at work")
    wait_for_full_speed(pg)
    assert "throttle.begin" not in worker.err


def test_the_log_and_the_metrics_say_what_held_it(pg, drover):
    worker, = begin(pg, drover, worker_args=LISTEN)
    served = Served(worker)
    wait_for(lambda: rows_done(pg, "m") > 0, "it runs")
    for _ in range(2):  # the second time within a minute: counted, and not said again
        with traffic(pg):
            wait_for_signal(pg, "traffic")
            held_s = served.value("drover_throttled_seconds_total", migration="m", reason="traffic")
            wait_for(lambda: served.value("drover_throttled_seconds_total", migration="m", reason="traffic") > held_s + 1, "its seconds are counted")
        wait_for_full_speed(pg)
    assert re.findall(r" (throttle\.\w+) migration=m (signal=\S*|)", worker.err) == [("throttle.begin", "signal=traffic"), ("throttle.end", "")]
    assert "throttle.begin migration=m signal=traffic cause='others are at work in" in worker.err


def test_more_active_sessions_than_the_limit_make_the_lane_pause(pg, drover):
    begin(pg, drover, "throttle_active=3")
    with traffic(pg, "SELECT pg_sleep(1)", sessions=5):
        wait_for_signal(pg, "active")
        assert held(pg)[0] >= 5


def test_a_session_that_waits_for_our_lock_is_noticed(pg, drover):
    begin(pg, drover, "throttle_sessions=0", "throttle_active=0", "batch_size=1000", seconds_a_row=0.01)
    locked = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock' AND granted"
    wait_for(lambda: pg.value(locked) > 0, "a lane is in its transaction")
    with traffic(pg, "BEGIN; LOCK TABLE t IN SHARE MODE; ROLLBACK", sessions=1):
        wait_for_signal(pg, "locks")
    assert held(pg)[1] == "locks"


def test_dead_rows_hold_it_until_they_are_gone(pg, drover):
    begin(pg, drover, "throttle_dead_percent=50", "throttle_sessions=0", rows=20000)
    pg.sql("ALTER TABLE t DISABLE TRIGGER ALL; UPDATE t SET n = n; ALTER TABLE t ENABLE TRIGGER ALL")
    wait_for_signal(pg, "dead")
    pg.sql("VACUUM t")
    wait_for_full_speed(pg)


def test_wal_that_a_slot_keeps_holds_it(own_pg_server, redis, make_drover):
    pg = own_pg_server.database()
    drover = make_drover(pg.url, redis.url)
    pg.sql("SELECT pg_create_physical_replication_slot('s', true)")
    begin(pg, drover, "throttle_slot_mb=1", "throttle_sessions=0")
    pg.sql("CREATE TABLE much AS SELECT g, repeat('x', 500) FROM generate_series(1, 5000) g")
    wait_for_signal(pg, "slot")
    pg.sql("SELECT pg_drop_replication_slot('s')")
    wait_for_full_speed(pg)


def test_wal_that_cannot_be_archived_holds_it(redis, make_drover):
    with Postgres({"archive_mode": "on", "archive_command": "false"}) as server:
        pg = server.database()
        drover = make_drover(pg.url, redis.url)
        pg.sql("CREATE TABLE much AS SELECT 1; SELECT pg_switch_wal()")
        wait_for(lambda: pg.value("SELECT failed_count FROM pg_stat_archiver") > 0, "archiving failed")
        begin(pg, drover, "throttle_archive_mb=20", "throttle_sessions=0")
        wait_for(lambda: "ever archived" in (status(drover)["unseen"] or ""), "it says that it does not know")
        server.configure({"archive_command": "true"})
        server.reload()
        wait_for(lambda: status(drover)["unseen"] is None, "it knows")
        server.configure({"archive_command": "false"})
        server.reload()
        for _ in range(3):
            pg.sql("DROP TABLE much; CREATE TABLE much AS SELECT 1; SELECT pg_switch_wal()")
        wait_for_signal(pg, "archive")


def test_a_standby_that_falls_behind_holds_it(redis, make_drover):
    with Postgres({"wal_level": "replica"}) as server:
        pg = server.database()
        drover = make_drover(pg.url, redis.url)
        standby = Postgres()
        standby.data.rename(standby.dir / "not-used")
        run_as_server_user([server.bindir / "pg_basebackup", "-h", server.dir, "-p", str(server.port), "-U", "postgres", "-D", standby.data, "-R",
                            "--checkpoint=fast"])
        standby.configure({"unix_socket_directories": str(standby.dir)})
        with standby:
            begin(pg, drover, "throttle_lag_mb=1", "throttle_sessions=0")
            wait_for(lambda: pg.sql("SELECT 1 FROM pg_stat_replication"), "the standby is connected")
            standby.sql("SELECT pg_wal_replay_pause()")
            pg.sql("CREATE TABLE much AS SELECT g, repeat('x', 500) FROM generate_series(1, 5000) g")
            wait_for_signal(pg, "lag")
            standby.sql("SELECT pg_wal_replay_resume()")
            wait_for_full_speed(pg)


def test_an_anti_wraparound_vacuum_goes_first(redis, make_drover):
    with Postgres({"autovacuum_freeze_max_age": "100000", "autovacuum": "off"}) as server:
        pg = server.database()
        drover = make_drover(pg.url, redis.url)
        begin(pg, drover, "throttle_sessions=0")
        pg.sql("""CREATE TABLE x (a int);
                  DO $$ BEGIN FOR i IN 1..100100 LOOP BEGIN INSERT INTO x VALUES (i); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$""")
        with pg.conn() as conn:
            conn.execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1")
            vacuum = threading.Thread(target=until_cancelled, args=(conn, "VACUUM t"))
            vacuum.start()
            wait_for_signal(pg, "vacuum")
            conn.cancel()
            vacuum.join()
        wait_for_full_speed(pg)


def until_cancelled(conn, query):
    with contextlib.suppress(psycopg.Error):
        conn.execute(query)


def queue_for_a_role(pg, drover):
    """A migration that takes a while, for workers of a role with the rights that they need and no more; the role."""
    drover.run("init", "--worker-role", role := pg.role("worker"))
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); GRANT SELECT, UPDATE ON t TO {role}; "
           f"INSERT INTO t SELECT g FROM generate_series(1, 100000) g; {SLOW.format(s=0.001)}")
    queue(drover, drover.migration("m", FILE))
    return role


def test_sessions_that_it_may_not_look_at_count_as_busy(pg, drover):
    role, other = queue_for_a_role(pg, drover), pg.role("other")
    with pg.conn(user=other):
        drover.worker(env={"DATABASE_URL": pg.url_as(role)})
        wait_for_signal(pg, "traffic")
        assert "hidden, so that they count as busy; members of pg_monitor may see it" in status(drover)["unseen"]
        assert any("cannot see all" in line for line in status(drover)["why"])
        pg.sql(f"GRANT pg_monitor TO {role}")
        wait_for_full_speed(pg)
        assert status(drover)["unseen"] is None


def test_where_the_server_cannot_be_looked_at_one_lane_works_and_status_says_why(pg, drover):
    role = queue_for_a_role(pg, drover)
    pg.sql("REVOKE EXECUTE ON FUNCTION pg_current_wal_lsn() FROM public")
    worker = drover.worker(env={"DATABASE_URL": pg.url_as(role)})
    wait_for(lambda: "statistics cannot be read: permission denied" in (status(drover)["unseen"] or ""), "status says that it cannot see")
    assert held(pg)[0] == 4 and "it is not known who else is at work" in status(drover)["held_by"]
    with pg.conn() as conn:
        assert max(conn.execute(BUSY).fetchone()[0] for _ in range(200)) <= 1
    pg.sql("GRANT EXECUTE ON FUNCTION pg_current_wal_lsn() TO public")
    wait_for_full_speed(pg)
    wait_for(lambda: status(drover)["unseen"] is None or "statistics" not in status(drover)["unseen"], "it can see")
    assert worker.err.count("throttle.unseen") <= 2


def test_replays_of_a_complete_migration_have_all_lanes(pg, drover):
    """Nobody watches for it any more."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, CONSTRAINT c CHECK (n = 0)); INSERT INTO t SELECT g FROM generate_series(1, 4) g")
    gate = Gate(pg)
    gate.open()
    finish(drover, drover.migration("m", FILE.replace("n + 1", "gate(n + 1)") + "-- drover: batch-size 1\n-- drover: lock-timeout 60s\n"), rc=4)
    pg.sql("ALTER TABLE t DROP CONSTRAINT c; UPDATE drover.throttle SET watched_until = now() - interval '1 hour'")
    gate.close()
    drover.run("retry", "all", "--migration", "m", "--yes")
    drover.worker("--concurrency", "2")
    gate.wait(2)
    gate.open()
    wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE n = 1") == 4, "all are done")


def test_full_speed_gives_way_to_nobody_and_can_be_switched_while_it_runs(pg, drover):
    begin(pg, drover)
    with traffic(pg):
        wait_for_signal(pg, "traffic")
        drover.run("config", "m", "throttle=off")
        wait_for_full_speed(pg)
        assert not any("gives way" in line for line in status(drover)["why"])
        drover.run("config", "m", "throttle=")
        wait_for_signal(pg, "traffic")


@pytest.mark.parametrize("command", [["produce"], ["run", "--workers", "1"]])
def test_full_speed_from_the_start(pg, drover, command):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 100) g")
    drover.run("init")
    drover.run(*command, drover.migration("m", FILE), "--full-speed")
    assert drover.run("config", "m", "throttle").out.strip() == "off"


def test_when_the_one_that_watches_dies_another_watches(pg, drover):
    workers = begin(pg, drover, workers=2)
    watcher = "SELECT watcher FROM drover.throttle"
    wait_for(lambda: pg.sql(watcher), "one watches")
    first = pg.value(watcher)
    workers[int(first[1])].kill()
    wait_for(lambda: pg.value(watcher) != first, "the other watches")
    with traffic(pg):
        wait_for_signal(pg, "traffic")
