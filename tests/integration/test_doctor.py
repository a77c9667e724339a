"""drover doctor: every trouble that it knows, made for real, is found, named and answered with a command; and what it must never do."""

import json
import re
import time

import pytest

from lib.process import wait_for
from lib.redis_server import Redis
from lib.scenario import Gate, finish, queue, stream

MIGRATION = "-- drover: table t\n-- drover: set b = a\n-- drover: batch-size 50\n"


def findings(drover, *words, rc=None, env=None):
    """What doctor says, as a list of dicts; its exit status says whether an error is among them."""
    result = drover.run("doctor", *words, "--json", rc=rc, env=env)
    found = json.loads(result.out)
    assert result.rc == (3 if any(f["severity"] == "error" for f in found) else 0), result
    for f in found:
        assert set(f) == {"migration", "severity", "check", "finding", "advice"} and "\n" not in f["finding"], f
    return found


def has(found, severity, check, says, advice=""):
    """Whether there is such a finding; both texts are regular expressions."""
    return any(f["severity"] == severity and f["check"] == check and re.search(says, f["finding"]) and re.search(advice, f["advice"] or "")
               for f in found)


def check(drover, severity, check, says, advice="", words=("m",), env=None):
    """doctor finds it, within some seconds: what it tells of is told by others, now and then."""
    wait_for(lambda: has(findings(drover, *words, env=env), severity, check, says, advice),
             lambda: f"{severity} {check} {says!r} {advice!r} in {json.dumps(findings(drover, *words, env=env), indent=1)}", 40)


@pytest.fixture
def table(pg):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 200) g")
    return pg


@pytest.fixture
def queued(table, drover):
    """A migration m with four jobs in Redis."""
    queue(drover, drover.migration("m", MIGRATION))
    return table


@pytest.fixture
def held(table, drover):
    """A migration m whose jobs wait in their transactions for a gate; with one worker of four lanes."""
    gate = Gate(table)
    queue(drover, drover.migration("m", "-- drover: table t\n-- drover: set b = gate(a)\n-- drover: pending b IS NULL\n-- drover: batch-size 50\n-- drover: lock-timeout 60s\n"))
    table.worker = drover.worker("--name", "w1", "--concurrency", "4")
    gate.wait(1)
    yield table
    gate.open()


# ------------------------------------------------------------ nothing is wrong


def test_a_healthy_fleet_needs_no_hand(table, drover):
    drover.worker()
    drover.run("produce", drover.migration("m", MIGRATION), "--wait")
    wait_for(lambda: not has(findings(drover), "error", ".*", ""), "no errors")
    result = drover.run("doctor", "m", rc=0)
    assert "m: complete, done: 100%" in result.out and "nothing needs a hand" in result.out
    assert not [f for f in findings(drover, "m") if f["migration"]]
    assert "did you mean 'm'" in drover.run("doctor", "mm", rc=1).err or "no migration 'mm'" in drover.run("doctor", "mm", rc=1).err


def test_it_says_what_sets_the_pace(held, drover):
    check(drover, "note", "pace", r"the workers are the limit \(4 lanes|PostgreSQL is the limit|gives way")


# ------------------------------------------------------------ servers


@pytest.mark.parametrize("name, env, severity, says, advice", [
    ("postgresql", {"DATABASE_URL": "postgresql:///x?host=/nowhere"}, "error", "PostgreSQL is away: .*nowhere", "DATABASE_URL"),
    ("redis", {"REDIS_URL": "unix:///nowhere"}, "error", "Redis does not answer", "REDIS_URL"),
    ("redis", {"REDIS_URL": None}, "note", "REDIS_URL is not set", "REDIS_URL="),
])
def test_servers_that_are_away(queued, drover, name, env, severity, says, advice):
    assert has(findings(drover, env=env), severity, name, says, advice)


def test_both_servers_away_are_two_findings(drover):
    found = findings(drover, rc=3, env={"DATABASE_URL": "postgresql:///x?host=/nowhere", "REDIS_URL": "unix:///nowhere"})
    assert [f["check"] for f in found] == ["postgresql", "redis"]


def test_a_database_that_is_not_there_is_a_refusal(queued, drover):
    env = {"DATABASE_URL": queued.url.replace(queued.name, "no_such_database")}
    assert has(findings(drover, env=env), "error", "postgresql", "refuses the connection: .*no_such_database", "DATABASE_URL")


def test_a_server_that_is_silent_is_a_finding_within_seconds(own_pg_server, drover):
    with own_pg_server.silent():
        start = time.monotonic()
        assert has(findings(drover, env={"DATABASE_URL": own_pg_server.url()}), "error", "postgresql", "did not answer in time")
        assert time.monotonic() - start < 30


@pytest.mark.parametrize("sql, says, advice", [
    ("DROP SCHEMA drover CASCADE", "there is no schema drover", "drover init"),
    ("UPDATE drover.meta SET schema_version = 1", "at version 1", "drover init"),
    ("UPDATE drover.meta SET schema_version = 99", "at version 99", "the version that upgraded it"),
    ("UPDATE drover.meta SET database_oid = 1", "a copy", "--rekey"),
    ("DELETE FROM drover.meta", "is empty", "backup"),
])
def test_a_schema_that_cannot_be_used(queued, drover, sql, says, advice):
    queued.sql(sql)
    assert has(findings(drover, rc=3), "error", "schema", says, advice)


def test_it_installs_nothing(pg, drover):
    assert has(findings(drover, rc=3), "error", "schema", "no schema", "drover init")
    assert pg.sql("SELECT FROM pg_namespace WHERE nspname = 'drover'") == []


def test_a_locked_ledger_is_named_and_not_waited_for(queued, drover):
    with queued.conn(autocommit=False) as other:
        other.execute("LOCK TABLE drover.migrations IN ACCESS EXCLUSIVE MODE")
        found = findings(drover, rc=3)
        assert has(found, "error", "ledger-locked", r"pid \d+ .*lock on drover.migrations .*AccessExclusiveLock", "pg_terminate_backend")
        assert has(found, "error", "postgresql", "did not answer in time")
        other.rollback()


@pytest.mark.parametrize("args, severity, says, advice", [
    (["--maxmemory-policy", "allkeys-lru"], "warning", "maxmemory-policy is allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
    ([], "note", "keeps nothing on its disk", "CONFIG SET appendonly yes"),
    (["--maxmemory", "300kb"], "error", "has used .* it takes no more jobs", "maxmemory"),
])
def test_a_redis_set_up_wrongly(queued, drover, args, severity, says, advice):
    with Redis(args) as other:
        found = findings(drover, env={"REDIS_URL": other.url})
        assert has(found, severity, "redis", says, advice), found


def test_a_redis_that_keeps_its_data_is_fine(queued, drover):
    with Redis(persistent=True) as other:
        assert not has(findings(drover, env={"REDIS_URL": other.url}), "note", "redis", "keeps nothing")


def test_a_redis_that_is_not_the_workers(held, drover):
    with Redis() as other:
        assert has(findings(drover, env={"REDIS_URL": other.url}), "error", "redis", "worker w1 runs, but has no key in this Redis", "REDIS_URL")
    assert not has(findings(drover), "error", "redis", "")


def test_a_replica_of_redis_takes_no_jobs(queued, redis, drover):
    with Redis(tcp=True) as main, Redis(["--replicaof", f"127.0.0.1 {main.port}"]) as copy:
        wait_for(lambda: copy.client().info()["master_link_status"] == "up", "the replica follows")
        assert has(findings(drover, env={"REDIS_URL": copy.url}), "error", "redis", "this Redis is a replica", "REDIS_URL")


# ------------------------------------------------------------ the fleet


def test_no_worker_is_alive(queued, drover):
    check(drover, "error", "workers", "no worker is alive", "drover-worker")


def test_workers_that_are_meant_for_others(queued, drover):
    drover.worker("--migration", "other")
    check(drover, "error", "workers", r"none of the workers that are alive \(1\) may work for it", "drover-worker --migration m")


def test_workers_that_are_paused(queued, drover):
    drover.run("pause", "m")
    worker = drover.worker()
    worker.wait_for_log("worker.ready")
    worker.popen.send_signal(12)
    drover.run("resume", "m")
    check(drover, "error", "workers", "no worker takes its jobs: 1 is paused", "CONT")


def test_workers_that_do_not_know_the_plan(queued, drover):
    queued.sql("UPDATE drover.migrations SET plan = jsonb_set(plan, '{version}', '99'), revision = 2")
    drover.worker("--name", "w1")
    check(drover, "error", "workers", r"1 worker cannot read it \(w1: the plan is not of version 1", "drover amend m FILE")
    assert "cannot work for m: the plan" in drover.run("workers").out


def test_workers_that_are_not_of_this_version(queued, drover):
    queued.sql("INSERT INTO drover.workers (name, host, pid, version, lanes, state) VALUES ('old', 'h', 1, '0.0.1', 1, 'outdated')")
    found = findings(drover, "m")
    assert has(found, "note", "workers", "the worker old is of version 0.0.1", "drover restart old")
    assert has(found, "error", "workers", "no worker takes its jobs: 1 is of another version than the schema", "drover restart")


def test_a_worker_that_cannot_begin_is_noticed(queued, drover):
    queued.sql("REVOKE ALL ON SCHEMA drover FROM public")
    role = queued.role("mute")
    drover.worker(env={"DATABASE_URL": queued.url_as(role)}).wait_for_log("schema.unusable")
    assert has(findings(drover), "error", "workers", "5 connections are of workers that cannot begin", "schema.unusable")


def test_a_worker_that_died_at_work(held, drover):
    wait_for(lambda: held.value("SELECT jsonb_array_length(doing) FROM drover.workers") > 0, "the heartbeat tells what it does")
    held.worker.kill()
    held.sql("UPDATE drover.workers SET heartbeat_at = now() - interval '1 min'")
    found = findings(drover)
    assert has(found, "warning", "workers", r"the worker w1 \(.*pid \d+\) was at work and has not been heard of for 1m", "its log")


def test_leases_that_nobody_takes_over(queued, redis, drover):
    client, name = redis.client(decode_responses=False), stream(queued, "m")
    client.xreadgroup("workers", "ghost", {name: ">"}, count=2)
    entries = [e["message_id"] for e in client.xpending_range(name, "workers", "-", "+", 10)]
    client.xclaim(name, "workers", "ghost", 0, entries, idle=120000)
    check(drover, "error", "queue", r"2 jobs are leased to workers that do not renew their leases \(ghost, for 2m", "drover workers")


def test_a_redis_that_lost_its_jobs(queued, redis, drover):
    redis.client().flushall()
    check(drover, "note", "queue", "Redis has no job of this migration, of which 4 batches are not done", "within 20 s")


# ------------------------------------------------------------ one migration


def test_paused_by_whom_when_and_why(queued, drover):
    drover.run("pause", "m", "--reason", "Black Friday", env={"DROVER_ACTOR": "alice"})
    check(drover, "error", "state", r"paused by alice \d+(ms|\.?\d*s) ago: Black Friday", "drover resume m")


def test_the_circuit_breaker_and_what_it_met(table, drover):
    table.sql("ALTER TABLE t ADD CONSTRAINT small CHECK (b < 10) NOT VALID")
    drover.run("produce", drover.migration("m", MIGRATION))
    drover.worker()
    check(drover, "error", "state", "paused by .*circuit breaker", "drover failed m --group")
    check(drover, "error", "dead-letters", "dead letters: .* of one kind: 23514 small: ", "drover retry all --migration m")


@pytest.mark.parametrize("words, severity, name, says, advice", [
    (["is_enabled=off"], "error", "state", "switched off", "is_enabled=on"),
    (["max_rows_per_s=7"], "note", "pace", "7 rows per second at most", "max_rows_per_s=N"),
    (["processing_interval_ms=1500"], "note", "pace", "pauses 1.5s", "processing_interval_ms=0"),
    (["lock_timeout_ms=5000"], "warning", "settings", "lock_timeout_ms is 5000, not below", "lock_timeout_ms=500"),
])
def test_settings_that_hold_it(queued, drover, words, severity, name, says, advice):
    drover.run("config", "m", *words)
    check(drover, severity, name, says, advice)


def test_fewer_lanes_than_there_are(held, drover):
    drover.run("config", "m", "max_lanes=1")
    check(drover, "note", "pace", "1 of the fleet's 4 lanes", "max_lanes=N")


def test_settings_that_cannot_be_read(queued, drover):
    queued.sql("INSERT INTO drover.worker_config (migration_id, key, value) SELECT id, 'tries', 'many' FROM drover.migrations")
    check(drover, "error", "settings", "cannot be read: .*tries", "drover config m KEY=VALUE")
    drover.worker("--name", "w1")
    check(drover, "error", "workers", "1 worker cannot read it .*tries")


def test_a_producer_that_is_not_there(table, drover):
    drover.run("config", "max_backlog=1")
    producer = drover.popen("produce", drover.migration("m", MIGRATION))
    wait_for(lambda: drover.run("status", "--json").json and table.value("SELECT count(*) FROM drover.batches"), "it has begun")
    check(drover, "note", "scan", "the backlog is full", "more workers")
    producer.kill()
    check(drover, "error", "scan", "not scanned to its end .*no producer runs", "drover produce m")


def test_a_lock_on_the_table(queued, drover):
    with queued.conn(autocommit=False, application_name="deploy") as other:
        other.execute("LOCK TABLE t IN SHARE MODE")
        pid = other.info.backend_pid
        check(drover, "error", "locks", rf"pid {pid} \(deploy of postgres\) holds a lock on public.t .*ShareLock.*open for .*does nothing since: LOCK TABLE t",
              rf"pg_terminate_backend\({pid}\)")
        other.rollback()
    assert not has(findings(drover, "m"), "error", "locks", "")


def test_who_waits_for_a_lock_and_holds_up_all_others(queued, drover):
    with queued.conn(autocommit=False) as reader, queued.conn(autocommit=False) as change:
        reader.execute("SELECT count(*) FROM t")
        change.execute("SET lock_timeout = '60s'")
        change.pgconn.send_query(b"ALTER TABLE t ADD c int")
        check(drover, "error", "locks", rf"waits for a lock on public.t .* behind pid {reader.info.backend_pid}, and whoever comes later waits", "end whom")
        reader.rollback()
        while change.pgconn.get_result():
            pass


def test_rows_that_somebody_holds(queued, drover):
    with queued.conn(autocommit=False, application_name="app") as other:
        other.execute("UPDATE t SET a = a WHERE id = 7")
        drover.worker()
        check(drover, "warning", "locks", r"jobs meet locks of others, the first of them for", "drover pause m")
        check(drover, "warning", "locks", r"pid \d+ \(app of postgres\) may hold the rows", "pg_terminate_backend")
        other.rollback()


def test_a_prepared_transaction_holds_up_the_sweep(own_pg_server, drover):
    own_pg_server.configure({"max_prepared_transactions": 2})
    own_pg_server.restart()
    drover.env["DATABASE_URL"] = own_pg_server.url()
    own_pg_server.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 200) g")
    own_pg_server.sql("CREATE TABLE other (id int)")
    with own_pg_server.conn(autocommit=False) as conn:
        conn.execute("INSERT INTO other VALUES (1)")
        conn.execute("PREPARE TRANSACTION 'it''s mine'")
    drover.run("produce", drover.migration("m", MIGRATION))
    drover.worker()
    check(drover, "note", "sweep", "the last sweep waits for the prepared transaction 'it''s mine'", "ROLLBACK PREPARED 'it''s mine'")
    own_pg_server.sql("ROLLBACK PREPARED 'it''s mine'")


def test_rows_that_wait_for_their_next_attempt(table, drover):
    table.sql("CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF $1 = 7 THEN RAISE 'no seven'; END IF; RETURN $1; END $$")
    drover.run("produce", drover.migration("m", "-- drover: table t\n-- drover: set b = f(a)\n-- drover: pending b IS NULL\n-- drover: tries 5\n-- drover: backoff 600\n"))
    drover.worker()
    check(drover, "note", "queue", "1 job waits in Redis for the next attempt, the first for another", "backoff")
    table.sql("""INSERT INTO drover.failed_jobs (migration_id, batch, root, key, key_hash, state, due_at)
                 SELECT id, 1, 1, '{9}', drover.key_hash('{9}'), 'retrying', now() + interval '10 min' FROM drover.migrations""")
    check(drover, "note", "progress", "1 row waits for the next attempt, the first for another", "drover failed m --state retrying")


def test_nothing_is_committed(held, drover):
    held.sql("UPDATE drover.migrations SET state_at = now() - interval '5 min'")
    check(drover, "error", "progress", "nothing was committed for 5m .*though 1 workers could", "drover workers")


def test_what_it_gives_way_to(held, drover):
    held.sql("""UPDATE drover.throttle SET rung = 4, signal = 'traffic', detail = 'others are at work', since = now() - interval '5 min',
                       watcher = 'x', watched_until = now() + interval '1 hour', unseen = 'this and that'""")
    found = findings(drover, "m")
    assert has(found, "note", "pace", r"gives way to others for 5m.*others are at work \(limit: throttle_sessions=1\)", "throttle=off"), found
    assert has(found, "warning", "pace", "cannot see all .*this and that", "pg_monitor")


def test_an_application_that_writes_old_rows(queued, drover):
    queued.sql("UPDATE drover.migrations SET sweep_stuck = 3")
    check(drover, "error", "sweep", "still writes old rows: 3 sweeps", "deploy the application")


# ------------------------------------------------------------ rights, and what others wrote


def test_a_readers_rights_are_enough_and_it_says_what_it_cannot_see(held, drover):
    """A role that may see the ledger alone: not the table, nor its schema, nor what others run."""
    held.sql("REVOKE ALL ON SCHEMA public FROM public")
    role = held.role("reader")
    drover.run("init", "--reader-role", role)
    env = {"DATABASE_URL": held.url_as(role)}
    found = findings(drover, "m", env=env)
    assert not [f for f in found if "could not be looked at" in f["finding"]], found
    assert has(found, "note", "postgresql", f"is hidden from the role {role}", f"GRANT pg_monitor TO {role}")


def test_processes_of_the_server_itself_are_no_hidden_sessions(own_pg_server, drover):
    """A server where nobody is but whoever asks: its autovacuum launcher, its writers are of no interest."""
    database = own_pg_server.database()
    role = database.role("reader")
    drover.run("init", "--reader-role", role, env={"DATABASE_URL": database.url})
    assert not has(findings(drover, env={"DATABASE_URL": database.url_as(role)}), "note", "postgresql", "is hidden")


def test_the_weightiest_come_first(queued, drover):
    order = [f["severity"] for f in findings(drover, rc=3)]
    assert len(set(order)) > 1 and order == sorted(order, key=["error", "warning", "note"].index), order


def test_the_query_of_who_holds_a_lock_is_said_to_be_hidden(queued, drover):
    role = queued.role("reader")
    drover.run("init", "--reader-role", role)
    with queued.conn(autocommit=False) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        found = findings(drover, "m", env={"DATABASE_URL": queued.url_as(role)})
        assert has(found, "error", "locks", "since when is hidden; what it runs is shown to members of pg_read_all_stats", "pg_terminate"), found
        other.rollback()


def test_a_role_without_rights_is_told_what_to_grant(queued, drover):
    queued.sql("REVOKE ALL ON SCHEMA drover FROM public")
    env = {"DATABASE_URL": queued.url_as(queued.role("nobody"))}
    assert has(findings(drover, env=env), "error", "schema", "may not use the schema", "drover init --reader-role")


def test_what_others_wrote_does_no_harm_to_a_terminal(table, drover):
    """Names, reasons, messages and queries with escape sequences, line ends and quotes."""
    evil = "a\x1b[2J\x1b]0;x\x07\r\n\u202e'\"`$(reboot)" + "x" * 5000
    table.sql("""CREATE TABLE "e\x1b[31m 'v'"".il" (id int PRIMARY KEY, a int, b int)""")
    table.sql("""INSERT INTO "e\x1b[31m 'v'"".il" SELECT g, g FROM generate_series(1, 200) g""")
    drover.run("produce", drover.migration("m", "-- drover: table \"e\x1b[31m 'v'\"\".il\"\n-- drover: set b = a\n"))
    table.sql("UPDATE drover.migrations SET state = 'paused', state_by = %s, state_reason = %s", (evil, evil))
    table.sql("""INSERT INTO drover.failed_jobs (migration_id, batch, root, key, key_hash, state, sqlstate, message, constraint_name, fingerprint)
                 SELECT id, 1, 1, '{1}', drover.key_hash('{1}'), 'dead', '23514', %s, %s, 'f' FROM drover.migrations""", (evil, evil))
    table.sql("""INSERT INTO drover.workers (name, host, pid, version, lanes, state, doing, heartbeat_at)
                 VALUES (%s, %s, 1, %s, 1, 'running', '[{}]', now() - interval '1 min')""", (evil, evil, evil))
    with table.conn(autocommit=False, application_name="x'\"") as other:
        other.execute("""LOCK TABLE "e\x1b[31m 'v'"".il" IN SHARE MODE -- \x1b[2J""")
        for words in (["doctor"], ["doctor", "m"], ["doctor", "--json"], ["status", "m"], ["status"], ["workers"]):
            out = drover.run(*words, rc=None).out
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u0080-\u009f\u202e]", out), words
        other.rollback()
    assert has(findings(drover, "m"), "error", "dead-letters", "23514")


def test_a_thousand_migrations_are_looked_at(queued, drover):
    queued.sql("""INSERT INTO drover.migrations (name, checksum, source, plan, settings, options, table_name, key_columns, mode, ledger_only, batch_size)
                  SELECT 'x' || g, '', '', '{}', '{}', '{}', 'public.t', '{id}', 'batch', false, 10 FROM generate_series(1, 1000) g""")
    found = findings(drover)
    assert len([f for f in found if f["check"] == "scan" and f["migration"].startswith("x")]) == 1000
    assert len(drover.run("doctor", "--quiet", rc=3).out.splitlines()) >= 3000


def test_it_writes_nothing(held, drover):
    role = held.role("reader")
    drover.run("init", "--reader-role", role)
    before = held.sql("SELECT xmin::text, id FROM drover.events ORDER BY id")
    assert findings(drover, "m", env={"DATABASE_URL": held.url_as(role)})
    assert held.sql("SELECT xmin::text, id FROM drover.events ORDER BY id") == before


def test_a_finished_migration_with_dead_letters(table, drover):
    table.sql("ALTER TABLE t ADD CONSTRAINT odd CHECK (b <> 7) NOT VALID")
    finish(drover, drover.migration("m", MIGRATION), rc=4)
    found = findings(drover, "m", rc=3)
    assert [f["check"] for f in found if f["migration"]] == ["dead-letters"]
    assert has(found, "error", "dead-letters", "1 dead letter: .*23514 odd", "drover failed show 1;")
