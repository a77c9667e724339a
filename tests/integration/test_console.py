"""The console's commands over a ledger written by hand: what they show, change and refuse, for people and as JSON."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import time
from pathlib import Path

import pytest

from lib.process import spawn, wait_for
from lib.scenario import finish, stream

LETTERS = 60


@pytest.fixture
def ledger(pg, drover):
    """Two migrations, the second ledger-only, with dead letters of three kinds; every tenth letter is settled."""
    drover.run("init")
    pg.sql("""INSERT INTO drover.migrations (name, checksum, source, plan, settings, options, table_name, key_columns, mode, ledger_only, batch_size,
                                             estimated_rows, rows_scanned, rows_found, scan_done_at)
              VALUES ('0001_pages', '', '', '{}', '{}', '{"tries": "2"}', 'public.t', '{tenant,id}', 'batch', false, 10, 1000, 1000, 1000, now()),
                     ('0002_money', '', '', '{}', '{}', '{}', 'public.u', '{id}', 'batch', true, 10, 1000, 1000, 1000, now())""")
    letters(pg, LETTERS)
    return pg


def letters(pg, n, first=1):
    pg.sql("""INSERT INTO drover.failed_jobs (migration_id, batch, root, key, key_hash, state, sqlstate, message, detail, constraint_name, statement,
                                              "row", fingerprint, last_failed_at)
              SELECT 1 + mod(g, 2), g, g, ARRAY['a', g::text], drover.key_hash(ARRAY['a', g::text]),
                     CASE WHEN mod(g, 10) = 0 THEN 'done' ELSE 'dead' END, (ARRAY['23505', '23514', '22003'])[1 + mod(g, 3)], 'no good: ' || g,
                     E'two\\nlines', (ARRAY['k', 'c', NULL])[1 + mod(g, 3)], 'UPDATE t SET n = 1', '{"id": ' || g || '}',
                     drover.error_fingerprint((ARRAY['23505', '23514', '22003'])[1 + mod(g, 3)], (ARRAY['k', 'c', NULL])[1 + mod(g, 3)], 'no good: ' || g),
                     now() - g * interval '1 min'
                FROM generate_series(%s::int, %s::int) g""", (first, first + n - 1))


def states(pg):
    return dict(pg.sql("SELECT state, count(*) FROM drover.failed_jobs GROUP BY 1"))


def one_line(result):
    """Errors are one line: the program, what failed, what to do."""
    lines = result.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("drover: "), result
    return lines[0]


# ------------------------------------------------------------ usage


@pytest.mark.parametrize("words, status, says", [
    ([], 2, "Usage"),
    (["frobnicate"], 2, "help"),
    (["stauts"], 2, "did you mean 'status'"),
    (["pause"], 2, "NAME"),
    (["failed", "--limit", "x"], 2, "--limit"),
    (["retry"], 2, "which dead letters"),
    (["retry", "all", "--limit", "5"], 2, "'retry' has no option '--limit': it belongs to 'run', 'produce', "),
    (["retry", "5-"], 2, "such as 7"),
    (["retry", "9-5"], 2, "empty"),
    (["retry", "all", "7"], 2, "not both"),
    (["failed", "--state", "alive"], 2, "alive"),
    (["failed", "--since", "yesterday-ish"], 2, "how long ago"),
    (["failed", "show", "x"], 2, "no id"),
    (["failed", "show", "999999"], 1, "no failed job"),
    (["pause", "0001_page"], 1, "did you mean '0001_pages'"),
    (["config", "tris=1"], 1, "did you mean 'tries'"),
    (["config", "tries=none"], 1, "tries"),
])
def test_wrong_usage_is_one_clear_line(ledger, drover, words, status, says):
    result = drover.run(*words, rc=status)
    assert says in result.err
    if words:
        one_line(result)
        error = json.loads(drover.run(*words, "--json", rc=status).err)["error"]
        assert says in error["message"] and error["exit_status"] == status


def test_help_version_and_completion(drover):
    assert "exit status" in drover.run("help", "verify").out.lower()
    assert drover.run("--version").out.startswith("drover ")
    script = drover.run("completion", "bash").out
    assert "complete -F" in script and "monitor" in script


def test_completion_names_migrations(ledger, drover):
    assert drover.run("__complete", "migrations", "0001").out == "0001_pages\n"
    assert drover.run("__complete", "config", "max_b").out == "max_backlog=\n"
    assert drover.run("__complete", "config", "0001").out == "0001_pages\n"
    assert drover.run("__complete", "migrations", env={"DATABASE_URL": "postgresql:///x?host=/nowhere"}).out == ""


def test_a_wrong_url_is_named_without_its_secrets(drover):
    result = drover.run("status", rc=1, env={"DATABASE_URL": "postgresql://u:hunter2@[broken/db"})
    assert "hunter2" not in one_line(result)
    result = drover.run("retry", "all", rc=None, env={"REDIS_URL": "http://u:hunter2@h"})
    assert "hunter2" not in result.err


def test_who_watches_waits_for_a_server_that_is_away(own_pg_server, drover):
    drover.run("init", env={"DATABASE_URL": own_pg_server.url()})
    own_pg_server.stop()
    command = drover.popen("status", "--watch", "--json", "--interval", "100ms", env={"DATABASE_URL": own_pg_server.url()})
    command.wait_for_log("PostgreSQL is away.*waiting")
    own_pg_server.start()
    command.wait_for_log("PostgreSQL is back")
    command.signal(signal.SIGINT)
    command.wait(rc=130)
    assert command.err.count("waiting") == 1


@pytest.mark.parametrize("words", [["status"], ["failed"], ["retry", "all"], ["config"], ["workers"], ["pause", "m"], ["init"], ["init", "--rekey"]],
                         ids=" ".join)
def test_others_say_at_once_that_a_server_is_away(own_pg_server, drover, words):
    own_pg_server.stop()
    assert "cannot connect to postgresql://" in one_line(drover.run(*words, env={"DATABASE_URL": own_pg_server.url()}, rc=1))


def test_a_server_that_does_not_answer_is_an_error_within_seconds(own_pg_server, drover):
    with own_pg_server.silent():
        said = one_line(drover.run("status", env={"DATABASE_URL": own_pg_server.url()}, rc=1, timeout_s=60))
    assert "cannot connect to postgresql://" in said and "did not answer in time" in said


# ------------------------------------------------------------ status


def test_status_of_all_and_of_one(ledger, drover):
    everything = drover.run("status", "--json").json
    assert [m["name"] for m in everything] == ["0001_pages", "0002_money"]
    one = drover.run("status", "0001_pages", "--json").json
    assert one == everything[0]
    assert one["state"] == "running" and one["failed"] == 24 and one["backlog"] == 0 and one["rows_found"] == 1000
    assert drover.run("status", "migrations/0001_pages.sql", "--json").json == one
    assert re.search(r"0002_money +running", drover.run("status").out)


def test_a_redis_url_that_is_none_is_an_error_and_no_outage(ledger, drover):
    assert "the Redis URL" in one_line(drover.run("status", env={"REDIS_URL": "http://foo"}, rc=1))


def test_status_works_without_redis(ledger, redis, drover):
    redis.kill()
    result = drover.run("status", "0001_pages")
    assert "Redis does not answer from here" in result.out
    assert drover.run("status", "0001_pages", "--json").json["backlog"] is None
    assert "REDIS_URL is not set" in drover.run("status", env={"REDIS_URL": None}).out


def test_lanes_of_a_worker_that_waits_for_a_server_are_not_at_work(ledger, drover):
    ledger.sql("""INSERT INTO drover.workers (name, host, pid, version, lanes, state, doing)
                  VALUES ('w', 'h', 1, '1', 2, 'waiting', '[{"migration": "0001_pages"}, {"migration": "0001_pages"}]')""")
    for state, workers, busy in (("waiting", 0, 0), ("running", 1, 2)):
        ledger.sql("UPDATE drover.workers SET state = %s, heartbeat_at = now()", (state,))
        one = drover.run("status", "0001_pages", "--json").json
        assert (one["workers"], one["lanes_busy"]) == (workers, busy)


def test_dead_letters_of_a_cancelled_migration_are_not_advised_to_be_retried(ledger, drover):
    drover.run("cancel", "0001_pages", "--yes")
    found = drover.run("doctor", "0001_pages", "--json", rc=None).json
    (letters,) = [f for f in found if f["check"] == "dead-letters"]
    assert letters["severity"] == "note" and "drover flush --migration 0001_pages" in letters["advice"], letters


def test_status_says_why(ledger, drover):
    def why():
        return " | ".join(drover.run("status", "0001_pages", "--json").json["why"])

    ledger.sql("UPDATE drover.migrations SET scan_done_at = NULL")
    ledger.sql("INSERT INTO drover.batches (migration_id, first_key, last_key, rows) VALUES (1, '{a,1}', '{a,9}', 9)")
    assert "no producer runs: drover produce 0001_pages" in why() and "no worker is alive" in why() and "24 dead letters" in why()
    ledger.sql("INSERT INTO drover.workers (name, host, pid, version, lanes, state) VALUES ('w', 'h', 1, '1', 4, 'paused')")
    assert "no worker takes its jobs: 1 is paused, draining or waiting for a server" in why()
    drover.run("config", "0001_pages", "is_enabled=off", "processing_interval_ms=1500")
    assert "is_enabled" in why() and "pauses 1.5s" in why()
    drover.run("pause", "0001_pages", "--reason", "Black Friday")
    assert "Black Friday" in why()


def test_status_measures_a_rate_and_a_range(ledger, drover):
    ledger.sql("INSERT INTO drover.batches (migration_id, first_key, last_key, rows) VALUES (1, '{a,1}', '{a,9}', 9)")
    ledger.sql("INSERT INTO drover.workers (name, host, pid, version, lanes, state) VALUES ('w', 'h', 1, '1', 4, 'running')")
    ledger.sql("INSERT INTO drover.lane_counts (migration_id, lane, rows_changed) VALUES (1, 'w/1', 100)")
    command = drover.popen("status", "0001_pages", "--watch", "--json", "--interval", "200ms")
    wait_for(lambda: len(command.out.splitlines()) >= 2, "two looks")
    ledger.sql("UPDATE drover.lane_counts SET rows_changed = 500")
    rows = wait_for(lambda: [r for r in map(json.loads, command.out.splitlines()) if r["rate_per_s"]], "a rate")
    assert rows[-1]["eta_low_ms"] < rows[-1]["eta_high_ms"]
    ledger.sql("UPDATE drover.migrations SET state = 'complete' WHERE id = 1")
    command.wait(rc=4)


class Terminal:
    """drover on a terminal of its own; what it wrote, and what the terminal was set to."""

    def __init__(self, drover, *words, rows=24, columns=100):
        self.main, self.side = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.side)
        self.process = spawn([drover.bindir / "drover", *words], env={**drover.env, "TERM": "xterm"}, stdout=self.side, stderr=self.side,
                             stdin=self.side)
        self.text = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, pattern):
        """Until this stands in what came since the last read; what came."""
        came = ""
        while not re.search(pattern, came, re.DOTALL):
            came += os.read(self.main, 65536).decode(errors="replace")
        self.text += came
        return came

    def close(self):
        os.close(self.main)
        os.close(self.side)


def test_watch_is_a_screen_that_is_redrawn_in_place(ledger, drover):
    """No clearing between two frames, no line wider than the terminal, and the terminal as it was before at the end."""
    watch = Terminal(drover, "status", "--watch", "--interval", "100ms")
    watch.read(r"0001_pages.*\x1b\[H.*0001_pages.*\x1b\[H.*0002_money.*dead letters")
    watch.resize(12, 40)
    frame = watch.read(r"\x1b\[H(?!.*\x1b\[H)[^\x1b]*.*\.\.\. \d+ more lines")
    watch.process.send_signal(signal.SIGINT)
    assert watch.process.wait(30) == 130
    watch.read(r"\x1b\[\?1049l")
    assert watch.text.count("\x1b[2J") == 1 and watch.text.count("\x1b[?1049h") == 1 and "\x1b[?25h" in watch.text
    last = frame[frame.rindex("\x1b[H"):]
    assert all(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) <= 40 for line in last.splitlines()), last
    assert termios.tcgetattr(watch.side) == watch.before
    watch.close()


def test_watch_of_one_on_a_small_terminal_shows_first_how_far_and_what_holds_it_up(ledger, drover):
    ledger.sql("UPDATE drover.migrations SET scan_done_at = NULL, rows_scanned = 500")
    watch = Terminal(drover, "status", "0001_pages", "--watch", "--interval", "100ms", rows=24, columns=80)
    frame = watch.read(r"\x1b\[H[^\n]*0 of 0 workers.*\x1b\[J")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame[frame.rindex("\x1b[H"):])
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    assert lines[1].startswith("0001_pages [") and lines[2].startswith("running, 0 jobs in Redis"), lines
    assert "no producer runs" in lines[3] and any(line.startswith("rows found") for line in lines[5:]), lines
    watch.process.send_signal(signal.SIGINT)
    assert watch.process.wait(30) == 130
    watch.close()


def test_watch_on_a_screen_shows_that_a_server_is_away_and_back(own_pg_server, drover):
    drover.env["DATABASE_URL"] = own_pg_server.url()
    drover.run("init")
    watch = Terminal(drover, "status", "--watch", "--interval", "100ms")
    watch.read("no migrations yet")
    own_pg_server.stop()
    watch.read("PostgreSQL is away, waiting")
    own_pg_server.start()
    watch.read("workers take jobs")
    watch.process.send_signal(signal.SIGTERM)
    assert watch.process.wait(30) == 130
    watch.close()


def test_watch_appends_plain_lines_where_there_is_no_terminal(ledger, drover):
    watch = drover.popen("status", "0001_pages", "--watch", "--interval", "100ms")
    wait_for(lambda: len(watch.out.splitlines()) >= 3, "three looks")
    watch.signal(signal.SIGINT)
    watch.wait(rc=130)
    assert all(re.match(r"20\S+Z running .*0001_pages.*24 dead letters", line) for line in watch.out.splitlines()), watch.out
    assert "\x1b" not in watch.out


# ------------------------------------------------------------ control


def test_pause_resume_cancel_and_their_trail(ledger, drover):
    def state():
        return ledger.value("SELECT state FROM drover.migrations WHERE id = 1")

    drover.run("pause", "0001_pages", "--reason", "busy", env={"DROVER_ACTOR": "alice"})
    assert state() == "paused"
    assert "paused by alice: busy; to go on: drover resume 0001_pages" in drover.run("status", "0001_pages").out
    drover.run("pause", "0001_pages")
    assert drover.run("resume", "0001_pages", "--json").json == {"name": "0001_pages", "state": "running", "was": "paused", "jobs_dropped": None}
    drover.run("cancel", "0001_pages")
    assert "it is cancelled" in one_line(drover.run("pause", "0001_pages", rc=1))
    drover.run("resume", "0001_pages")
    assert state() == "running"
    ledger.sql("UPDATE drover.migrations SET state = 'complete' WHERE id = 1")
    assert "it is complete" in one_line(drover.run("cancel", "0001_pages", rc=1))
    events = drover.run("events", "0001_pages", "--json").json
    assert [e["action"] for e in events][:4] == ["resume", "cancel", "resume", "pause"]
    assert events[3]["actor"] == "alice" and events[3]["detail"] == "busy"


def test_a_finished_migration_is_paused_amended_and_looked_over_again(pg, drover):
    """The new revision has another predicate: what it means is found by sweeps, before anything is called complete."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, b int); INSERT INTO t SELECT g FROM generate_series(1, 500) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = 1\n-- drover: pending b IS NULL AND id < 400\n")
    finish(drover, path)
    path.write_text("-- drover: table t\n-- drover: set b = 1\n-- drover: pending b IS NULL\n")
    assert "paused" in one_line(drover.run("amend", "m", path, rc=1))
    drover.run("pause", "m")
    assert drover.run("amend", "m", path, "--json").json == {"name": "m", "revision": 2, "state": "paused"}
    drover.run("resume", "m")
    finish(drover, path)
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0
    drover.run("verify", "m")


def test_an_amendment_with_mistakes_changes_nothing(ledger, drover):
    drover.run("pause", "0001_pages")
    result = drover.run("amend", "0001_pages", drover.migration("bad", "-- drover: table t\n-- drover: sett b = 1\n"), rc=1)
    assert "bad.sql:2: " in result.err and "did you mean 'set'" in result.err
    assert ledger.value("SELECT revision FROM drover.migrations WHERE id = 1") == 1


def test_clear_pauses_and_empties_the_queue(ledger, redis, drover):
    drover.run("retry", "all", "--migration", "0001_pages")
    name = stream(ledger, "0001_pages")
    assert redis.client().xlen(name) == 24
    assert drover.run("clear", "0001_pages", "--json").json == {"name": "0001_pages", "state": "paused", "was": "running", "jobs_dropped": 24}
    assert redis.client().xlen(name) == 0
    assert states(ledger)["queued"] == 24
    redis.kill()
    drover.run("resume", "0001_pages")
    drover.run("clear", "0001_pages", rc=1)
    assert ledger.value("SELECT state FROM drover.migrations WHERE id = 1") == "running"


# ------------------------------------------------------------ settings


def test_config_is_layered_checked_and_noted(ledger, drover):
    def value(*words):
        return drover.run("config", *words).out.strip()

    assert value("tries") == "1" and value("0001_pages", "tries") == "2"
    drover.run("config", "tries=5", "query_timeout_ms=2s")
    assert value("0002_money", "tries") == "5" and value("0001_pages", "tries") == "2" and value("query_timeout_ms") == "2000"
    assert value("0001_pages", "tries=9") == "tries: 2 -> 9"
    assert value("0001_pages", "tries") == "9"
    origins = {row["key"]: row["origin"] for row in drover.run("config", "0001_pages", "--json").json}
    assert origins["tries"] == "migration" and origins["query_timeout_ms"] == "all" and origins["breaker"] == "default"
    assert value("0001_pages", "tries=") == "tries: 9 -> 2 (file)"
    assert value("0001_pages", "tries") == "2"
    assert "did you mean '0001_pages'? Before it is produced" in drover.run("config", "0001_page", rc=1).err
    # All or nothing: the second is wrong, so the first is not set.
    drover.run("config", "0001_pages", "max_backlog=7", "tries=0", rc=1)
    assert value("0001_pages", "max_backlog") == "50000"
    assert [e["detail"] for e in drover.run("events", "--json").json if e["action"] == "config"][:2] == ["tries unset", "tries=9"]
    assert drover.run("config", "max_lanes=3", "--json").json == [{"key": "max_lanes", "old": "0", "value": "3", "origin": "all"}]


# ------------------------------------------------------------ dead letters


def test_failed_pages_newest_first(ledger, drover):
    first = drover.run("failed", "--limit", 20, "--json").json
    second = drover.run("failed", "--limit", 1000, "--before", first[-1]["id"], "--json").json
    ids = [row["id"] for row in first + second]
    assert ids == sorted(ids, reverse=True) and len(ids) == 54
    assert first[0]["key"] == ["a", "59"] and first[0]["migration"] == "0002_money"
    assert len(drover.run("failed", "--state", "all", "--limit", 0, "--json").json) == LETTERS


@pytest.mark.parametrize("words, want", [
    (["0001_pages"], 24),
    (["--error", "23505"], 18),
    (["--error", "23"], 36),
    (["--error", "k"], 18),
    (["--error", "no good: 7"], 1),
    (["--since", "10m"], 9),
    (["--since", "2020-01-01 00:00"], 54),
    (["--state", "done"], 6),
    (["--state", "ignored"], 0),
])
def test_failed_filters(ledger, drover, words, want):
    assert len(drover.run("failed", *words, "--limit", 0, "--json").json) == want


def test_failed_groups_by_kind(ledger, drover):
    groups = drover.run("failed", "0001_pages", "--group", "--json").json
    assert sum(g["count"] for g in groups) == 24
    assert {(g["sqlstate"], g["constraint"]) for g in groups} == {("23505", "k"), ("23514", "c"), ("22003", None)}
    assert all(g["example"].startswith("no good") for g in groups)
    kind = next(g for g in groups if g["sqlstate"] == "22003")
    assert len(drover.run("failed", "0001_pages", "--error", kind["kind"], "--json", "--limit", 0).json) == kind["count"]


def test_failed_show_tells_everything(ledger, drover):
    letter = drover.run("failed", "show", 7, "--json").json
    assert letter["key"] == ["a", "7"] and letter["row"] == '{"id": 7}' and letter["statement"] == "UPDATE t SET n = 1"
    assert letter["detail"] == "two\nlines" and letter["history"] == []
    text = drover.run("failed", "show", 7).out
    assert re.search(r"detail +two\n +lines", text)


def test_retry_takes_ids_ranges_and_filters(ledger, redis, drover):
    def queued():
        return {row[0] for row in ledger.sql("SELECT id FROM drover.failed_jobs WHERE state = 'queued'")}

    assert drover.run("retry", "1", "4-6", "--dry-run", "--json").json == {"matched": 4, "queued": 0, "pushed": 0, "dry_run": True}
    assert queued() == set()
    assert drover.run("retry", "1", "4-6", "--json").json == {"matched": 4, "queued": 4, "pushed": 4, "dry_run": False}
    assert queued() == {1, 4, 5, 6}
    assert ledger.sql("SELECT DISTINCT attempts, replays FROM drover.failed_jobs WHERE state = 'queued'") == [(0, 1)]
    # Run again: what is queued is not queued twice.
    assert drover.run("retry", "1", "4-6", "--json").json["queued"] == 0
    drover.run("retry", "all", "--error", "23505", "--range", "20-30")
    assert queued() == {1, 4, 5, 6, 21, 24, 27}
    drover.run("retry", "all", "--migration", "0002_money", "--since", "12m")
    assert queued() == {1, 3, 4, 5, 6, 7, 9, 11, 21, 24, 27}
    client = redis.client()
    assert client.xlen(stream(ledger, "0001_pages")) + client.xlen(stream(ledger, "0002_money")) == len(queued())
    assert "no such failed job" in one_line(drover.run("retry", "4711", rc=1))
    assert [e["action"] for e in drover.run("events", "0001_pages", "--json").json].count("retry") == 2


def test_retry_leaves_cancelled_migrations_alone(ledger, drover):
    drover.run("cancel", "0001_pages")
    assert drover.run("retry", "all", "--json").json["queued"] == 30
    assert ledger.value("SELECT count(*) FROM drover.failed_jobs WHERE state = 'queued' AND migration_id = 1") == 0


def test_retry_says_what_waits_for_a_resume(ledger, drover):
    drover.run("pause", "0002_money")
    assert "paused" not in drover.run("retry", "all", "--migration", "0001_pages").out
    assert "0002_money is paused: its replays wait for drover resume 0002_money" in drover.run("retry", "all").out
    assert "paused" not in drover.run("retry", "all").out  # there is nothing left to replay


def test_retry_without_redis_queues_all_the_same(ledger, redis, drover):
    redis.kill()
    result = drover.run("retry", "all")
    assert "audit will push" in result.err and states(ledger)["queued"] == 54


def test_retry_keeps_its_rate_and_can_be_interrupted(ledger, drover):
    start = time.monotonic()
    queued = drover.run("retry", "1-20", "--rate", "20/s", "--json").json["queued"]
    assert 0 < queued <= 20 * (time.monotonic() - start)
    assert ledger.value("SELECT max(n) FROM (SELECT count(*) AS n FROM drover.failed_jobs WHERE state = 'queued' GROUP BY xmin::text) q") == 1
    command = drover.popen("retry", "all", "--rate", "4/s")
    wait_for(lambda: states(ledger).get("queued", 0) >= 21, "it has begun")
    command.signal(signal.SIGINT)
    command.wait(rc=130)
    # What it was at when it was interrupted is cancelled, or commits: the server may still be about to.
    wait_for(lambda: ledger.sql("SELECT FROM pg_stat_activity WHERE application_name = 'drover retry'") == [], "the server has settled it")
    before = states(ledger)["queued"]
    assert before < 54
    assert drover.run("retry", "all", "--json").json["queued"] == 54 - before
    assert ledger.value("SELECT max(replays) FROM drover.failed_jobs") == 1


def test_a_forgotten_one_is_a_tombstone_that_can_come_back(ledger, drover):
    assert "--yes" in one_line(drover.run("forget", "1", rc=1))
    assert drover.run("forget", "1-9", "--yes", "--json").json == {"matched": 9, "dropped": 9}
    assert states(ledger)["ignored"] == 9
    assert drover.run("retry", "all", "--json").json["queued"] == 45
    assert drover.run("retry", "1", "--json").json["queued"] == 1
    assert ledger.value("SELECT history -> 0 ->> 'event' FROM drover.failed_jobs WHERE id = 1").startswith("forgotten by")


def test_flush_and_prune_drop_what_may_go(ledger, drover):
    ledger.sql("UPDATE drover.failed_jobs SET state = 'retrying' WHERE id IN (2, 4)")
    assert drover.run("prune", "--hours", "0", "--yes", "--json").json["dropped"] == 6
    assert drover.run("prune", "--yes", "--json").json["dropped"] == 0
    result = drover.run("flush", "--yes", "--json").json
    assert result == {"matched": 52, "dropped": 22}
    # What waits for an attempt stays, and so does what only a dead letter knows of: rows of the ledger-only migration.
    assert states(ledger) == {"retrying": 2, "dead": 30}


def test_many_dead_letters_take_little_memory(ledger, drover):
    letters(ledger, 20000, first=1001)
    command = drover.popen("failed", "--limit", "0", "--json")
    command.wait()
    assert len(json.loads(command.out)) == 54 + 18000
    drover.run("config", "max_backlog=100000")
    assert drover.run("retry", "all", "--json").json == {"matched": 18054, "queued": 18054, "pushed": 18054, "dry_run": False}


def test_a_reader_that_closes_the_pipe_ends_it_quietly(ledger, drover):
    letters(ledger, 20000, first=1001)
    read, write = os.pipe()
    with open(drover.dir / "err", "wb") as err:
        command = spawn([drover.bindir / "drover", "failed", "--limit", "0"], env=drover.env, stdout=write, stderr=err)
    os.close(write)
    os.read(read, 1000)
    os.close(read)
    assert command.wait(30) == 141
    assert (drover.dir / "err").read_text() == ""


# ------------------------------------------------------------ the fleet, cron


def test_workers_and_restart(ledger, drover):
    ledger.sql("""INSERT INTO drover.workers (name, host, pid, version, lanes, state, doing, heartbeat_at)
                  VALUES ('a', 'h', 1, '1', 4, 'running', '[{"lane": 1, "migration": "0001_pages"}]', now()),
                         ('b', 'h', 2, '1', 4, 'running', '[]', now() - interval '1 min')""")
    workers = {w["name"]: w for w in drover.run("workers", "--json").json}
    assert workers["a"]["alive"] and workers["a"]["doing"][0]["lane"] == 1
    assert not workers["b"]["alive"] and workers["b"]["state"] == "lost"
    assert drover.run("restart", "--json").json == {"asked": 1}
    assert ledger.sql("SELECT name FROM drover.workers WHERE restart_asked") == [("a",)]
    assert "no worker 'z'" in one_line(drover.run("restart", "z", rc=1))


def test_monitor_for_cron(ledger, redis, drover):
    ledger.sql("UPDATE drover.migrations SET state = 'complete'")
    assert drover.run("monitor", rc=1).out.splitlines()[0] == "ALERT 0001_pages: 24 dead letters"
    assert drover.run("monitor", "--max", 100).out.splitlines() == ["OK 0001_pages: complete", "OK 0002_money: complete"]
    assert drover.run("monitor", "--max", 100, "--quiet").out == ""
    drover.run("retry", "all")
    assert "no worker takes jobs" in drover.run("monitor", rc=1).out
    ledger.sql("UPDATE drover.migrations SET state = 'paused', state_by = 'w1', state_reason = 'circuit breaker' WHERE id = 1")
    assert "paused by w1: circuit breaker" in drover.run("monitor", rc=1).out
    verdicts = drover.run("monitor", "--json", rc=1).json
    assert [v["verdict"] for v in verdicts] == ["ALERT", "ALERT"]
    # It never waits.
    start = time.monotonic()
    assert drover.run("monitor", rc=1, env={"DATABASE_URL": "postgresql:///x?host=/nowhere"}).out.startswith("ALERT drover: ")
    assert time.monotonic() - start < 10


# ------------------------------------------------------------ docs


@pytest.mark.parametrize("page, command", [
    ("console", ["drover", "__docs", "console"]),
    ("settings", ["drover", "__docs", "settings"]),
    ("metrics", ["drover", "__docs", "metrics"]),
    ("worker", ["drover-worker", "--markdown"]),
])
def test_the_generated_docs_are_fresh(drover, page, command):
    path = Path(__file__).resolve().parents[2] / f"docs/{page}.md"
    made = drover.run(*command[1:], program=command[0]).out
    assert made == path.read_text(), f"docs/{page}.md is stale: {' '.join(command)} > docs/{page}.md"
