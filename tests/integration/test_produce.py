"""The producer: limits, resuming, leases, outages, sweeps, and what it says when something is in its way."""

import json
import signal
import subprocess
import time

import pytest

from lib.process import wait_for
from lib.proxy import Proxy
from lib.scenario import finish, queue, state, stream, traffic

SET = "-- drover: table t\n-- drover: set b = a\n"


def fill(pg, rows, more=""):
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t SELECT g, 'x' || g FROM generate_series(1, {rows}) g; ANALYZE t; {more}")


def left(pg):
    return pg.value("SELECT count(*) FROM t WHERE b IS NULL")


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_limit_ends_as_limited_and_goes_on(pg, drover, mode):
    fill(pg, 1000)
    path = drover.migration("m", SET + f"-- drover: mode {mode}\n")
    worker = drover.worker()
    result = drover.run("produce", path, "--limit", "130", "--batch-size", "50", "--wait", "--json")
    assert result.json["state"] == "limited" and result.json["rows_changed"] == 130
    assert left(pg) == 870 and state(pg, "m")[0] == "limited"
    # So many more, then the rest.
    drover.run("produce", "m", "--limit", "70", "--wait")
    assert left(pg) == 800 and pg.value("SELECT max(id) FROM t WHERE b IS NOT NULL") == 200
    drover.run("produce", path, "--wait")
    assert left(pg) == 0 and state(pg, "m")[0] == "complete"
    worker.terminate()
    worker.wait()


def test_a_name_alone_resumes_without_the_file(pg, drover):
    fill(pg, 500)
    path = drover.migration("m", SET)
    queue(drover, path)
    path.unlink()
    worker = drover.worker()
    assert "complete" in drover.run("produce", "m", "--wait").out
    assert left(pg) == 0
    assert "m2" in drover.run("produce", "m2", rc=1).err
    worker.terminate()
    worker.wait()


@pytest.mark.parametrize("request_, answers", [(b"pg_advisory", [b""]), (b"COMMIT\0", [b"COMMIT\0"])], ids=["before", "committed"])
def test_a_connection_lost_while_it_registers_is_waited_for(pg, drover, request_, answers):
    fill(pg, 100)
    drover.run("init")
    with Proxy(pg.server.socket) as proxy:
        proxy.lose_answer(request_, answers)
        result = drover.run("produce", drover.migration("m", SET), env={"DATABASE_URL": proxy.url(pg.url)})
        assert proxy.lost_answers == 1
    assert "PostgreSQL is away" in result.err and "PostgreSQL is back" in result.err, result
    assert pg.value("SELECT count(*) FROM drover.migrations") == 1


def test_an_answer_that_was_lost_and_that_nobody_tells_of_is_not_waited_for(pg, drover):
    """The way that there is carries nothing any more, and keepalive does not notice; new ones work."""
    fill(pg, 300)
    with Proxy(pg.server.socket) as proxy:
        producer = drover.popen("produce", drover.migration("m", SET), "--wait", env={"DATABASE_URL": proxy.url(pg.url)})
        wait_for(lambda: pg.value("SELECT to_regclass('drover.migrations') IS NOT NULL") and pg.value("SELECT scan_done_at IS NOT NULL FROM drover.migrations"),
                 "it has scanned")
        proxy.silence(lost=True)
        proxy.heal()
        producer.wait_for_log("PostgreSQL is away.*the answer was lost")
        worker = drover.worker()
        assert "complete" in producer.wait(60).out
    assert left(pg) == 0
    worker.terminate()
    worker.wait()


def test_a_statement_that_takes_its_time_is_waited_for(pg, drover):
    fill(pg, 100, """CREATE FUNCTION slow(i int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                       PERFORM pg_sleep(13 * (i = 50)::int); RETURN true; END $$""")
    assert "lost" not in drover.run("produce", drover.migration("m", SET + "-- drover: pending b IS NULL AND slow(id)\n")).err
    assert pg.value("SELECT rows_found FROM drover.migrations") == 100


def test_without_wait_the_workers_sweep_and_complete(pg, drover):
    """Rows turn up behind the cursor after the producer has gone."""
    fill(pg, 300)
    queue(drover, drover.migration("m", SET))
    pg.sql("INSERT INTO t SELECT g, 'late' FROM generate_series(-100, 0) g")
    worker = drover.worker()
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"complete, not {state(pg, 'm')}; {worker!r}", 60)
    assert left(pg) == 0
    worker.terminate()
    worker.wait()


def test_produced_again_a_complete_migration_is_swept_once_more(pg, drover):
    fill(pg, 100)
    path = drover.migration("m", SET)
    finish(drover, path)
    pg.sql("INSERT INTO t VALUES (1000, 'late')")
    finish(drover, path)
    assert left(pg) == 0 and state(pg, "m")[0] == "complete"


def test_resumed_a_complete_migration_is_swept_once_more(pg, drover):
    """What the last sweep said is of the time before the pause."""
    fill(pg, 100)
    finish(drover, drover.migration("m", SET))
    drover.run("pause", "m")
    pg.sql("INSERT INTO t VALUES (1000, 'late')")
    drover.run("resume", "m")
    worker = drover.worker()
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"complete, not {state(pg, 'm')}; {worker!r}", 60)
    assert left(pg) == 0
    worker.terminate()
    worker.wait()


def test_a_long_transaction_is_waited_for_and_named(pg, drover):
    """Its row appears behind the cursor when it commits: complete must not come before."""
    fill(pg, 100)
    with pg.conn(application_name="nightly_report") as conn:
        conn.execute("BEGIN")
        conn.execute("INSERT INTO t VALUES (-1, 'open')")
        producer = drover.popen("produce", drover.migration("m", SET), "--wait")
        worker = drover.worker()
        wait_for(lambda: left(pg) == 0, "the rows that can be seen are done")
        time.sleep(2)
        assert producer.running and state(pg, "m")[0] == "running"
        producer.wait_for_log("nightly_report", 30)
        conn.execute("COMMIT")
    producer.wait(60)
    assert left(pg) == 0
    worker.terminate()
    worker.wait()


def test_an_application_that_writes_old_rows_on_and_on_ends_with_3(pg, drover):
    fill(pg, 50)
    worker = drover.worker()
    producer = drover.popen("produce", drover.migration("m", SET), "--wait")
    row = 1000
    with pg.conn() as conn:
        while producer.running:
            conn.execute("INSERT INTO t VALUES (%s, 'old')", (row,))  # one by one: what is swept grows with it
            row += 1
    assert "still writes old rows" in producer.wait(rc=3).err
    assert state(pg, "m")[0] == "running"
    worker.terminate()
    worker.wait()
    finish(drover, drover.dir / "m.sql")  # the writers are mended: it may try anew
    assert left(pg) == 0


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_flushed_redis_refills_itself(pg, drover, redis, mode):
    fill(pg, 3000)
    drover.run("init")
    drover.run("config", "processing_interval_ms=20")
    producer = drover.popen("produce", drover.migration("m", SET + f"-- drover: mode {mode}\n-- drover: batch-size 20\n"), "--wait")
    worker = drover.worker("--concurrency", "2", "--lease", "3")
    for done in (2500, 1500, 500):
        wait_for(lambda: left(pg) <= done, lambda: f"{done} rows left, not {left(pg)}; {producer!r} {worker!r}", 60)
        redis.client().flushall()
    producer.wait(60)
    assert left(pg) == 0
    worker.terminate()
    worker.wait()


def test_an_audit_that_postgresql_breaks_off_leaves_no_answers_behind(pg, drover, redis):
    fill(pg, 3000)
    drover.run("init")
    drover.run("config", "max_backlog=10000")
    producer = drover.popen("produce", drover.migration("m", SET + "-- drover: mode row\n-- drover: batch-size 2\n"), "--wait")
    client = redis.client()
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches") == 1500 and client.xlen(stream(pg, "m")) == 3000, "all are pushed")
    for _ in range(12):
        client.flushall()
        wait_for(lambda: client.xlen(stream(pg, "m")) > 0, "the audit pushes")
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'drover%' AND pid <> pg_backend_pid()")
    worker = drover.worker()
    producer.wait(60)
    assert left(pg) == 0
    assert "Redis is away" not in producer.err
    worker.terminate()
    worker.wait()


def test_half_of_the_entries_gone(pg, drover, redis):
    """Nothing tells that they are gone: the marker is there, others flow on. The audit finds it."""
    fill(pg, 2000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    queue(drover, path)
    client, key = redis.client(decode_responses=False), stream(pg, "m")
    ids = [entry for entry, _ in client.xrange(key)]
    client.xdel(key, *ids[::2])
    assert client.xlen(key) == 100
    drover.run("produce", path)
    assert client.xlen(key) == 200
    drover.run_worker("--stop-when-empty")
    assert left(pg) == 0


def test_killed_between_ledger_and_push(pg, drover, redis):
    """What a dead producer had committed and not pushed is pushed by the next one, before anything else."""
    fill(pg, 1000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    queue(drover, path)
    redis.client().delete(stream(pg, "m"))
    pg.sql("UPDATE drover.migrations SET producer_until = now() + interval '1 hour', producer = 'elsewhere:1#0'")
    producer = drover.popen("produce", path)
    producer.wait_for_log("elsewhere:1")
    pg.sql("UPDATE drover.migrations SET producer_until = now()")  # its lease runs out
    producer.wait(30)
    assert redis.client().xlen(stream(pg, "m")) == 100


def test_the_lease_of_a_dead_producer_here_is_taken_at_once(pg, drover):
    fill(pg, 1000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    first = drover.popen("produce", path, "--max-backlog", "20")
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches") >= 20, "it produces")
    first.kill()
    began = time.monotonic()
    drover.run("produce", path)
    assert time.monotonic() - began < 5
    assert pg.value("SELECT sum(rows) FROM drover.batches") == 1000


def test_a_producer_that_was_stopped_and_wakes_up_changes_nothing(pg, drover):
    """A zombie: its lease ran out and another took over; it notices before it commits anything."""
    fill(pg, 2000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    zombie = drover.popen("produce", path, "--max-backlog", "20")
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches") >= 20, "it produces")
    zombie.signal(signal.SIGSTOP)
    pg.sql("UPDATE drover.migrations SET producer_until = now()")
    drover.run("produce", path)
    zombie.signal(signal.SIGCONT)
    zombie.wait(60)
    assert pg.sql("SELECT count(*), sum(rows)::int FROM drover.batches") == [(200, 2000)]


def test_with_a_full_backlog_and_no_worker_it_says_what_is_missing(pg, drover):
    fill(pg, 1000)
    producer = drover.popen("produce", drover.migration("m", SET), "--batch-size", "10", "--max-backlog", "5", "--json")
    producer.wait_for_log("no worker is alive: start drover-worker")
    drover.worker()
    producer.wait()


def test_what_was_pushed_before_is_not_called_pushed_again(pg, drover):
    fill(pg, 100)
    path = drover.migration("m", SET)
    assert "all of them pushed in" in drover.run("produce", path).out
    finish(drover, path)
    assert "m: nothing left to push (100 rows looked at, 100 to be migrated)" in drover.run("produce", path).out


def test_paused_it_waits_and_says_why(pg, drover):
    fill(pg, 1000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    producer = drover.popen("produce", path, "--max-backlog", "20")
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches") >= 20, "it produces")
    drover.run("pause", "m", "--reason", "lunch")
    producer.wait_for_log("paused by .*: lunch", 3)
    drover.run("resume", "m")
    drover.run_worker("--stop-when-empty", "--max-time", "30")
    producer.wait(60)


def test_a_cancel_ends_it(pg, drover):
    fill(pg, 1000)
    path = drover.migration("m", SET + "-- drover: batch-size 10\n")
    producer = drover.popen("produce", path, "--max-backlog", "20")
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches") >= 20, "it produces")
    drover.run("cancel", "m")
    assert "cancelled" in producer.wait(3, rc=1).err
    assert "cancelled" in drover.run("produce", path, rc=1).err


def test_rows_on_which_the_predicate_raises_hold_up_neither_scan_nor_sweep(pg, drover):
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, a text, b int);
              INSERT INTO t SELECT g, CASE WHEN g IN (5, 1500, 2999) THEN 'no number' ELSE g::text END FROM generate_series(1, 3000) g; ANALYZE t""")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = a::int\n-- drover: batch-size 100\n")
    finish(drover, path, rc=4)
    assert pg.sql("SELECT id FROM t WHERE b IS NULL ORDER BY id") == [(5,), (1500,), (2999,)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state = 'dead' AND sqlstate = '22P02'") == 3
    result = drover.run("verify", "m", "--json", rc=3)
    assert result.json["pending"] == 3 and result.json["raised"] == 3 and result.json["dead"] == 3


def test_rows_on_which_the_predicate_raises_in_row_mode(pg, drover):
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, a text, b int);
              INSERT INTO t SELECT g, CASE WHEN g IN (5, 1500) THEN 'no number' ELSE g::text END FROM generate_series(1, 2000) g; ANALYZE t""")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = a::int\n-- drover: batch-size 100\n-- drover: mode row\n")
    # A row that begins to raise while its window is open: the window becomes a batch.
    queue(drover, path)
    pg.sql("UPDATE t SET a = 'no more' WHERE id = 777")
    finish(drover, path, rc=4)
    assert pg.sql("SELECT id FROM t WHERE b IS NULL ORDER BY id") == [(5,), (777,), (1500,)]


def test_where_nearly_all_rows_are_pending_the_scan_reads_keys_alone(pg, drover):
    """Until it comes to a part where they are not, which is seen within some windows; the last rows are no whole batch."""
    fill(pg, 300_123, "UPDATE t SET b = a WHERE id % 20 = 0 OR id > 200000")
    pg.sql("VACUUM t")
    result, = finish(drover, drover.migration("m", SET), produce=["--json"])
    found, changed, skipped = (result.json[f"rows_{what}"] for what in ("found", "changed", "skipped"))
    assert left(pg) == 0 and pg.value("SELECT count(*) FROM t WHERE b <> a") == 0
    assert changed == 190_000 and result.json["rows_scanned"] == 300_123
    assert found == changed + skipped and found > 195_000
    # Batches that had nothing to do are few.
    assert pg.value("SELECT count(*) FROM drover.batches WHERE first_key[1]::int > 200000") < 300


FEW = "UPDATE t SET b = a WHERE id % 1000 > 0; ANALYZE t"


def lists(pg):
    """How many keys the batches list that have a list."""
    return [n for (n,) in pg.sql("SELECT cardinality(keys) FROM drover.batches WHERE keys IS NOT NULL ORDER BY number")]


def calm(drover):
    """Nobody is given way to, so that from the first window on all may be gathered."""
    drover.run("init")
    drover.run("config", "throttle=off")


def test_where_few_rows_are_pending_the_rest_is_gathered_after_the_first_window(pg, drover):
    fill(pg, 60_000, FEW)
    calm(drover)
    result, = finish(drover, drover.migration("m", SET + "-- drover: batch-size 25\n"), produce=["--json"])
    assert left(pg) == 0 and result.json["rows_changed"] == result.json["rows_found"] == 60
    assert result.json["rows_scanned"] == 60_000 and pg.value("SELECT scan_cursor[1]::int FROM drover.migrations") <= 4000
    assert lists(pg) == [2, 25, 25, 8]


def test_row_jobs_far_apart_are_of_windows_that_are_soon_walked_over(pg, drover):
    fill(pg, 60_000, FEW)
    calm(drover)
    path = drover.migration("m", SET + "-- drover: mode row\n")
    widest = "SELECT max(last_key[1]::int - first_key[1]::int) FROM drover.batches"
    finish(drover, path)
    assert left(pg) == 0 and pg.value(widest) < 40_000
    pg.sql("UPDATE t SET b = NULL WHERE id IN (100, 59999)")
    finish(drover, path)
    assert left(pg) == 0 and pg.value(widest) < 40_000


def test_a_row_with_a_dead_letter_is_gathered_no_more(pg, drover):
    fill(pg, 60_000, "UPDATE t SET b = a WHERE id % 1000 > 7; ALTER TABLE t ADD CHECK (b <> 'x30005')")
    calm(drover)
    path = drover.migration("m", SET + "-- drover: batch-size 100\n")
    finish(drover, path, rc=4)
    assert pg.sql("SELECT id FROM t WHERE b IS NULL") == [(30005,)] and state(pg, "m")[0] == "complete"
    pg.sql("UPDATE t SET b = NULL WHERE id = 50000")
    finish(drover, path, rc=4)
    assert left(pg) == 1 and lists(pg)[-1] == 1


def test_a_gather_finds_no_more_than_there_is_room_for(pg, drover):
    fill(pg, 60_000, FEW)
    calm(drover)
    path = drover.migration("m", SET + "-- drover: batch-size 2\n")
    producer = drover.popen("produce", path, "--wait", "--max-backlog", "10")
    producer.wait_for_log("no worker is alive: start drover-worker")
    assert pg.value("SELECT count(*) FROM drover.batches") <= 10 and pg.value("SELECT rows_found FROM drover.migrations") <= 20
    fleet = drover.worker()
    producer.wait(60)
    assert left(pg) == 0
    fleet.terminate()
    fleet.wait()


def test_more_pending_rows_than_a_gather_may_find_are_left_to_windows(pg, drover):
    fill(pg, 210_000, "UPDATE t SET b = a WHERE id <= 105000")
    calm(drover)
    finish(drover, drover.migration("m", SET))
    assert left(pg) == 0 and lists(pg) == []
    assert pg.value("SELECT rows_scanned FROM drover.migrations") == 210_000


def test_a_row_that_a_gather_cannot_look_at_is_found_by_windows(pg, drover):
    fill(pg, 60_000, "UPDATE t SET a = id, b = id WHERE id % 1000 > 0; UPDATE t SET a = id WHERE b IS NULL; UPDATE t SET a = 'none', b = NULL WHERE id = 40007")
    calm(drover)
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = a::int + 1\n-- drover: pending a::int > 0 AND b IS NULL\n-- drover: batch-size 100\n")
    finish(drover, path, rc=4)
    assert pg.sql("SELECT id FROM t WHERE b IS NULL") == [(40007,)]
    assert pg.value("SELECT count(*) FROM drover.failed_jobs WHERE state = 'dead'") == 1


@pytest.mark.parametrize("old", [False, True], ids=["", "registered before there was a gather"])
def test_a_sweep_gathers_the_few_rows_that_turned_up(pg, drover, old):
    fill(pg, 60_000, "UPDATE t SET b = a")
    calm(drover)
    path = drover.migration("m", SET)
    finish(drover, path)
    if old:
        pg.sql("UPDATE drover.migrations SET plan = plan #- '{statements,gather}' #- '{statements,gathered}'")
    pg.sql("UPDATE t SET b = NULL WHERE id IN (100, 30000, 59999)")
    finish(drover, path)
    assert left(pg) == 0 and state(pg, "m")[0] == "complete"
    assert lists(pg) == ([1, 1, 1] if old else [3])


def gather_plans(pg, drover, statistics):
    """Of each gather of a migration, the plan."""
    pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, a text, b text) WITH (autovacuum_enabled = off);
               INSERT INTO t SELECT g, g, CASE WHEN g % 1000 > 0 THEN g END FROM generate_series(1, 60000) g; {statistics};
               ALTER DATABASE "{pg.name}" SET session_preload_libraries = 'auto_explain';
               ALTER DATABASE "{pg.name}" SET auto_explain.log_min_duration = 0;
               ALTER DATABASE "{pg.name}" SET min_parallel_table_scan_size = 0""")
    began = len(pg.server.log())
    finish(drover, drover.migration("m", SET))
    assert left(pg) == 0
    return [text.split("duration: ")[0] for text in pg.server.log()[began:].split("Query Text: WITH drover_hits")[1:]]


@pytest.mark.parametrize("statistics", ["", "ANALYZE t (id)", "ANALYZE t", "UPDATE t SET b = NULL; ANALYZE t; UPDATE t SET b = a WHERE id % 1000 > 0"],
                         ids=["none", "of the key", "of all", "wrong"])
def test_several_processes_gather_whatever_the_statistics_say(pg, drover, statistics):
    calm(drover)
    plans = gather_plans(pg, drover, statistics)
    assert len(plans) >= 2 and all("Workers Planned" in plan and "Parallel Seq Scan on t" in plan for plan in plans), plans


def test_one_process_gathers_while_others_are_at_work(pg, drover):
    with traffic(pg):
        plans = gather_plans(pg, drover, "ANALYZE t")
    assert len(plans) >= 2 and all("Seq Scan on t" in plan and "Parallel" not in plan for plan in plans), plans


def test_a_limit_counts_what_is_pending(pg, drover):
    fill(pg, 60_000, "UPDATE t SET b = a WHERE id % 20 = 0")
    result, = finish(drover, drover.migration("m", SET), produce=["--limit", "50000", "--json"])
    assert result.json["rows_changed"] == result.json["rows_found"] == 50_000 and left(pg) == 7_000


def test_a_table_of_no_rows_and_of_one(pg, drover):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b text); CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u VALUES (1, 'x')")
    finish(drover, drover.migration("none", SET), drover.migration("one", SET.replace("table t", "table u")))
    assert pg.value("SELECT b FROM u") == "x"
    assert state(pg, "none")[0] == state(pg, "one")[0] == "complete"


def test_keys_of_eight_kilobytes(pg, drover):
    pg.sql("""CREATE TABLE t (id text PRIMARY KEY, a text, b text);
              INSERT INTO t SELECT repeat('k', 8000) || g, 'x' FROM generate_series(1, 300) g; ANALYZE t""")
    for mode in ("batch", "row"):
        finish(drover, drover.migration(mode, SET + f"-- drover: mode {mode}\n"))
        assert left(pg) == 0
        pg.sql("UPDATE t SET b = NULL")


def test_a_key_that_no_payload_can_hold(pg, drover):
    """Highly compressible, so that the index takes it: its row is done by a batch."""
    pg.sql("""CREATE TABLE t (id text PRIMARY KEY, a text, b text); INSERT INTO t SELECT 'k' || g, 'x' FROM generate_series(1, 30) g;
              INSERT INTO t VALUES (repeat('k', 90000), 'x'); ANALYZE t""")
    finish(drover, drover.migration("m", SET + "-- drover: mode row\n-- drover: batch-size 7\n"))
    assert left(pg) == 0


def test_detached_it_goes_on_in_the_background(pg, drover):
    fill(pg, 200)
    path = drover.migration("m", SET)
    result = drover.run("produce", path, "--wait", "--detach", "--log-file", drover.dir / "m.log")
    assert "background" in result.out and left(pg) == 200
    worker = drover.worker()
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"complete, not {state(pg, 'm')}; {(drover.dir / 'm.log').read_text()}", 60)
    wait_for(lambda: "complete" in (drover.dir / "m.log").read_text(), "the log tells the end")
    worker.terminate()
    worker.wait()


def test_json_is_one_object_on_stdout(pg, drover):
    fill(pg, 20)
    worker = drover.worker()
    result = drover.run("produce", drover.migration("m", SET), "--wait", "--json")
    assert json.loads(result.out)["rows_changed"] == 20
    for line in result.err.splitlines():
        json.loads(line)
    worker.terminate()
    worker.wait()


def test_both_servers_away_for_a_while(pg, drover, redis):
    fill(pg, 2000)
    drover.run("init")
    drover.run("config", "processing_interval_ms=20")
    producer = drover.popen("produce", drover.migration("m", SET + "-- drover: batch-size 10\n"), "--wait", "--max-backlog", "50")
    worker = drover.worker("--lease", "3")
    wait_for(lambda: left(pg) < 1800, "it has begun")
    redis.kill()
    producer.wait_for_log("Redis is away")
    time.sleep(1)
    redis.start()
    producer.wait_for_log("Redis is back")
    wait_for(lambda: left(pg) < 1500, "it goes on")
    pg.server.stop("immediate")
    producer.wait_for_log("PostgreSQL is away")
    pg.server.start()
    producer.wait_for_log("PostgreSQL is back")
    producer.wait(90)
    assert left(pg) == 0
    assert len(producer.err.splitlines()) < 60
    worker.terminate()
    worker.wait()


@pytest.mark.parametrize("url, word", [
    ("redis://localhost:hunter2", "port"), ("localhost:6379", "redis://"), ("redis://u:hunter2@h/x", "database"), ("rediss://localhost:1", None), ("", "REDIS_URL"),
])
def test_a_wrong_redis_url_is_one_clear_error(pg, drover, url, word):
    fill(pg, 1)
    if word is None and "libhiredis_ssl" in subprocess.run(["ldd", drover.bindir / "drover"], capture_output=True, text=True).stdout:
        pytest.skip("hiredis has TLS here")
    result = drover.run("produce", drover.migration("m", SET), env={"REDIS_URL": url}, rc=1)
    assert len(result.err.splitlines()) == 1 and "hunter2" not in result.err and (word or "TLS") in result.err
    assert pg.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'drover'") == 0


def test_a_wrong_database_url_is_one_clear_error(drover):
    result = drover.run("produce", drover.migration("m", SET), env={"DATABASE_URL": "hunter2"}, rc=1)
    assert len(result.err.splitlines()) == 1 and "hunter2" not in result.err


def test_a_role_that_may_not_read_the_table(pg, drover):
    """Granted away while it runs: paused with the reason; granted again and resumed, it goes on."""
    fill(pg, 1000)
    role = pg.role("producer")
    drover.run("init", "--producer-role", role)
    pg.sql(f"GRANT SELECT ON t TO {role}")
    env = {"DATABASE_URL": pg.url_as(role)}
    producer = drover.popen("produce", drover.migration("m", SET + "-- drover: batch-size 10\n"), "--max-backlog", "20", env=env)
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches") >= 20, lambda: f"it produces: {producer!r}")
    pg.sql(f"REVOKE SELECT ON t FROM {role}")
    worker = drover.worker()
    producer.wait_for_log("permission denied", 30)
    assert state(pg, "m")[0] == "paused"
    pg.sql(f"GRANT SELECT ON t TO {role}")
    drover.run("resume", "m")
    producer.wait(60)
    worker.terminate()
    worker.wait()


def test_registering_does_not_queue_up_behind_a_lock_for_long_and_says_who_has_it(pg, drover):
    """As an index does that is being built: readers pass, and whoever wants to write would wait behind us."""
    fill(pg, 100)
    path = drover.migration("m", SET)
    drover.run("init")
    application = pg.conn(autocommit=False)
    application.execute("LOCK TABLE t IN SHARE MODE")
    said = drover.run("produce", path, rc=1).err
    assert f'"public"."t" is locked by pid {application.info.backend_pid} ' in said and "run it again" in said
    assert pg.value("SELECT count(*) FROM drover.migrations") == 0
    application.rollback()
    queue(drover, path)
    # The same for a mended file.
    drover.run("pause", "m")
    application.execute("LOCK TABLE t IN SHARE MODE")
    assert "is locked by pid" in drover.run("amend", "m", path, rc=1).err
    application.rollback()
    assert "at revision 2" in drover.run("amend", "m", path).out
